"""Rows for programs: what any verb writes can be read again, columns of one's own pass through, defaults are one."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Workload, __version__, frontier
from latmodel.cli import group
from latmodel.configs.models import read_model
from latmodel.configs.tables import KNOWN, MISNAMED, misspelt
from latmodel.errors import UsageError
from latmodel.model.config import CONFIG_FIELDS

SEARCH = ["frontier", "--layers", "4:8", "--hidden", "512:768:64", "--budget", "1s", "--rows", "5"]
WRITES = {
    "predict": ["predict", "--layers", "8", "--hidden", "512", "--batch", "2", "--generate", "7"],
    "models": ["predict", "80x576", "llama-7b", "--weights", "int8"],
    "frontier": [*SEARCH, "--runtime", "cuda-graph", "--prompt", "64"],
    "prune": ["prune", "llama-7b", "--target", "1.5x", "--weights", "int4-gptq"],
    "compare": ["compare", "80x576", "12x768", "--runtime", "transformers-eager", "--runtime", "cuda-graph"],
    "over": ["predict", "80x576", "--over", "batch=1:4", "--over", "prompt=64,512", "--generate", "9"],
    "generated": ["predict", "12x768", "--energy", "--price", "0.5/h", "--gpu", "h100"],
    "table": ["predict", "--input", "mine.csv"],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a verb in a folder with one table, and returns its stdout."""
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("id,num_hidden_layers,hidden_size,batch_size\na,80,576,2\nb,8,512,1\n")

    def call(*words: str) -> str:
        done = CliRunner().invoke(group, words, catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return call


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
@pytest.mark.parametrize("verb", WRITES)
def test_what_is_written_is_read_and_predicted_the_same(verb: str, suffix: str, run: Callable[..., str]) -> None:
    written = run(*WRITES[verb], "--format", suffix)
    Path(f"rows.{suffix}").write_text(written)
    again = json.loads(run("predict", "--input", f"rows.{suffix}", "--format", "json"))
    first = run(*WRITES[verb], "--format", "json")
    rows = json.loads(first) if isinstance(json.loads(first), list) else [json.loads(first)]
    assert len(again) == len(rows)
    for before, after in zip(rows, again, strict=True):
        for name in (*CONFIG_FIELDS, "batch_size", "prompt_tokens", "new_tokens", "weights", "runtime", "gpu", "bound"):
            assert after[name] == before[name], name
        for name in ("prefill_s", "response_s_high", "peak_memory_bytes"):
            assert after[name] == pytest.approx(before[name], rel=1e-12)


@pytest.mark.parametrize("verb", WRITES)
def test_every_row_says_what_it_is_of(verb: str, run: Callable[..., str]) -> None:
    for row in csv.DictReader(io.StringIO(run(*WRITES[verb], "--format", "csv"))):
        assert row["latmodel_version"] == __version__
        assert row["hidden_size"]
        assert row["prompt_tokens"]
    for line in run(*WRITES[verb], "--format", "jsonl").splitlines():
        notes = json.loads(line)["notes"]
        assert notes
        assert all(isinstance(note, str) for note in notes)


def test_notes_of_the_table_reach_json(run: Callable[..., str]) -> None:
    rows = json.loads(run(*SEARCH[:-2], "--baseline", "80x576", "--depths", "4,8", "--format", "json"))
    assert any(note.startswith("Baseline 80x576: 321M parameters") for note in rows[0]["notes"])
    assert any("FFN ratio" in note for note in rows[0]["notes"])


def test_columns_of_ones_own_pass_through(run: Callable[..., str]) -> None:
    Path("mine.csv").write_bytes(
        b"\xef\xbb\xbfid,num_hidden_layers,hidden_size,colour\r\na7,80,576,red\r\nb2,8,512,\r\n"
    )
    rows = json.loads(run("predict", "--input", "mine.csv", "--format", "json"))
    assert [(row["id"], row["colour"]) for row in rows] == [("a7", "red"), ("b2", "")]
    assert rows[0]["num_parameters"] == 320_956_992  # the contract's example


def test_misspelt_columns_are_refused_and_others_kept() -> None:
    assert {misspelt(name) for name in KNOWN} == {None}
    assert misspelt("Hidden_Size") == "hidden_size"
    assert misspelt("num_hiden_layers") == "num_hidden_layers"
    assert all(misspelt(name) == meant for name, meant in MISNAMED.items())
    computed = Predictor.load("3090").predict("80x576").as_dict()
    assert {name: misspelt(name) for name in [*computed, "id", "quality", "tied"] if misspelt(name)} == {}


def test_rows_may_name_their_device(run: Callable[..., str]) -> None:
    Path("two.csv").write_text("num_hidden_layers,hidden_size,gpu,runtime\n80,576,h100,\n80,576,,cuda-graph\n")
    first, second = json.loads(run("predict", "--input", "two.csv", "--format", "json"))
    assert (first["gpu"], second["gpu"]) == ("nvidia-h100-80gb-hbm3", "nvidia-geforce-rtx-3090")
    assert second["runtime"] == "cuda-graph"
    assert first["response_s"] == Predictor.load("h100").predict("80x576").response_s


DIMENSIONS: list[dict[str, Any]] = [
    {"num_hidden_layers": 80, "hidden_size": 576},
    {"num_hidden_layers": 12, "hidden_size": 640, "num_attention_heads": 5},
    {"num_hidden_layers": 12, "hidden_size": 768, "head_dim": 128, "vocab_size": 1000},
    {"num_hidden_layers": 12, "hidden_size": 1000, "num_attention_heads": 10, "num_key_value_heads": 2},
]
FLAGS = {
    "num_hidden_layers": "--layers", "hidden_size": "--hidden", "num_attention_heads": "--heads",
    "num_key_value_heads": "--kv-heads", "head_dim": "--head-dim", "vocab_size": "--vocab",
}  # fmt: skip


@pytest.mark.parametrize("given", DIMENSIONS, ids=lambda given: " ".join(map(str, given.values())))
def test_what_is_left_out_is_the_same_in_flags_tables_and_python(
    given: dict[str, Any], run: Callable[..., str]
) -> None:
    predictor = Predictor.load("3090")
    python = predictor.predict(ModelConfig(**given))
    dictionary = predictor.predict(given)
    columns = predictor.predict_many({name: np.array([value, value]) for name, value in given.items()})[1]
    flags = json.loads(run("predict", *(w for k, v in given.items() for w in (FLAGS[k], str(v))), "--format", "json"))
    Path("rows.csv").write_text(",".join(given) + "\n" + ",".join(map(str, given.values())) + "\n")
    table = json.loads(run("predict", "--input", "rows.csv", "--format", "json"))[0]
    assert dictionary == python
    assert columns.response_s == pytest.approx(python.response_s, rel=1e-12)
    for row in (flags, table):
        assert row["num_parameters"] == python.num_parameters
        assert row["response_s"] == pytest.approx(python.response_s, rel=1e-12)


def test_python_takes_whatever_names_a_model(tmp_path: Path) -> None:
    predictor = toy_predictor()
    shape = {"num_hidden_layers": 4, "hidden_size": 512, "intermediate_size": 1408, "num_attention_heads": 8,
             "num_key_value_heads": 2, "vocab_size": 65536, "tie_word_embeddings": True}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **shape}))
    by_hand = predictor.predict(ModelConfig(**shape))
    for source in (
        shape,
        {"model_type": "llama", **shape},
        str(tmp_path / "config.json"),
        tmp_path / "config.json",
        "4x512",
    ):
        assert predictor.predict(source).response_s == by_hand.response_s
    assert predictor.predict("llama-7b").num_parameters == 6_738_415_616  # Touvron et al. 2023, table 2: 6.7B
    with pytest.raises(UsageError, match="llama"):
        predictor.predict("llama-77b")
    front = frontier(predictor, None, Workload(), budget_s=1.0).against("llama-7b")
    assert front.baseline is not None
    assert front.baseline.name == "llama-7b"


