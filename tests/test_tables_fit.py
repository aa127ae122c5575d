"""Tables fit the terminal at any width: no line is longer, no number is broken, what matters most is shown."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from search_toy import toy_predictor

from calibration.fit.fit import Fitted
from calibration.fit.report import fit_report
from calibration.fit.start import subject
from calibration.observations.table import read_table
from calibration.verbs.fit import build
from calibration.verify.whole_models import Verified
from latmodel import ModelConfig, Predictor, Profile, Workload
from latmodel.cli import VERBS, group
from latmodel.device.store import load_profile
from latmodel.laws.priors import GGML_PRIORS
from latmodel.report.engine_fit import engine_text
from latmodel.report.verified import verified_text

LAYERS = Path(__file__).parent.parent / "examples" / "layers"
SEARCH = ["frontier", "--layers", "4:8", "--hidden", "512:768:64", "--budget", "1s"]
# Verb → what is typed. A verb with a table that is not here fails the test below.
PRINTS = {
    "predict": [["predict", "80x576"], ["predict", "80x576", "--breakdown", "--limits"], ["predict", "80x576", "llama-7b"],
                ["predict", "--input", "rows.csv"], ["predict", "80x576", "--over", "batch=1:64", "--over", "prompt=64,512"]],
    "frontier": [SEARCH, [*SEARCH, "--baseline", "80x576"], [*SEARCH, "--quality", "params"],
                 [*SEARCH, "--objective", "prefill", "--objective", "params"], ["frontier", "--budget", "5.5s"]],
    "profile": [["profile", "list"], ["profile", "show", "3090"], ["profile", "diff", "3090", "h100"],
                ["profile", "merge", "toy.json", "toy2.json"]],
    "prune": [["prune", "llama-7b", "--target", "1.5x"]],
    "env": [["env"]],
    "explain": [["explain", "80x576"], ["explain", "gemma-3-12b", "--generate", "0"]],
    "compare": [["compare", "baguettotron", "gemma-3-12b"], ["compare", "80x576", "--gpu", "3090", "--gpu", "h100"]],
    "layers": [["layers", "--blocks", f"{LAYERS}/blocks.json", "--scores", f"{LAYERS}/scores.csv", "--hidden", "2048",
                "--budget", "1.6s"]],
    "preset": [["preset", "list"]],
    "report": [["report", *SEARCH[1:]]],
    "quality": [["quality", "check", "ablation.csv"]],
}  # fmt: skip
# Verbs that measure are rendered below, from times that take no device to get.
MEASURING = {"calibrate", "verify", "fit"}
WIDTHS = [40, 60, 80, 100, 200]
CASES = [(words, width) for lists in PRINTS.values() for words in lists for width in (60, 80, 100, 200)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    for name in ("toy.json", "toy2.json"):
        (tmp_path / name).write_text(toy_predictor().profile.model_dump_json())
    (tmp_path / "rows.csv").write_text("num_hidden_layers,hidden_size\n80,576\n128,16384\n")
    losses = "\n".join(f"{n},{h},{12 * n * h * h},{3 - n / 99},a" for n, h in ((8, 512), (16, 384), (4, 768)))
    (tmp_path / "ablation.csv").write_text(f"layers,hidden,parameters,loss,group\n{losses}\n")

    def call(width: int, *words: str) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        done = CliRunner().invoke(group, words, catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return call


def test_every_verb_is_rendered() -> None:
    assert set(PRINTS) | MEASURING == set(VERBS)


@pytest.mark.parametrize(
    ("words", "width"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else str(value)
)
def test_no_line_is_longer_than_the_terminal(words: list[str], width: int, run: Callable[..., str]) -> None:
    text = run(width, *words)
    assert max(map(len, text.splitlines())) <= width


QUANTITY = re.compile(r"^\d[\d.]*( (s|ms|µs|[KMGT]iB|B|%)| \([\d.]+–[\d.]+\))*( [!~])?$")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_cell_is_broken_inside_a_number(width: int, run: Callable[..., str]) -> None:
    """Every cell of a wide table that is a quantity stands whole in the narrow one, if its column does."""
    narrow, wide = run(width, *SEARCH), run(1000, *SEARCH, "--wide")
    cells = {cell.strip() for line in wide.splitlines() for cell in re.split(r"\s{2,}", line)}
    body = [line for line in narrow.splitlines() if re.match(r"^[*= ]\s+\d+ × \d+", line)]
    assert body
    for line in body:
        for cell in re.split(r"\s{2,}", line.strip(" *=")):
            assert cell in cells or not QUANTITY.match(cell), cell


def test_what_matters_most_is_shown_at_80(run: Callable[..., str]) -> None:
    heading = run(80, "frontier", "--budget", "5.5s").split("\n─")[0].splitlines()[-1].split()
    assert heading == ["shape", "params", "TTFT", "TPOT", "response", "(90", "%)", "memory", "bound"]


def test_a_difference_shows_how_far_apart_at_80(run: Callable[..., str]) -> None:
    assert run(80, "profile", "diff", "3090", "h100").splitlines()[0].split() == ["coefficient", "ratio", "sigmas"]


def test_the_best_row_is_first_and_marked(run: Callable[..., str]) -> None:
    lines = run(100, *SEARCH).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("─")) + 1
    assert lines[first].startswith("*")
    assert sum(line.startswith("* ") for line in lines) == 1


def test_wide_shows_every_column(run: Callable[..., str]) -> None:
    text = run(60, *SEARCH, "--wide")
    for heading in ("effective", "band", "by params", "caution", "FFN", "heads", "tokens/s"):
        assert heading in text
    assert "caution" not in run(60, *SEARCH)


def test_marks_have_a_legend(run: Callable[..., str]) -> None:
    text = run(100, "predict", "128x16384", "--memory", "1GB")
    assert "\n~ " in text
    assert "\n! " in text


def test_a_mark_that_did_not_fit_has_no_legend(run: Callable[..., str]) -> None:
    """The score is beyond what it was fitted on; a narrow terminal has no room for it, nor words of its mark."""
    wide, narrow = (run(width, "predict", "128x16384") for width in (200, 60))
    assert " ?" in wide and "\n? " in wide
    assert "?" not in narrow


@pytest.mark.parametrize("words", [lists[0] for lists in PRINTS.values()], ids=lambda words: words[0])
def test_forty_columns_are_enough(words: list[str], run: Callable[..., str]) -> None:
    assert max(map(len, run(40, *words).splitlines())) <= 40


# --- Verbs that measure ---------------------------------------------------------------------------


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of times that the packaged RTX 3090 would take, a tenth longer."""
    path, predictor, lines = tmp_path_factory.mktemp("times") / "mine.csv", Predictor.load("3090"), []
    for layers in (12, 20, 32, 44, 60):
        config = ModelConfig(num_hidden_layers=layers, hidden_size=1024, intermediate_size=2816, num_attention_heads=16)
        seconds = 1.1 * predictor.predict(config, Workload(new_tokens=16)).decode_s_per_token
        known = {
            "gpu": "3090",
            "runtime": "transformers-eager",
            "phase": "decode",
            "timing": "loop",
            "seconds": seconds,
        }
        lines.append({**known, **config.model_dump(), "prompt_tokens": 512, "new_tokens": 16})
    path.write_text(
        "\n".join(",".join(map(str, line)) for line in [lines[0], *(line.values() for line in lines)]) + "\n"
    )
    return path


