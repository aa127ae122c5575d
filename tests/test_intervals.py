"""Split-conformal intervals: coverage on simulated scores, and the edges of the quantile."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Workload
from latmodel.device.profile import Profile
from latmodel.errors import UsageError
from latmodel.predict.intervals import Interval, conformal_quantile

SHAPE = ModelConfig(
    num_hidden_layers=4, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
    head_dim=64, vocab_size=1024, tie_word_embeddings=True,
)  # fmt: skip


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("n", [29, 36])  # a whole rank at each level, and none
def test_coverage_of_new_scores(level: float, heavy: bool, n: int) -> None:
    """Exchangeable scores, whatever their distribution: as many new ones fall within as the level says."""
    generator = np.random.default_rng(0)
    trials = 4000
    draws = np.abs(generator.standard_t(2, (trials, n + 1)) if heavy else generator.normal(size=(trials, n + 1)))
    covered = np.mean([row[-1] <= conformal_quantile(row[:-1].tolist(), level) for row in draws])
    assert covered == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / trials))


def test_ranks_by_hand() -> None:
    scores = [float(i) for i in range(1, 20)]  # 19 scores
    assert conformal_quantile(scores, 0.9) == 18.0  # 20 · 0.9 = 18th
    assert conformal_quantile(scores, 0.95) == 19.0  # 20 · 0.95 = 19th
    assert conformal_quantile(scores, 0.88) == pytest.approx(17.6)  # 20 · 0.88: six tenths from the 17th to the 18th
    assert conformal_quantile(scores, 0.99) == 19.0  # the 20th is not there: the largest stands in
    assert math.isnan(conformal_quantile([], 0.9))  # no residual, no interval
    assert conformal_quantile([3.0], 0.9) == 3.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.floats(0.5, 0.99))
def test_order_does_not_matter_and_higher_levels_are_wider(scores: list[float], level: float) -> None:
    found = conformal_quantile(scores, level)
    assert found == conformal_quantile(scores[::-1], level)
    assert min(scores) <= found <= max(scores)
    assert found >= conformal_quantile(scores, 0.5)


def test_extrapolated_rows_are_wider() -> None:
    interval = Interval({"decode": [0.1] * 20}, 2.0)
    assert interval.width("decode", 0.0) == pytest.approx(0.1)
    assert interval.width("decode", 1.0) == pytest.approx(0.2)
    assert interval.width("decode", np.array([0.0, 1.0])).tolist() == pytest.approx([0.1, 0.2])
    assert math.isnan(interval.width("prefill", 0.0))
    assert (interval.attainable("decode"), interval.attainable("prefill")) == (20 / 21, 0.0)


def test_an_interval_that_cannot_be_had_is_none_and_said() -> None:
    data = json.loads(toy_predictor().profile.model_dump_json())
    data["runtimes"]["eager"]["conformal_scores"] = {"decode": [0.1] * 4}
    predictor = Predictor(Profile.model_validate_json(json.dumps(data)))
    one = predictor.predict(SHAPE)
    assert (one.prefill_s_low, one.response_s_high) == (None, None)
    assert one.decode_s_per_token_low == pytest.approx(one.decode_s_per_token / math.exp(0.1 * 2.0))
    assert not one.holds("prefill_s", one.prefill_s)
    assert one.holds("decode_s_per_token", one.decode_s_per_token)
    assert [note.split(":")[0] for note in one.notes if "interval" in note] == ["prefill, response", "decode"]
    assert any("with 4 errors on unseen rows an interval holds at 80 %, not 90 %" in note for note in one.notes)
    assert one.as_dict()["prefill_s_low"] is None


def test_what_was_not_measured_is_named() -> None:
    assert toy_predictor().predict(SHAPE, Workload()).extrapolated_because == (
        "num_hidden_layers 4 (10 to 80 measured)", "hidden_size 256 (512 to 8192 measured)",
    )  # fmt: skip
    deep = ModelConfig(**{**SHAPE.model_dump(), "num_hidden_layers": 20, "hidden_size": 1024})
    assert toy_predictor().predict(deep).extrapolated_because == ()
    assert toy_predictor().predict(deep, Workload(weights="mxfp4")).extrapolated_because == ("weights mxfp4",)
    assert toy_predictor(float8=True).predict(deep, Workload(weights="fp8")).extrapolated_because == ()


@pytest.mark.parametrize("level", [0.0, 0.49, 0.995, 1.0, math.nan])
def test_levels_out_of_range_are_refused(level: float) -> None:
    with pytest.raises(UsageError, match="confidence"):
        Interval({}, 2.0, level)
