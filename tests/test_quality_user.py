"""Users' own scores: loading, guarding, and the trial on a small grid."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from latmodel.errors import UsageError
from latmodel.quality import band, score, tied
from latmodel.quality.user import UserScore, trial_grid

MODULE = """
import numpy as np

def size(shapes):
    return shapes["non_embedding_parameters"]

def width_only(shapes):
    return shapes["hidden_size"]

def depth_hurts(shapes):
    return shapes["hidden_size"] * 1e3 - shapes["num_hidden_layers"]

def nan_when_deep(shapes):
    layers = shapes["num_hidden_layers"] + 0.0 * shapes["hidden_size"]
    return np.where(layers > 40, np.nan, layers)

def infinite(shapes):
    return shapes["hidden_size"] / 0.0 if False else np.inf

def wrong_shape(shapes):
    return np.ones(3)

def words(shapes):
    return "large"

def nothing(shapes):
    return None

def fails(shapes):
    return shapes["no_such_column"]

def constant(shapes):
    return 1.0

class Nested:
    @staticmethod
    def size(shapes):
        return shapes["num_parameters"]

NUMBER = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_quality_score.py").write_text(MODULE)
    (tmp_path / "own_broken_score.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield
    assert sys.path == path  # the current folder is importable only while the function is loaded
    for name in ("own_quality_score", "own_broken_score"):
        sys.modules.pop(name, None)


def load(name: str) -> UserScore:
    made = score(f"own_quality_score:{name}")
    assert isinstance(made, UserScore)
    return made


def test_a_sound_function_scores_without_warnings() -> None:
    made = load("size")
    assert made.warnings == ()
    assert made.monotone_in_depth
    grid = trial_grid()
    assert np.array_equal(made(grid), grid["non_embedding_parameters"])
    assert tied(made, grid, grid).all()
    assert not made.capped(grid).any()


def test_a_nested_function_loads() -> None:
    assert load("Nested.size").warnings == ()


def test_a_result_that_broadcasts_fills_the_shape() -> None:
    made = load("width_only")
    grid = trial_grid()
    assert made(grid).shape == (7, 5)
    low, high = band(made, grid)
    assert np.array_equal(low, high)
    assert made.warnings == ()  # constant in depth: it never falls


def test_falling_with_depth_is_warned_and_marked() -> None:
    made = load("depth_hurts")
    assert not made.monotone_in_depth
    assert made.warnings == (
        "own_quality_score:depth_hurts does not rise with depth: it falls from 4 x 256 to 8 x 256 (layers x hidden)",
    )


def test_a_constant_is_warned() -> None:
    assert "same score" in load("constant").warnings[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan_when_deep", r"returned nan for num_hidden_layers 48, hidden_size 256 \(10 in all\)"),
        ("infinite", "returned inf"),
        ("wrong_shape", r"shape \(3,\) for \(7, 5\) models"),
        ("words", "where numbers are needed"),
        ("nothing", "where numbers are needed"),
        ("fails", "KeyError: 'no_such_column'"),
        ("NUMBER", "is not a function"),
        ("missing", "cannot import it"),
    ],
)
def test_unusable_functions_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own_broken_score:size", "nowhere_to_be_found"),
        ("no_such_module:size", "no_such_module"),
        ("parms", "did you mean params"),
        ("effective-params:levin", "did you mean effective-params:levine"),
        ("", "choose from"),
        (":", "choose from"),
        ("a b:c", "neither a known name"),
        ("../../x:y", "neither a known name"),
        ("loss:chinchila", "no loss law"),
    ],
)
def test_unknown_names_are_refused(spec: str, message: str) -> None:
    tokens = 1e11 if spec.startswith("loss") else None
    with pytest.raises(UsageError, match=message):
        score(spec, tokens=tokens)


def test_nan_outside_the_trial_grid_is_caught_when_it_comes(tmp_path: Path) -> None:
    (tmp_path / "own_quality_score.py").write_text(
        "import numpy as np\n"
        "def f(s):\n"
        "    return np.where(s['num_hidden_layers'] == 77, np.nan, s['non_embedding_parameters'])\n"
    )
    made = score("own_quality_score:f")
    shapes = {
        "num_hidden_layers": np.array([76, 77]),
        "hidden_size": np.array([64, 64]),
        "non_embedding_parameters": np.array([1e6, 2e6]),
    }
    with pytest.raises(UsageError, match="num_hidden_layers 77"):
        made(shapes)


def test_the_trial_grid_holds_every_column_and_true_counts() -> None:
    grid = trial_grid()
    assert set(grid) == {
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "num_parameters",
        "non_embedding_parameters",
    }
    # 4 x 256, 4 heads, 1 KV head, FFN 768: Q, O 2*256*256; K, V 2*256*64; FFN 3*256*768; norms 2*256 and 256
    block = 131_072 + 32_768 + 589_824 + 512
    assert grid["non_embedding_parameters"][0, 0] == 4 * block + 256
    assert grid["num_parameters"][0, 0] == 4 * block + 256 + 2 * 32_000 * 256
