"""Every verb and format: what is written is read again, strictly, and says the same in each format."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from calibration.verify.whole_models import Verified
from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.report.text import OUTPUT_FORMATS
from latmodel.strict_json import strict_loads

LAYERS = Path(__file__).parent.parent / "examples" / "layers"
PER_LAYER = ["layers", "--blocks", f"{LAYERS}/blocks.json", "--scores", f"{LAYERS}/scores.csv", "--hidden", "2048"]
# Verb → what is typed. A verb with `--format` that is not here fails the first test.
ASKED = {
    "calibrate": ["calibrate", "--gpu", "cpu", "--dtype", "float32", "--effort", "quick", "--dry-run"],
    "compare": ["compare", "qwen3-8b", "80x576", "--weights", "int8"],
    "env": ["env"],
    "explain": ["explain", "gemma-3-12b"],
    "frontier": ["frontier", "--layers", "4:8", "--hidden", "512:768:64", "--budget", "1s", "--rows", "5"],
    "layers": [*PER_LAYER, "--budget", "1.6s"],
    "predict": ["predict", "80x576", "gemma-3-12b", "nemotron-h-8b", "--batch", "2"],
    "preset list": ["preset", "list"],
    "profile diff": ["profile", "diff", "3090", "h100"],
    "profile list": ["profile", "list"],
    "profile merge": ["profile", "merge", "3090", "3090"],
    "profile show": ["profile", "show", "3090"],
    "prune": ["prune", "llama-7b", "--target", "1.5x"],
    "verify": ["verify", "12x768"],
}
# Verbs whose JSON is one object around the rows that their CSV holds.
WITHIN = {"explain": "parts", "layers": "blocks"}
PREDICTING = ("compare", "explain", "frontier", "layers", "predict", "prune")
WITH_SHAPES = (*PREDICTING, "preset list")


def with_format(command: click.Command, name: str = "") -> Iterator[str]:
    """The verbs that have `--format`."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for one in command.list_commands(context):
            inner = command.get_command(context, one)
            assert inner is not None
            yield from with_format(inner, f"{name} {one}".strip())
    elif any("--format" in param.opts for param in command.params):
        yield name


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a verb in an empty folder, and returns its stdout; what is to be verified has been."""
    monkeypatch.chdir(tmp_path)
    config, work = ModelConfig(num_hidden_layers=12, hidden_size=768), Workload()
    done = Verified(config, work, Predictor.load("3090").predict(config, work), 0.0123, 0.0456, 0.01, 0.02)
    monkeypatch.setattr("calibration.verify.run.verify_here", lambda *_: done)

    def call(*words: str) -> str:
        ran = CliRunner().invoke(group, [*words, *(["--tolerance", "9"] if words[0] == "verify" else [])])
        assert ran.exit_code == 0, (ran.stderr, ran.exception)
        return ran.stdout

    return call


def listed(text: str) -> list[Any]:
    """The rows of JSON text, of which a single one may be an object."""
    found = strict_loads(text)
    return found if isinstance(found, list) else [found]


def test_every_verb_with_a_format_is_asked() -> None:
    assert set(with_format(group)) == set(ASKED)
    assert set(OUTPUT_FORMATS) == {"table", "json", "jsonl", "csv", "md"}


@pytest.mark.parametrize("verb", ASKED)
def test_each_format_says_the_same(verb: str, run: Callable[..., str]) -> None:
    rows = listed(run(*ASKED[verb], "--format", "json"))
    assert rows
    assert [strict_loads(line) for line in run(*ASKED[verb], "--format", "jsonl").splitlines()] == rows or verb == "env"
    written = run(*ASKED[verb], "--format", "csv")
    cells = list(csv.DictReader(io.StringIO(written, newline="")))
    inner = rows[0][WITHIN[verb]] if verb in WITHIN else rows
    assert len(cells) == len(inner)
    for line, row in zip(cells, inner, strict=True):
        for name, value in row.items():
            if verb == "env" and name == "load":
                continue
            told = "; ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            assert line[name] == told, name


@pytest.mark.parametrize("verb", ASKED)
def test_markdown_has_as_many_cells_in_each_line(verb: str, run: Callable[..., str]) -> None:
    text = run(*ASKED[verb], "--format", "md")
    tables = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len(tables) >= 3
    first = tables[0].count("|")
    # explain has a second table below, of another width.
    assert all(line.count("|") == first for line in tables) or (verb == "explain" and "| one step of" in text)


@pytest.mark.parametrize("verb", PREDICTING)
def test_notes_are_reached_by_their_path(verb: str, run: Callable[..., str]) -> None:
    for row in listed(run(*ASKED[verb], "--format", "json")):
        assert row["notes"] and all(isinstance(note, str) and note for note in row["notes"])


# The CSV of `explain` and `layers` holds parts, not shapes.
READ_BACK = [
    (verb, suffix)
    for verb in WITH_SHAPES
    for suffix in ("json", "jsonl", "csv")
    if suffix != "csv" or verb not in WITHIN
]


ENGINES = {
    "predict": ["predict", "80x576", "qwen3-8b", "--gpu", "m2", "--runtime", "llama.cpp", "--weights", "q4_k_m"],
    "compare": ["compare", "20x1536", "--gpu", "3090", "--runtime", "transformers-eager", "--runtime", "llama.cpp"],
    "prune": ["prune", "llama-7b", "--target", "1.5x", "--gpu", "3090", "--runtime", "llama.cpp", "--weights", "q8_0"],
    "frontier": [
        "frontier", "--layers", "4:8", "--hidden", "512:1024:256", "--budget", "1s", "--rows", "5", "--gpu", "3090",
        "--runtime", "llama.cpp", "--weights", "q4_k_m", "--also", "m2:llama.cpp", "--also", "h100:llama.cpp",
    ],
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("verb", ENGINES)
def test_rows_of_an_engine_are_read_back_too(verb: str, suffix: str, run: Callable[..., str]) -> None:
    """The engine's runtime is no part of the device's own profile; a frontier tells of other devices in more columns."""
    check_read_back(ENGINES[verb], suffix, run)


@pytest.mark.parametrize(("verb", "suffix"), READ_BACK)
def test_shapes_are_read_back_and_priced_the_same(verb: str, suffix: str, run: Callable[..., str]) -> None:
    """With a byte order mark and columns of one's own, which pass through."""
    check_read_back(ASKED[verb], suffix, run)


