"""Intervals for a row of the next device from errors of some: each device counts once, and unlike ones count for less."""

import numpy as np
import pytest

from calibration.published.pooled import effective_number, pooled_quantiles, pooled_scores
from latmodel.predict.intervals import conformal_quantile


def test_one_row_a_device_is_the_usual_rule() -> None:
    errors = [0.01 * number for number in range(1, 20)]
    assert pooled_scores([[error] for error in errors]) == pytest.approx(errors)


def test_each_device_has_the_same_weight() -> None:
    # Half of the mass lies at 1, half is spread over 3 and 5: the middles are at 1/4, 5/8 and 7/8.
    groups = [np.array([1.0]), np.array([3.0, 5.0])]
    assert pooled_quantiles(groups, np.array([0.25, 0.4375, 0.75, 1.0])) == pytest.approx([1.0, 2.0, 4.0, 5.0])


def test_unlike_devices_tell_less_than_their_rows() -> None:
    # Of eight devices seven lie within the pooled 90 % whole and one with a fifth of its rows: F is 1 seven times and
    # 0.2, its mean 0.9, its variance 0.07, so that n = 0.9 · 0.1 · 8 / 0.07 = 10.3.
    rows = np.linspace(0.01, 1.0, 20)
    groups = [rows] * 7 + [np.concatenate([rows[:4], rows[4:] + 10.0])]
    assert effective_number(groups) == 10
    assert effective_number([rows] * 8) == 160  # all alike: as many as rows
    assert effective_number([np.array([value]) for value in rows]) == 20
    assert effective_number([rows[:3], rows[:3]]) == 2  # all lie inside: nothing tells how unlike they are


def test_no_device_has_no_score() -> None:
    assert pooled_scores([]) == []


@pytest.mark.parametrize(("devices", "rows", "unlike"), [(9, 1, 1.0), (9, 8, 0.0), (9, 8, 2.0), (20, 8, 2.0)])
def test_a_row_of_the_next_device_is_covered_as_often_as_promised(devices: int, rows: int, unlike: float) -> None:
    chance = np.random.default_rng(0)
    inside = []
    for _ in range(600):
        centres = unlike * chance.standard_normal(devices + 1)
        errors = centres[:, None] + chance.standard_normal((devices + 1, 60))
        width = conformal_quantile(pooled_scores(errors[:-1, :rows].tolist()), 0.9)
        inside.append(np.mean(np.abs(errors[-1]) <= width))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.025)
