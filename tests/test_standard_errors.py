"""Covariance of coefficients against closed forms: means with a known noise, and clusters that are off together."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from calibration.fit.fit import FEWEST_SHAPES, covariance_of

SHAPES, ROWS = 2000, 4  # of one mean: every row is a measurement of it with noise 1
WIDE = 1e-6  # 1 / spread of a prior that says nothing


def mean_of(residuals: np.ndarray, shapes: list[str]) -> float:
    """Standard error of the mean of so many measurements with noise 1."""
    slopes = np.concatenate([np.ones((len(residuals), 1)), [[WIDE]]])
    off = residuals - residuals.mean()
    return float(np.sqrt(covariance_of(slopes, np.append(off, 0.0), shapes)[0, 0]))


def named(count: int, rows: int) -> list[str]:
    return [f"s{i}" for i in range(count) for _ in range(rows)]


def test_rows_that_err_apart_have_the_textbook_error() -> None:
    off = np.random.default_rng(0).normal(size=SHAPES * ROWS)
    assert mean_of(off, named(SHAPES, ROWS)) == pytest.approx(1.0 / np.sqrt(SHAPES * ROWS), rel=0.03)


def test_rows_that_err_with_their_shape_count_as_one() -> None:
    """All rows of a shape have one error: by the jackknife the variance is 1 / shapes, by their noise 1 / rows."""
    off = np.repeat(np.random.default_rng(1).normal(size=SHAPES), ROWS)
    expected = np.sqrt(0.5 * (1.0 / SHAPES + 1.0 / (SHAPES * ROWS)))
    assert mean_of(off, named(SHAPES, ROWS)) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("shapes", [named(FEWEST_SHAPES - 1, 2), [""] * 14])
def test_few_shapes_and_unnamed_rows_take_the_noise_of_the_rows(shapes: list[str]) -> None:
    off = np.tile([1.0, -1.0], len(shapes) // 2)
    freedom = len(shapes) / (len(shapes) - 1.0)  # one mean was fitted
    assert mean_of(off, shapes) == pytest.approx(np.sqrt(freedom / len(shapes)), rel=1e-6)


def test_a_prior_alone_gives_its_own_spread() -> None:
    """Rows without slopes: nothing is learnt, whatever their residuals."""
    slopes = np.concatenate([np.zeros((40, 1)), [[1.0 / 0.3]]])
    off = np.append(np.random.default_rng(2).normal(size=40), 0.0)
    assert covariance_of(slopes, off, named(20, 2))[0, 0] == pytest.approx(0.09)
