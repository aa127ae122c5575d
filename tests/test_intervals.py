"""Split-conformal intervals: coverage on simulated scores, and the edges of the quantile."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latmodel.errors import UsageError
from latmodel.predict.intervals import Interval, conformal_quantile


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("heavy", [False, True])
def test_coverage_of_new_scores(level: float, heavy: bool) -> None:
    """Exchangeable scores, whatever their distribution: ⌈(n + 1)·p⌉ / (n + 1) of new ones fall within."""
    generator = np.random.default_rng(0)
    trials, n = 4000, 29
    draws = np.abs(generator.standard_t(2, (trials, n + 1)) if heavy else generator.normal(size=(trials, n + 1)))
    covered = np.mean([row[-1] <= conformal_quantile(row[:-1].tolist(), level) for row in draws])
    expected = math.ceil((n + 1) * level) / (n + 1)
    assert covered == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / trials))
    assert expected >= level


def test_ranks_by_hand() -> None:
    scores = [float(i) for i in range(1, 20)]  # 19 scores
    assert conformal_quantile(scores, 0.9) == 18.0  # ⌈20 · 0.9⌉ = 18th
    assert conformal_quantile(scores, 0.95) == 19.0  # ⌈20 · 0.95⌉ = 19th
    assert conformal_quantile(scores, 0.99) == 19.0  # the 20th is not there: the largest stands in
    assert conformal_quantile([], 0.9) == 0.0
    assert conformal_quantile([3.0], 0.9) == 3.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.floats(0.5, 0.99))
def test_order_does_not_matter_and_higher_levels_are_wider(scores: list[float], level: float) -> None:
    found = conformal_quantile(scores, level)
    assert found == conformal_quantile(scores[::-1], level)
    assert found in scores
    assert found >= conformal_quantile(scores, 0.5)


def test_extrapolated_rows_are_wider() -> None:
    interval = Interval({"decode": [0.1] * 20}, 2.0)
    assert interval.width("decode", 0.0) == pytest.approx(0.1)
    assert interval.width("decode", 1.0) == pytest.approx(0.2)
    assert interval.width("decode", np.array([0.0, 1.0])).tolist() == pytest.approx([0.1, 0.2])
    assert interval.width("prefill", 0.0) == 0.0


@pytest.mark.parametrize("level", [0.0, 0.49, 0.995, 1.0, math.nan])
def test_levels_out_of_range_are_refused(level: float) -> None:
    with pytest.raises(UsageError, match="confidence"):
        Interval({}, 2.0, level)
