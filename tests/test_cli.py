"""The command line as a user meets it: exit codes, one line on stderr, nothing written, formats that parse."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from search_toy import toy_predictor

from latmodel.cli import VERBS, main

SMALL = ["--layers", "8", "--hidden", "512"]
SEARCH = ["frontier", "--layers", "4:8", "--hidden", "512:768:64", "--budget", "1s"]
ARCHITECTURE = "num_hidden_layers,hidden_size,intermediate_size,num_attention_heads,vocab_size"


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def problems(self) -> list[str]:
        """Lines of stderr that are not notes."""
        return [line for line in self.err.splitlines() if not line.startswith("note: ")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs `latmodel` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["latmodel", *arguments])
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Ran(code, out.getvalue(), err.getvalue())

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- Bad input ------------------------------------------------------------------------------------

# What is typed → exit code, and what the line must name.
BAD: list[tuple[list[str], int, str]] = [
    (["predict", "--gpu", "3091", *SMALL], 6, "nvidia-geforce-rtx-3090"),
    (["predict", "--gpu", "banana", *SMALL], 6, "banana"),
    (["predict", "--gpu", "", *SMALL], 0, ""),  # as if left out
    (["predict", "--runtime", "magic", *SMALL], 6, "cuda-graph"),
    *((["frontier", "--budget", text], 2, "duration") for text in ("5,5s", "-3s", "nan", "9**9s", "", "0", "1e9s")),
    *((["predict", "--hidden", "512", "--layers", text], 2, "--layers") for text in ("0", "-1", "1e12", "1.5", "x")),
    *((["predict", "--layers", "8", "--hidden", text], 2, "--hidden") for text in ("0", "1" + "0" * 12, "51.2", "٥")),
    *((["predict", *SMALL, name, "0"], 2, name) for name in ("--ffn", "--heads", "--vocab", "--prompt", "--batch")),
    (["predict", *SMALL, "--heads", "8", "--kv-heads", "3"], 2, "num_key_value_heads 3"),
    (["predict", *SMALL, "--heads", "7"], 2, "--head-dim"),
    (["predict", "--layers", "8", "--hidden", "500"], 2, "head_dim"),
    (["predict", "--layers", "8"], 2, "--hidden"),
    (["predict", *SMALL, "--confidence", "2"], 2, "--confidence"),
    (["predict", *SMALL, "--confidence", "nan"], 2, "confidence"),
    (["predict", *SMALL, "--memory", "0"], 2, "--memory"),
    (["predict", *SMALL, "--dtype", "int3"], 2, "--dtype"),
    (["predict", *SMALL, "--logits", "some"], 2, "--logits"),
    (["predict", *SMALL, "--bogus"], 2, "--bogus"),
    (["predict", *SMALL, "--profile", "../../etc/passwd"], 6, "passwd"),
    (["predict", *SMALL, "--profile", "/etc/passwd"], 6, "/etc/passwd"),
    (["predict", *SMALL, "--gpu", "../../etc/passwd"], 6, "passwd"),
    (["predict", "--input", "none.csv"], 2, "none.csv"),
    (["predict", "--input", "."], 2, "cannot read"),
    (["profile", "show", "../../etc/passwd"], 6, "passwd"),
    (["profile", "show", "nothing"], 6, "nothing"),
    (["profile", "diff", "3090", "nothing"], 6, "nothing"),
    (["profile", "export", "3090", "--out", "/proc/none/x.json"], 6, "/proc/none/x.json"),
    (["frontier", "--budget", "1us"], 3, "4 layers x hidden 256"),
    (["frontier", "--budget", "5s", "--memory", "1MB"], 3, ""),
    (["frontier", "--layers", "9:3"], 2, "9 to 3"),
    (["frontier", "--layers", "1:2:3:4"], 2, "--layers"),
    (["frontier", "--hidden", "0:512"], 2, "--hidden"),
    (["frontier", "--ffn-ratio", "-1:2"], 2, "--ffn-ratio"),
    (["frontier", "--ffn-ratio", "nan"], 2, "--ffn-ratio"),
    (["frontier", "--depths", "0,20"], 2, "--depths"),
    (["frontier", "--rows", "0"], 2, "--rows"),
    (["frontier", "--baseline", "80y576"], 2, "80y576"),
    (["frontier", "--quality", "nope"], 2, "nope"),
    (["frontier", "--quality", "os:nope"], 2, "nope"),
    ([*SEARCH, "--plot", "/proc/none/x.png"], 2, "/proc/none/x.png"),
    ([*SEARCH, "--plot", "x.nope"], 2, "nope"),
    (["fit", "--gpu", "3090"], 2, "--observations"),
    (["fit", "--gpu", "3090", "--observations", "none.jsonl"], 2, "none.jsonl"),
    (["fit", "--gpu", "banana", "--observations", "none.jsonl"], 6, "banana"),
    (["fit", "--gpu", "3090", "--observations", "none.jsonl", "--from", "magic"], 2, "magic"),
    (["fit", "--observations", "none.jsonl"], 2, "--gpu"),
    (["nonsense"], 2, "nonsense"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "code", "named"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_bad_input_is_one_line_and_its_exit_code(
    typed: list[str], code: int, named: str, run: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = run(*typed)
    assert ran.code == code, ran.err
    assert files(tmp_path) == {}
    if code:
        assert len(ran.problems) == 1, ran.err
        assert ran.problems[0].startswith("latmodel: ")
        assert named in ran.problems[0]
        assert ran.out == ""


TABLES = {
    "missing column": ("hidden_size,num_attention_heads\n512,8\n", "num_hidden_layers"),
    "misspelt column": (f"{ARCHITECTURE},batchsize\n8,512,1024,8,1000,4\n", "did you mean 'batch_size'"),
    "another name": (f"{ARCHITECTURE},kv_heads\n8,512,1024,8,1000,4\n", "did you mean 'num_key_value_heads'"),
    "negative": (f"{ARCHITECTURE}\n8,512,1024,8,1000\n8,512,-3,8,1000\n", "row 2: column 'intermediate_size'"),
    "fraction": (f"{ARCHITECTURE}\n8,512,1.5,8,1000\n", "row 1: column 'intermediate_size'"),
    "zero": (f"{ARCHITECTURE}\n8,512,1024,8,1000\n0,512,1024,8,1000\n", "row 2: num_hidden_layers"),
    "huge": (f"{ARCHITECTURE}\n1000000000000,512,1024,8,1000\n", "row 1"),
    "heads do not divide": (f"{ARCHITECTURE}\n8,512,1024,7,1000\n", "row 1: hidden_size"),
    "empty cell": (f"{ARCHITECTURE}\n8,512,1024,8,1000\n8,,1024,8,1000\n", "row 2"),
    "short row": (f"{ARCHITECTURE}\n8,512\n", "row 1"),
    "long row": (f"{ARCHITECTURE}\n8,512,1024,8,1000,9\n", "row 1"),
    "heading alone": (f"{ARCHITECTURE}\n", "no rows"),
    "empty": ("", "no rows"),
    "unknown runtime": (f"{ARCHITECTURE},runtime\n8,512,1024,8,1000,magic\n", "magic"),
    "unknown dtype": (f"{ARCHITECTURE},dtype\n8,512,1024,8,1000,int3\n", "dtype"),
    "unknown logits": (f"{ARCHITECTURE},logits\n8,512,1024,8,1000,some\n", "logits"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_told_by_row_and_column(name: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    text, named = TABLES[name]
    (tmp_path / "rows.csv").write_text(text)
    ran = run("predict", "--input", "rows.csv")
    assert ran.code == (6 if name == "unknown runtime" else 2), ran
    assert len(ran.problems) == 1
    assert named in ran.problems[0]
    assert ran.out == ""


@pytest.mark.parametrize(
    "line", ['{"hidden_size": NaN}', "[1]", "{", '{"a": 1, "a": 2}', '{"hidden_size": "wide"}', "[" * 9999]
)
def test_a_bad_line_of_json_is_told_by_row(line: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    ran = run("predict", "--input", "rows.jsonl")
    assert ran.code == 2
    assert len(ran.problems) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"schema_version": 2}', '{"schema_version": 1, "colour": NaN}']
)
def test_a_bad_profile_ends_with_its_exit_code(text: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    ran = run("predict", *SMALL, "--profile", "bad.json")
    assert ran.code == 6
    assert len(ran.problems) == 1
    assert "bad.json" in ran.problems[0]


def test_a_profile_of_another_device_is_refused(run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text(toy_predictor().profile.model_dump_json())
    assert run("predict", *SMALL, "--profile", "toy.json").code == 0
    ran = run("predict", *SMALL, "--profile", "toy.json", "--gpu", "3090")
    assert ran.code == 6
    assert "leave out one" in ran.problems[0]


# --- Help -----------------------------------------------------------------------------------------

HELP = [[verb] for verb in VERBS] + [["profile", verb] for verb in ("list", "show", "diff", "export")]
HELP += [["preset", "list"], ["quality", "check"], []]


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_every_verb_has_help_with_an_example(words: list[str], run: Callable[..., Ran]) -> None:
    ran = run(*words, "--help")
    assert ran.code == 0
    assert "Example:" in ran.out
    assert f"latmodel {' '.join(words)}".strip() in " ".join(ran.out.split("Example:")[1].split())


@pytest.mark.parametrize("words", [[], ["profile"]], ids=["latmodel", "profile"])
def test_a_group_alone_shows_its_help(words: list[str], run: Callable[..., Ran]) -> None:
    assert run(*words) == run(*words, "--help")


def test_version(run: Callable[..., Ran]) -> None:
    from latmodel import __version__

    assert run("--version").out.strip() == f"latmodel, version {__version__}"


# --- Output ---------------------------------------------------------------------------------------

PRINTS = {
    "predict": ["predict", *SMALL],
    "breakdown": ["predict", *SMALL, "--breakdown"],
    "frontier": SEARCH,
    "list": ["profile", "list"],
    "show": ["profile", "show", "3090"],
    "diff": ["profile", "diff", "3090", "3090"],
    "env": ["env"],
    "compare": ["compare", "80x576", "llama-7b"],
    "presets": ["preset", "list"],
}


@pytest.mark.parametrize("name", PRINTS)
def test_formats_parse(name: str, run: Callable[..., Ran]) -> None:
    typed = PRINTS[name]
    assert json.loads(run(*typed, "--format", "json").out)
    rows = list(csv.DictReader(io.StringIO(run(*typed, "--format", "csv").out)))
    assert rows
    assert None not in rows[0]
    lines = [json.loads(line) for line in run(*typed, "--format", "jsonl").out.splitlines()]
    assert len(lines[0].get("breakdown", lines)) == len(rows)
    markdown = [line for line in run(*typed, "--format", "md").out.splitlines() if line.startswith("|")]
    assert markdown
    assert "---" in "".join(markdown)


CONTRACT = (
    "num_parameters prefill_s decode_s_per_token response_s prefill_s_per_layer decode_s_per_layer response_s_low "
    "response_s_high interval peak_memory_bytes fits_memory bound extrapolated gpu runtime profile prefill_s_low "
    "prefill_s_high decode_s_per_token_low decode_s_per_token_high "
    "num_hidden_layers hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim vocab_size "
    "tie_word_embeddings batch_size prompt_tokens new_tokens dtype weights kv_cache logits host attention "
    "latmodel_version notes response_s_low_published response_s_high_published extrapolated_because"
)


def test_one_prediction_is_the_object_of_the_contract(run: Callable[..., Ran]) -> None:
    found = json.loads(run("predict", *SMALL, "--format", "json").out)
    assert found.keys() == set(CONTRACT.split())
    assert found["response_s"] == pytest.approx(found["prefill_s"] + 100 * found["decode_s_per_token"])
    assert found["response_s_low"] < found["response_s"] < found["response_s_high"]
    assert found["bound"] in ("host", "memory", "compute")


def test_rows_keep_their_order_and_their_own_work(run: Callable[..., Ran], tmp_path: Path) -> None:
    lines = [f"{ARCHITECTURE},new_tokens,runtime,logits"]
    asked = [(9, "", "all"), (3, "cuda-graph", ""), (7, "", ""), (5, "cuda-graph", "all")]
    lines += [f"{n},512,1024,8,1000,{n},{runtime},{logits}" for n, runtime, logits in asked]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    found = json.loads(run("predict", "--input", "rows.csv", "--format", "json").out)
    assert [row["runtime"] for row in found] == ["transformers-eager", "cuda-graph"] * 2
    shape = ["--layers", "3", "--hidden", "512", "--ffn", "1024", "--heads", "8", "--kv-heads", "8", "--vocab", "1000"]
    one = run("predict", *shape, "--untie-embeddings", "--generate", "3", "--runtime", "cuda-graph", "--format", "json")
    assert json.loads(one.out)["response_s"] == pytest.approx(found[1]["response_s"], rel=1e-12)


def test_notes_and_problems_stay_out_of_stdout(run: Callable[..., Ran]) -> None:
    ran = run("predict", *SMALL, "--format", "json")
    assert ran.err.count("note: ") == 1
    assert "calibrate" in ran.err
    json.loads(ran.out)


def test_an_exported_profile_predicts_the_same(run: Callable[..., Ran]) -> None:
    assert run("profile", "export", "3090", "--out", "mine.json").code == 0
    mine, packaged = (json.loads(run("predict", *SMALL, "--format", "json", *more).out)
                      for more in (["--profile", "mine.json"], []))  # fmt: skip
    assert mine == packaged


# --- The process ----------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "latmodel"]


def process(*typed: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *typed], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_is_obeyed(environment: dict[str, str]) -> None:
    ran = process(*SEARCH, **environment)
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("typed", [["profile", "show", "3090", "--format", "json"], ["profile", "export", "3090"]])
def test_a_closed_pipe_is_no_error(typed: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [*COMMAND, *typed], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
        )
    finally:
        os.close(writing)
    assert ran.returncode == 0
    assert ran.stderr == ""


def test_an_ascii_terminal_shows_no_traceback() -> None:
    ran = process("predict", *SMALL, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert "Traceback" not in ran.stderr


def test_interrupted(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]) -> None:
    from latmodel import cli

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.group, "main", interrupt)
    ran = run("env")
    assert ran.code == 130
    assert ran.problems == ["latmodel: interrupted"]


def test_help_groups_the_options_under_headings(run: Callable[..., Ran]) -> None:
    text = run("frontier", "--help").out
    order = [text.index(f"\n{name}:") for name in ("Options", "Device, runtime and interval", "Search space", "Workload",
                                                    "Number formats", "Objectives and limits", "Output")]  # fmt: skip
    assert order == sorted(order)
    assert text.index("--budget") < order[1] < text.index("--gpu") < order[2] < text.index("--ffn-ratio") < order[3]


def test_the_shell_completes_verbs_and_options() -> None:
    for words, wanted in (("latmodel expl", "explain"), ("latmodel predict --memory-m", "--memory-margin")):
        index = str(len(words.split()) - 1)
        ran = process(COMP_WORDS=words, COMP_CWORD=index, _LATMODEL_COMPLETE="bash_complete")
        assert ran.stdout.split() == [f"plain,{wanted}"]