def test_a_pretrained_config_is_a_model() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        num_hidden_layers=2, hidden_size=256, intermediate_size=512, num_attention_heads=4
    )
    predictor = toy_predictor()
    assert predictor.predict(config).num_parameters == 2 * (4 * 256**2 + 3 * 256 * 512 + 512) + 256 + 2 * 32000 * 256
    assert read_model(config).name == "llama"


def test_env_is_one_object(run: Callable[..., str]) -> None:
    known = json.loads(run("env", "--format", "json"))
    assert known["latmodel"] == __version__
    assert isinstance(known["profile_folders"], list)


def test_short_help_and_runtimes(run: Callable[..., str]) -> None:
    text = " ".join(run("predict", "-h").split()).replace("- ", "-")
    assert run("predict", "-h") == run("predict", "--help")
    for name in ("transformers-eager", "torch-compile", "cuda-graph", "vllm"):
        assert name in text


NO_SCORES = {
    "predict": ["predict", "80x576"],
    "explain": ["explain", "80x576"],
    "compare": ["compare", "80x576", "12x768"],
    "frontier": [*SEARCH, "--plot", "front.png"],
    "report": ["report", *SEARCH[1:-2]],
    "prune": ["prune", "llama-7b", "--target", "1.5x"],
}


@pytest.mark.parametrize("verb", NO_SCORES)
def test_an_interval_that_cannot_be_had_is_said_and_not_made_up(verb: str, run: Callable[..., str]) -> None:
    profile = json.loads((Path(__file__).parent.parent / "profiles" / "nvidia-geforce-rtx-3090.json").read_text())
    for part in profile["runtimes"].values():
        part["conformal_scores"] = {}
    Path("bare.json").write_text(json.dumps(profile))
    text = run(*NO_SCORES[verb], "--profile", "bare.json")
    assert text
    if verb in ("predict", "compare", "frontier"):
        assert " (unknown)" in text
    if verb != "report":
        rows = json.loads(run(*NO_SCORES[verb], "--profile", "bare.json", "--format", "json"))
        row = rows[0] if isinstance(rows, list) else rows
        assert row["response_s_low"] is None
        assert any("no interval" in note for note in row["notes"])


def test_many_predictions_are_a_frame() -> None:
    pytest.importorskip("pandas")
    predictor = toy_predictor()
    frame = predictor.predict_many({"num_hidden_layers": [8, 16], "hidden_size": 512}).to_pandas()
    one = predictor.predict("16x512")
    for name in ("num_parameters", "response_s", "response_s_high", "decode_s_per_token_low", "bound", "fits_memory"):
        wanted = getattr(one, name)
        assert frame[name][1] == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), name
