"""`predict --over`: every row of a grid is the prediction of its own setting; pictures show the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.cli.search_options import parse_over
from latmodel.configs.models import read_model
from latmodel.errors import UsageError
from latmodel.report.over import draw_over, predict_over


def rows(*words: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(group, ["predict", *words, "--format", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_ranges_double_and_lists_stand() -> None:
    texts = ["batch=1:100", "prompt=16,64,48", "layers=8:24:8", "kv-heads=2"]
    assert parse_over(texts) == {
        "batch_size": (1, 2, 4, 8, 16, 32, 64), "prompt_tokens": (16, 64, 48), "num_hidden_layers": (8, 16, 24),
        "num_key_value_heads": (2,),
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["batch", "batch=", "colour=1:8", "batch=8:1", "batch=0:4", "batch=x", "batch=1:2:3:4"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_over([text])


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_over(["batch=1", "batch=2"])


def test_each_row_is_a_prediction_of_its_own() -> None:
    predictor = Predictor.load("3090")
    found = rows("12x768", "--over", "layers=4,9", "--over", "prompt=100:400", "--generate", "7")
    assert [(row["num_hidden_layers"], row["prompt_tokens"]) for row in found] == [
        (layers, prompt) for layers in (4, 9) for prompt in (100, 200, 400)
    ]
    for row in found:
        config = ModelConfig(num_hidden_layers=row["num_hidden_layers"], hidden_size=768)
        wanted = predictor.predict(config, Workload(prompt_tokens=row["prompt_tokens"], new_tokens=7))
        assert row["response_s"] == pytest.approx(wanted.response_s, rel=1e-12)
        assert row["peak_memory_bytes"] == pytest.approx(wanted.peak_memory_bytes, rel=1e-12)


def test_a_preset_keeps_its_own_blocks() -> None:
    predictor, model = Predictor.load("3090"), read_model("gemma-3-12b").model
    for row in rows("gemma-3-12b", "--over", "batch=1:4"):
        wanted = predictor.predict(model, Workload(batch_size=row["batch_size"]))
        assert row["response_s"] == wanted.response_s
        assert row["model"] == "gemma-3-12b"


@pytest.mark.parametrize(
    ("words", "named"),
    [(["gemma-3-12b", "--over", "layers=1:4"], "not given by dimensions"), (["80x576", "--plot", "x.png"], "give --over"),
     (["80x576", "--over", "batch=1:4", "--breakdown"], "--breakdown"),
     (["80x576", "--over", "batch=1:1000:1", "--over", "prompt=1:1000:1"], "combinations"),
     (["80x576", "12x768", "--over", "batch=1:4", "--over", "prompt=1:4", "--plot", "x.png"], "two for one model")],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(
    words: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, ["predict", *words])
    assert isinstance(done.exception, UsageError)
    assert named in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_heat_map_shows_the_rows(tmp_path: Path) -> None:
    over = {"batch_size": (1, 64), "prompt_tokens": (128, 512, 4096)}
    _, found = predict_over(Predictor.load("3090", "cuda-graph"), [read_model("llama-7b")], Workload(), over, "json")
    figure = draw_over(found, over, tmp_path / "heat.png", "a title")
    axes = figure.axes[0]
    wanted = [[row["batch_size"] / row["decode_s_per_token"] for row in found[i : i + 3]] for i in (0, 3)]
    np.testing.assert_allclose(axes.images[0].get_array(), wanted)
    hatched = {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)) for p in axes.patches if p.get_hatch()}
    assert hatched == {(i % 3, i // 3) for i, row in enumerate(found) if not row["fits_memory"]}
    assert hatched
    assert [text.get_text() for text in axes.texts] == [row["bound"] for row in found]


def test_the_curves_show_the_rows(tmp_path: Path) -> None:
    over = {"batch_size": (1, 2, 4, 8)}
    models = [read_model(name) for name in ("80x576", "12x1536")]
    _, found = predict_over(Predictor.load("3090"), models, Workload(), over, "json")
    axes = draw_over(found, over, tmp_path / "curves.png", "a title").axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    for name in ("80x576", "12x1536"):
        some = [row for row in found if row["model"] == name]
        wanted = [[row["batch_size"] / row["decode_s_per_token"], row["decode_s_per_token"]] for row in some]
        np.testing.assert_allclose(lines[name], wanted)