@pytest.fixture(scope="module")
def fitted(times: Path) -> tuple[Fitted, Profile]:
    rows = read_table(times)
    known = load_profile("3090")
    profile, found = build(subject(known.gpu, known), rows, known, [times.name])
    return found, profile


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_a_fit_fits(width: int, fitted: tuple[Fitted, Profile], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = fit_report(*fitted, "bfloat16", "table")
    assert "runtimes.transformers-eager" in text or "launch_s" in text
    assert widest(text) <= width


def test_what_fit_prints_fits(times: Path, run: Callable[..., str]) -> None:
    text = run(60, "fit", "--gpu", "3090", "--observations", str(times), "--out", "fitted.json")
    assert "wrote fitted.json" in text
    assert widest(text) <= 60


@pytest.mark.parametrize("width", WIDTHS)
def test_a_verification_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    config, workload = ModelConfig(num_hidden_layers=12, hidden_size=768), Workload()
    prediction = toy_predictor().predict(config, workload)
    text = verified_text(Verified(config, workload, prediction, 0.0123, 0.0456, 0.01, 0.02), "table")
    assert "TTFT" in text
    assert widest(text) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_fit_of_an_engine_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table = {name: SimpleNamespace(value=1.0) for name in GGML_PRIORS}
    held_out = {"prefill": [0.01], "decode": [0.02], "passes": []}
    found = SimpleNamespace(table=table, pass_s=1e-3, held_out=held_out, mape_percent=lambda phase: 1.5)
    assert widest(engine_text(found, "table")) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_plan_of_a_calibration_fits(width: int, run: Callable[..., str]) -> None:
    text = run(width, "calibrate", "--gpu", "cpu", "--dtype", "float32", "--effort", "quick", "--dry-run")
    assert "transformers-eager" in text
    assert widest(text) <= width
