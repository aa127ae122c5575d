"""Widths of intervals by hand: ranks and what lies between them, phases without residuals, levels that can be had."""

import math
from typing import Any

import numpy as np
import pytest

from latmodel.errors import UsageError
from latmodel.predict.intervals import Interval, Widths, conformal_quantile, lower_end, upper_end

NINE = [0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("count", "level", "width"),
    [
        (9, 0.5, 0.5), (9, 0.9, 0.9), (9, 0.85, 0.85), (9, 0.55, 0.55), (9, 0.95, 0.9), (4, 0.5, 0.4), (4, 0.6, 0.5),
        (1, 0.5, 0.9), (1, 0.99, 0.9), (3, 0.75, 0.9), (3, 0.74, 0.884), (2, 0.5, 0.5),
    ],
)  # fmt: skip
def test_the_width_at_a_level_lies_at_its_rank(count: int, level: float, width: float) -> None:
    """Of nine the rank is 10 · level; of 0.9, 0.1, 0.5, 0.3 it is 5 · level: between 0.3 and 0.5 at 0.5."""
    assert conformal_quantile(NINE[:count], level) == pytest.approx(width)
    found = Interval({"decode": NINE[:count]}, 2.0, level)
    assert found.width("decode", 0.0) == pytest.approx(width) and found.level == level


def test_no_scores_no_width() -> None:
    assert math.isnan(conformal_quantile([], 0.9))
    empty = Interval({"decode": []}, 2.0)
    assert math.isnan(empty.width("decode", 1.0)) and empty.from_parts and math.isnan(empty.widest)
    assert [empty.attainable(phase) for phase in ("prefill", "decode", "response")] == [0.0] * 3
    assert empty.notes == ["prefill, decode, response: no interval, for no error on unseen rows is known"]


@pytest.mark.parametrize("level", [0.49, 0.991, math.nan])
def test_a_level_out_of_range_is_refused(level: float) -> None:
    with pytest.raises(UsageError, match=r"0\.5 to 0\.99"):
        Interval({}, 2.0, level)
    assert (
        Interval({}, 2.0, 0.5).level == 0.5 and Interval({}, 2.0, 0.99).level == 0.99 and Interval({}, 2.0).level == 0.9
    )


PARTS = Interval({"prefill": [0.1] * 20, "decode": [0.3] * 4}, 3.0, 0.8)
OWN = Interval({"prefill": [0.1] * 20, "decode": [0.3] * 4, "response": [0.2] * 9}, 3.0, 0.9)


def test_a_response_has_its_own_width_or_that_of_its_parts() -> None:
    """A quarter of it prefill: 0.1 / 4 + 0.3 · 3 / 4; three times that where it is extrapolated."""
    assert PARTS.from_parts and not OWN.from_parts
    for outside, factor in ((False, 1.0), (True, 3.0)):
        assert PARTS.widths(outside, 0.25) == pytest.approx(Widths(0.1 * factor, 0.3 * factor, 0.25 * factor))
        assert OWN.widths(outside, 0.25) == pytest.approx(Widths(0.1 * factor, 0.3 * factor, 0.2 * factor))
        assert PARTS.width("response", outside, 0.25) == pytest.approx(0.25 * factor)
        assert OWN.width("response", outside, 0.25) == pytest.approx(0.2 * factor)
        assert PARTS.largest(extrapolated=outside) == pytest.approx(0.3 * factor)
        rows = PARTS.width("response", np.array([0.0, 1.0]), np.array([1.0, 0.0]))
        assert rows.tolist() == pytest.approx([0.1, 0.9])
    assert PARTS.extremes("response") == pytest.approx((0.1, 0.9)) and PARTS.extremes("prefill") == pytest.approx(
        (0.1, 0.3)
    )
    assert OWN.extremes("response") == pytest.approx((0.2, 0.6)) and OWN.extremes("decode") == pytest.approx((0.3, 0.9))
    assert PARTS.widest == OWN.widest == pytest.approx(0.9)
    long = Interval({"prefill": [0.1] * 20, "decode": [0.3] * 20, "response": [0.7] * 20}, 3.0)
    assert long.widest == pytest.approx(2.1) and long.largest(extrapolated=False) == pytest.approx(0.7)
    assert math.isnan(Interval({"prefill": [0.1], "response": [0.1]}, 2.0).widest)
    assert math.isnan(Interval({"prefill": [0.1]}, 2.0).largest(extrapolated=False))


def test_untimed_kernels_may_take_as_long_again() -> None:
    """Half of the weights on them: log 1.5 in quadrature with what is extrapolated; all of them: log 2."""
    half, all_ = (np.hypot(0.3, np.log(ratio)) for ratio in (1.5, 2.0))
    assert [PARTS.width("prefill", outside) for outside in (1.0, 1.5, 2.0)] == pytest.approx([0.3, half, all_])
    assert PARTS.width("prefill", np.array([0.0, 1.0, 1.5])).tolist() == pytest.approx([0.1, 0.3, half])
    assert PARTS.widths(1.5, 0.25) == pytest.approx([np.hypot(one, np.log(1.5)) for one in (0.3, 0.9, 0.75)])
    assert PARTS.width("response", 1.5, 0.25) == pytest.approx(np.hypot(0.75, np.log(1.5)))
    assert PARTS.extremes("response", untimed=True) == pytest.approx((0.1, np.hypot(0.9, np.log(2.0))))


def test_levels_that_few_errors_hold_at_are_told() -> None:
    assert [OWN.attainable(phase) for phase in ("prefill", "decode", "response")] == pytest.approx([20 / 21, 0.8, 0.9])
    assert PARTS.attainable("response") == PARTS.attainable("decode") == 0.8 and PARTS.notes == []
    assert OWN.notes == ["decode: with 4 errors on unseen rows an interval holds at 80 %, not 90 %"]
    wide = Interval({"prefill": [0.1] * 4, "decode": [0.3] * 4}, 3.0, 0.95)
    assert wide.notes == ["prefill, decode, response: with 4 errors on unseen rows an interval holds at 80 %, not 95 %"]


@pytest.mark.parametrize("array", [False, True])
def test_ends_are_host_and_device_in_quadrature(array: bool) -> None:
    """A host that halves the time and a device that is off by log 2: √2 · log 2. A slower "fastest" host counts nothing."""

    def shaped(value: float) -> Any:
        return np.array([value, value]) if array else value

    reach = math.sqrt(2.0) * math.log(2.0)
    for own, host, width, low, high in (
        (8.0, 4.0, math.log(2.0), 8 / math.exp(reach), 16.0), (8.0, 16.0, math.log(2.0), 4.0, 8 * math.exp(reach)),
        (8.0, 8.0, 0.0, 8.0, 8.0), (8.0, 2.0, 0.0, 2.0, 8.0), (0.0, 0.0, 0.5, 0.0, 0.0),
    ):  # fmt: skip
        found = lower_end(shaped(own), shaped(host), shaped(width)), upper_end(shaped(own), shaped(host), shaped(width))
        for end, expected in zip(found, (low, high), strict=True):
            assert np.allclose(end, expected, rtol=1e-12) and isinstance(end, np.ndarray) == array
    assert lower_end(np.array([8.0]), 8.0, math.log(2.0)).tolist() == pytest.approx([4.0])
    assert upper_end(8.0, 8.0, np.array([math.log(2.0)])).tolist() == pytest.approx([16.0])
    assert math.isnan(lower_end(8.0, 4.0, math.nan))
