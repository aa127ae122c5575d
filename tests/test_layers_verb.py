"""`latmodel layers`: blocks and scores from files, checked, and the answer of the search itself."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from latmodel import Predictor, Workload, search_layers
from latmodel.cli import group
from latmodel.configs.blocks import read_blocks, read_scores
from latmodel.errors import UsageError
from latmodel.model.architecture import Block
from latmodel.model.layers.attention import Attention
from latmodel.model.layers.feed_forward import FeedForward
from latmodel.model.layers.mamba2 import Mamba2

EXAMPLE = Path(__file__).parent.parent / "examples" / "layers"
TYPED = [
    "layers",
    "--blocks",
    str(EXAMPLE / "blocks.json"),
    "--scores",
    str(EXAMPLE / "scores.csv"),
    "--hidden",
    "2048",
]


def answer(*more: str) -> Any:
    done = CliRunner().invoke(group, [*TYPED, *more, "--format", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_blocks_are_what_the_file_says() -> None:
    blocks = read_blocks(EXAMPLE / "blocks.json")
    assert list(blocks) == ["attention", "window", "mamba2", "delta", "small-ffn", "left-out"]
    ffn = FeedForward(5632.0)
    assert blocks["attention"] == Block(Attention(32.0, 8.0, 64.0), ffn)
    assert blocks["window"] == Block(Attention(32.0, 8.0, 64.0, window=1024.0), ffn)
    assert blocks["mamba2"] == Block(Mamba2(64.0, 64.0, 8.0, 128.0), ffn)
    assert blocks["left-out"] == Block(None, None)


def test_an_empty_cell_forbids_and_columns_may_be_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("b,a\n1,2\n,3\n")
    assert read_scores(tmp_path / "scores.csv", ["a", "b"]).tolist() == [[2.0, 1.0], [3.0, -math.inf]]


@pytest.mark.parametrize(("runtime", "budget"), [("cuda-graph", 0.55), ("transformers-eager", 1.6)])
def test_the_verb_gives_the_answer_of_the_search(runtime: str, budget: float) -> None:
    blocks = read_blocks(EXAMPLE / "blocks.json")
    scores = read_scores(EXAMPLE / "scores.csv", list(blocks))
    wanted = search_layers(
        Predictor.load("3090", runtime), list(blocks.values()), scores, hidden_size=2048, vocab_size=65536,
        workload=Workload(), budget_s=budget,
    )  # fmt: skip
    found = answer("--runtime", runtime, "--budget", f"{budget}s")
    names = [one["block"] for one in found["blocks"]]
    assert names == [list(blocks)[index] for index in wanted.choices]
    assert found["score"] == pytest.approx(sum(one["score"] for one in found["blocks"]))
    assert found["response_s"] == wanted.prediction.response_s <= budget
    assert found["score"] <= found["score_bound"] <= found["score"] * (1 + 1e-3) + 1e-9
    assert names[0] != "left-out"
    assert names[-1] != "left-out"


def test_a_wider_budget_scores_no_less() -> None:
    scores = [answer("--runtime", "cuda-graph", "--budget", budget)["score"] for budget in ("400ms", "500ms", "2s")]
    assert scores == sorted(scores)
    best = np.where(
        np.isfinite(table := read_scores(EXAMPLE / "scores.csv", list(read_blocks(EXAMPLE / "blocks.json")))), table, 0
    )
    assert scores[-1] == pytest.approx(best.max(axis=1).sum())


FFN = '"feed_forward": {"kind": "FeedForward", "intermediate_size": 64}'
BAD = {
    "no list": ("{}", "give a list"),
    "empty": ("[]", "give a list"),
    "not JSON": ("[", "not JSON"),
    "no name": (f"[{{{FFN}}}]", "name"),
    "a name twice": (f'[{{"name": "a", {FFN}}}, {{"name": "a", {FFN}}}]', "second block 'a'"),
    "unknown place": ('[{"name": "a", "mixer": null}]', "mixer"),
    "unknown kind": ('[{"name": "a", "attention": {"kind": "Magic"}}]', "Attention"),
    "unknown field": ('[{"name": "a", "attention": {"kind": "Mamba2", "colour": 1}}]', "colour"),
    "missing field": ('[{"name": "a", "feed_forward": {"kind": "FeedForward"}}]', "intermediate_size"),
    "negative": (
        '[{"name": "a", "feed_forward": {"kind": "FeedForward", "intermediate_size": -1}}]',
        "intermediate_size",
    ),
    "NaN": ('[{"name": "a", "feed_forward": {"kind": "FeedForward", "intermediate_size": NaN}}]', "NaN"),
    "a list": (
        '[{"name": "a", "feed_forward": {"kind": "FeedForward", "intermediate_size": [1]}}]',
        "intermediate_size",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_blocks_are_told_by_block_and_field(name: str, tmp_path: Path) -> None:
    text, named = BAD[name]
    (tmp_path / "blocks.json").write_text(text)
    with pytest.raises(UsageError, match=named):
        read_blocks(tmp_path / "blocks.json")


@pytest.mark.parametrize(
    ("text", "named"), [("a\n1\n", "b"), ("a,b\n", "no rows"), ("a,b\n1,x\n", "row 1, column b"), ("a,b\n1\n", "shorter"),
                        ("a,b,c\n1,2,3\n", "c"), ("a,b\n1,nan\n", "column b")],
)  # fmt: skip
def test_bad_scores_are_told_by_row_and_column(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(UsageError, match=named):
        read_scores(tmp_path / "scores.csv", ["a", "b"])


def test_a_budget_that_nothing_keeps_names_the_quickest() -> None:
    done = CliRunner().invoke(group, [*TYPED, "--budget", "1us"])
    assert getattr(done.exception, "exit_code", None) == 3
    assert "quickest" in str(done.exception)
