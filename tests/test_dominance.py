"""Quick tests of dominance against looking at every row: a yes is always right, and few are missed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latmodel.search import dominance
from latmodel.search.dominance import Grid, Stairs, known


def by_looking(rows: np.ndarray, points: np.ndarray, last: int) -> np.ndarray:
    """The least last goal among rows as good as a point in the others; points × goals."""
    others = [goal for goal in range(rows.shape[1]) if goal != last]
    below = (rows[None, :, others] <= points[:, None, others]).all(axis=2)
    return np.where(below, rows[None, :, last], np.inf).min(axis=1)


@settings(max_examples=60, deadline=None)
@given(goals=st.integers(3, 4), seed=st.integers(0, 2**32 - 1), count=st.integers(1, 80), values=st.integers(1, 12))
def test_no_row_is_made_up(goals, seed, count, values):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-values, values + 1, (count, goals)).astype(float)
    points = rng.integers(-values - 1, values + 2, (200, goals)).astype(float)
    some = known(rows)
    assert (some.least(points.T) >= by_looking(rows, points, some.last)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 300), steps=st.sampled_from([40, dominance.STEPS]))
def test_staircases_tell_all_that_is_not_in_a_cell_of_its_own(seed, count, steps):
    """Points farther than a cell's width from every row along the first goal: as by looking, if every row has a stair."""
    rng = np.random.default_rng(seed)
    rows = rng.random((count, 3)) * [1e10, 5.0, 2e10]
    points = rng.random((300, 3)) * [1e10, 5.0, 2e10]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dominance, "STEPS", steps)
        some = Stairs(rows)
    first = some.order[0]
    width = np.ptp(rows[:, first]) / dominance.CELLS
    apart = (np.abs(points[:, None, first] - rows[None, :, first]) > 2.0 * width).all(axis=1)
    found, right = some.least(points.T), by_looking(rows, points, some.last)
    assert (found >= right).all()
    if steps == dominance.STEPS:
        assert (found == right)[apart].all()


def test_a_bound_that_knows_nothing_is_not_covered():
    rows = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]])
    nothing = np.full((3, 1), -np.inf)
    assert Stairs(rows).least(nothing)[0] == np.inf
    assert Grid(rows).least(nothing)[0] == np.inf