def check_read_back(asked: list[str], suffix: str, run: Callable[..., str]) -> None:
    """What a verb writes, `predict --input` prices the same."""
    rows = listed(run(*asked, "--format", "json"))
    written = run(*asked, "--format", suffix)
    Path(f"rows.{suffix}").write_text("\ufeff" + mine(written, suffix), encoding="utf-8")
    again = listed(run("predict", "--input", f"rows.{suffix}", "--format", "json"))
    assert len(again) == len(rows)
    for before, after in zip(rows, again, strict=True):
        assert after["mine"] == "a, b"
        for name in ("num_hidden_layers", "hidden_size", "num_parameters"):
            assert after[name] == before[name], name
        for name in ("prefill_s", "decode_s_per_token", "response_s_high", "peak_memory_bytes"):
            if name in before:
                assert after[name] == pytest.approx(before[name], rel=1e-12), (before.get("model"), name)


def mine(written: str, suffix: str) -> str:
    """The same rows with one more column."""
    if suffix == "csv":
        first, *lines = written.splitlines()
        return "\n".join([f"mine,{first}", *(f'"a, b",{line}' for line in lines)])
    if suffix == "jsonl":
        return "\n".join(json.dumps({"mine": "a, b", **json.loads(line)}) for line in written.splitlines())
    return json.dumps([{"mine": "a, b", **row} for row in listed(written)], indent=1)


def test_a_model_that_its_dimensions_do_not_tell_is_not_taken_for_a_llama(run: Callable[..., str]) -> None:
    """What is left of a pruned Gemma has no name by which it could be read."""
    Path("rows.json").write_text(run("prune", "gemma-3-12b", "--target", "1.5x", "--format", "json"))
    ran = CliRunner().invoke(group, ["predict", "--input", "rows.json"])
    assert isinstance(ran.exception, Exception)
    assert "row 1: this model is more than its dimensions say" in str(ran.exception)


def test_one_model_that_is_no_llama_is_read_back_by_its_name(run: Callable[..., str]) -> None:
    first = listed(run("predict", "qwen3-8b", "--format", "json"))
    Path("one.json").write_text(json.dumps(first))
    assert listed(run("predict", "--input", "one.json", "--format", "json"))[0]["response_s"] == first[0]["response_s"]


def test_parts_and_operators_of_a_csv_add_up(run: Callable[..., str]) -> None:
    parts = list(csv.DictReader(io.StringIO(run("explain", "80x576", "--format", "csv"))))
    assert parts[-1]["part"] == "response"
    assert sum(float(row["response_s"]) for row in parts[:-1]) == pytest.approx(float(parts[-1]["response_s"]))
    whole = listed(run("predict", "80x576", "--breakdown", "--format", "json"))[0]
    operators = list(csv.DictReader(io.StringIO(run("predict", "80x576", "--breakdown", "--format", "csv"))))
    assert [float(row["device_s"]) for row in operators] == [row["device_s"] for row in whole["breakdown"]]


def test_an_exported_profile_is_the_profile(run: Callable[..., str]) -> None:
    Path("mine.json").write_text(run("profile", "export", "3090"))
    before, after = (
        listed(run("predict", "80x576", *more, "--format", "json"))[0] for more in ([], ["--profile", "mine.json"])
    )
    assert after["response_s_high"] == before["response_s_high"]
