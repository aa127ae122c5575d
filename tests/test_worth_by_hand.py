"""Training by hand, FLOP by FLOP and byte by byte; rows of a frontier, thinned and compared; what 1 % buys."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from search_toy import toy_predictor
from toy import model

from latmodel import ModelConfig, Workload
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.architecture import Architecture, Block, FeedForward, Group
from latmodel.predict.training import STATE_BYTES, TrainingPlan, forward_flops, training, training_bytes
from latmodel.search.branch_and_bound import Effort
from latmodel.search.frontier import Frontier, thin, thin_indices
from latmodel.search.goals import Objective
from latmodel.search.steps import OneStep, prices

# --- Training -------------------------------------------------------------------------------------

BLOCK = 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512  # matrices of a block: queries and output, keys and values, FFN
HEAD = 256 * 1024


def test_flops_of_a_forward_pass_by_hand() -> None:
    """Two for each matrix value and token, and four for each causal pair and value of four heads of 64."""
    pairs = 100 * 101 / 2
    assert forward_flops(model(), 100) == 2 * 100 * (4 * BLOCK + HEAD) + 4 * 4 * 4 * 64 * pairs
    mixed = Architecture((*model().groups, Group(2.0, Block(None, FeedForward(512.0)))), 256.0, 1024.0)
    assert forward_flops(mixed, 100) - forward_flops(model(), 100) == 2 * 100 * 2 * 3 * 256 * 512


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_is_three_passes_and_hours_at_a_share_of_the_peak(checkpointing: bool) -> None:
    plan = TrainingPlan(5e9, 0.25, 100, checkpointing=checkpointing)
    found, each = training(model(), plan, 1e12, "bfloat16"), forward_flops(model(), 100) / 100
    assert found.flops == pytest.approx(3 * each * 5e9)
    assert found.hardware_flops == pytest.approx((4 if checkpointing else 3) * each * 5e9)
    assert found.device_hours == pytest.approx(3 * each * 5e9 / 0.25e12 / 3600)
    assert found.memory_bytes == training_bytes(model(), plan, "bfloat16")


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 2), ("float16", 2), ("float32", 4)])
@pytest.mark.parametrize("optimizer", sorted(STATE_BYTES))
def test_bytes_of_training_by_hand(dtype: str, size: int, optimizer: str) -> None:
    """Weights, gradients and copy are 8 bytes a parameter; of two groups of blocks the wider is kept whole."""
    narrow = Group(3.0, Block(None, FeedForward(100.0)))
    whole = Architecture((narrow, *model().groups, narrow), 256.0, 1024.0, tie_word_embeddings=1.0)
    states = (8 + {"adamw": 8, "adamw-8bit": 2, "sgd": 4}[optimizer]) * float(whole.num_parameters)
    wide, thin_ = 4 * 256 + 2 * (256 + 128) + 3 * 512, 2 * 256 + 3 * 100
    head, rows = 2 * 256 * size + 1024 * (size + 4), 2 * 50
    plan = TrainingPlan(1e9, 0.5, 50, 2, False, optimizer)
    assert training_bytes(whole, plan, dtype) == states + rows * ((4 * wide + 6 * thin_) * size + head)
    again = plan._replace(checkpointing=True)
    assert training_bytes(whole, again, dtype) == states + rows * ((10 * 256 + wide) * size + head)


def test_what_a_plan_leaves_out_and_what_it_may_not_be() -> None:
    plan = TrainingPlan(1e12, 0.4)
    assert plan[2:] == (4096, 1, True, "adamw") and plan.checked() is plan
    for good in (plan._replace(mfu=1.0), plan._replace(tokens=1e18), plan._replace(tokens=1e-3, mfu=1e-3)):
        assert good.checked() is good
    for bad, word in (
        ({"mfu": 0.0}, "--mfu"), ({"mfu": 1.01}, "--mfu"), ({"mfu": math.nan}, "--mfu"), ({"tokens": 0.0}, "--tokens"),
        ({"tokens": 1.1e18}, "--tokens"), ({"optimizer": "lion"}, "adamw, adamw-8bit, sgd"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            plan._replace(**bad).checked()


# --- Rows of a frontier ---------------------------------------------------------------------------

TOY = toy_predictor()
COLUMNS: dict[str, Any] = {
    "num_hidden_layers": [9, 6, 2], "hidden_size": [1024, 512, 512], "intermediate_size": [2048, 1024, 512],
    "num_attention_heads": [16, 8, 8], "num_key_value_heads": [4, 2, 8], "head_dim": [64] * 3, "vocab_size": [4096] * 3,
    "tie_word_embeddings": [0, 1, 1],
}  # fmt: skip
WORK = Workload(prompt_tokens=50, new_tokens=9)


def front_of(rows: list[int]) -> Frontier:
    columns = {name: np.array(column)[rows] for name, column in COLUMNS.items()}
    values = {"worth": np.array([30.0, 20.0, 10.0])[rows], "response_s": np.array([-1.0, -1.0, -1.0])[rows]}

    def worth(shapes: Any) -> Any:
        return shapes["hidden_size"]

    objectives = (Objective(worth), Objective("response"))
    return Frontier(TOY, WORK, columns, objectives, values, (), None, 1e10, 3, Effort())


def test_a_row_is_a_shape_with_all_that_is_predicted_of_it() -> None:
    front = front_of([0, 1, 2])
    small = ModelConfig(num_hidden_layers=2, hidden_size=512, intermediate_size=512, num_attention_heads=8,
                        num_key_value_heads=8, vocab_size=4096)  # fmt: skip
    assert (len(front), front.quality_name, front.quality.tolist()) == (3, "worth", [30.0, 20.0, 10.0])
    assert front.config(2) == small and front.config(0).tie_word_embeddings is False
    row, own = front.to_rows()[2], TOY.predict(small, WORK)
    assert (row["quality"], row["worth"], row["tie_word_embeddings"]) == (10.0, 10.0, True)
    assert row["response_s"] == pytest.approx(own.response_s) and row["num_parameters"] == own.num_parameters
    assert "speed_ratio" not in row
    against = front.against(front.config(1)).to_rows()
    base = TOY.predict(front.config(1), WORK)
    assert [one["speed_ratio"] for one in against] == pytest.approx([base.response_s / x for x in front.response_s])
    assert [one["parameters_ratio"] for one in against] == pytest.approx(
        [x / base.num_parameters for x in front.num_parameters]
    )
    some = front.take(np.array([2, 0]))
    assert some.quality.tolist() == [10.0, 30.0] and some.config(0) == small and len(front.take(slice(1))) == 1
    assert thin(front, 3) is front and thin(front) is front and len(thin(front, 2)) == 2
    assert len(thin(front_of([0] * 21))) == 1 and len(front_of([0] * 20)) == len(thin(front_of([0] * 20)))


def test_a_picture_is_drawn_by_what_was_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frontier, "drawing", None)
    with pytest.raises(LatmodelError, match=r"latmodel\.report"):
        front_of([0]).plot()
    monkeypatch.setattr(Frontier, "drawing", SimpleNamespace(draw=lambda front, path: (len(front), path), html=len))
    assert front_of([0, 1]).plot("p") == (2, "p") and front_of([0, 1])._repr_html_() == 2  # type: ignore[comparison-overlap]


def test_thinning_in_no_order_and_within_rounding() -> None:
    level = np.array([2.0, 1.5, 1.5 + 1e-12, 0.5])  # a rise within rounding is none
    assert thin_indices(level, 3).tolist() == [0, 3]  # within 2, 1 and 0.5 s
    assert thin_indices(np.array([2.0, 1.0, 1.1, 0.5]), 3).tolist() == [0, 1, 3]
    assert thin_indices(np.array([4.0, 3.0, 3.9, 1.0, 0.9]), 2).tolist() == [0, 4]
    assert thin_indices(np.array([8.0, 7.9, 7.8, 7.7, 1.0]), 4).tolist() == [0, 4]  # 8, 4, 2 and 1 s
    assert thin_indices(np.zeros(0), 3).tolist() == [] and thin_indices(np.array([1.0]), 1).tolist() == [0]


def step(name: str, seconds: float, nbytes: float, quality: float) -> OneStep:
    return OneStep(name, 1, 2, 1.0, seconds, nbytes, 0.0, quality)


def test_no_price_where_nothing_is_bought() -> None:
    for none in (
        step("hidden_size", 0.0, 0.0, 5.0),
        step("hidden_size", 1.0, 1.0, 0.0),
        step("batch_size", 1.0, 1.0, 5.0),
    ):
        assert prices([none], 1.0, 1.0, 1.0) == []
    bought = prices([step("hidden_size", 2.0, -1.0, 5.0), step("vocab_size", 1.0, -1.0, 2.6)], 4.0, 1.0, 7.0)
    assert [(one.limit, one.step.dimension) for one in bought] == [("response", "vocab_size")]
    assert bought[0][1:5] == pytest.approx((0.04, 7.0, 0.04 * 2.6, 1.0))
    assert bought[0].as_dict()["step"]["dimension"] == "vocab_size"
