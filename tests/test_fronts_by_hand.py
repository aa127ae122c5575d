"""Fronts of few rows by hand, and quick tests of dominance against looking at every row."""

import numpy as np
import pytest

from latmodel.errors import UsageError
from latmodel.search import archive, dominance
from latmodel.search.archive import Front, _first_of_equals, _non_dominated, _order, _staircase
from latmodel.search.dominance import Grid, Stairs, _stairs, known

THREE = np.array([[1.0, 5.0], [2.0, 3.0], [4.0, 1.0]])


def front(rows: list[tuple[float, ...]], shapes: list[int] | None = None) -> Front:
    """Rows of goals, with shapes of two equal numbers each."""
    numbers = list(range(len(rows))) if shapes is None else shapes
    table = np.array(rows, dtype=float).reshape(len(rows), -1)
    return Front(table, np.array([[n, n] for n in numbers], dtype=np.int64).reshape(-1, 2))


def test_two_goals_a_row_covers_its_equals_and_beats_what_is_worse_in_one() -> None:
    some = Front(THREE, np.zeros((3, 8), dtype=np.int64))
    points = {
        (1.0, 5.0): (True, False), (2.0, 3.0): (True, False), (2.0, 3.1): (True, True), (2.1, 3.0): (True, True),
        (2.0, 2.9): (False, False), (1.9, 3.0): (False, False), (0.9, 9.0): (False, False), (1.0, 5.1): (True, True),
        (4.0, 1.0): (True, False), (9.0, 0.9): (False, False), (3.0, 4.0): (True, True), (1.5, 4.9): (False, False),
    }  # fmt: skip
    table = np.array(list(points)).T
    assert list(zip(some.covers(table).tolist(), some.beats(table).tolist(), strict=True)) == list(points.values())
    assert len(some) == 3 and len(Front.empty(2)) == 0 and Front.empty(2).shapes.shape == (0, 8)


@pytest.mark.parametrize("goals", [2, 3, 4])
def test_an_empty_front_covers_and_beats_nothing(goals: int) -> None:
    points = np.zeros((goals, 5))
    assert not Front.empty(goals).covers(points).any() and not Front.empty(goals).beats(points).any()
    assert Front.empty(goals).covers(points).shape == (5,)


def test_three_goals_a_row_far_enough_below_covers_and_beats() -> None:
    some = front([(0.0, 0.0, 0.0), (5.0, -5.0, 0.0), (9.0, 9.0, -9.0)])
    points = np.array([(1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, -1.0), (-1.0, 9.0, 9.0), (6.0, -4.0, 0.0)]).T
    assert some.covers(points).tolist() == [True, True, False, False, True]
    assert some.beats(points).tolist() == [True, False, False, False, False]


def test_merging_keeps_what_nothing_dominates_in_order_and_the_smallest_of_equals() -> None:
    some = front([(1.0, 5.0), (2.0, 5.0), (2.0, 3.0)], [7, 8, 9])
    found = some.merged([front([(2.0, 3.0), (2.0, 4.0), (0.5, 6.0), (1.0, 5.0)], [4, 1, 2, 9])])
    assert found.values.tolist() == [[0.5, 6.0], [1.0, 5.0], [2.0, 3.0]]
    assert found.shapes[:, 0].tolist() == [2, 7, 4]
    assert len(Front.empty(2, 2).merged([Front.empty(2, 2)])) == 0


def test_merging_three_goals() -> None:
    pytest.importorskip("moocore")
    rows = [(1.0, 5.0, 1.0), (1.0, 5.0, 2.0), (0.0, 9.0, 9.0), (1.0, 5.0, 1.0), (1.0, 4.0, 9.0)]
    found = front(rows, [7, 1, 2, 5, 4]).merged([])
    assert found.values.tolist() == [[0.0, 9.0, 9.0], [1.0, 4.0, 9.0], [1.0, 5.0, 1.0]]
    assert found.shapes[:, 0].tolist() == [2, 4, 5]
    assert front([(1.0, 2.0, 3.0)], [6]).merged([]).shapes.tolist() == [[6, 6]]
    assert _non_dominated(np.array(rows)).tolist() == [True, False, True, True, True]
    assert _non_dominated(np.zeros((1, 3))).tolist() == [True] and _non_dominated(np.zeros((0, 3))).tolist() == []


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_sorted_by_the_goals_in_turn_then_by_shape(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for values in (
        rng.integers(0, 3, (30, 2)),
        rng.integers(0, 2, (30, 3)),
        rng.permutation(30)[:, None] + np.zeros(2),
    ):
        shapes = rng.integers(0, 3, (30, 2))
        order = _order(values.astype(float), shapes)
        keys = [(*values[row].tolist(), *shapes[row].tolist()) for row in order]
        assert keys == sorted(keys) and sorted(order.tolist()) == list(range(30))


def test_ties_in_the_first_goal_alone_are_ordered_by_the_next() -> None:
    assert _order(np.array([[1.0, 5.0], [0.0, 4.0], [1.0, 3.0]]), np.zeros((3, 2))).tolist() == [1, 2, 0]


def test_stairs_fall_strictly_and_runs_begin_where_something_changes() -> None:
    assert _staircase(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 4.0], [4.0, 6.0], [5.0, 3.0]])).tolist() == [
        True, False, True, False, True
    ]  # fmt: skip
    assert _staircase(np.zeros((0, 2))).tolist() == [] and _staircase(np.array([[9.0, 9.0]])).tolist() == [True]
    rows = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [2.0, 2.0]])
    assert _first_of_equals(rows).tolist() == [True, False, True, True, False]
    assert _first_of_equals(np.zeros((0, 3))).tolist() == [] and _first_of_equals(np.zeros((1, 3))).tolist() == [True]


def test_without_moocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "moocore", None)
    with pytest.raises(UsageError, match="moocore"):
        archive._non_dominated(np.zeros((2, 3)))


# --- Three goals and more -------------------------------------------------------------------------


def by_looking(rows: np.ndarray, points: np.ndarray, order: list[int]) -> np.ndarray:
    """The least last goal among rows that lie before a point in the first and are as good in the others."""
    first, *others, last = order
    below = rows[None, :, first] < points[:, None, first]
    for goal in others:
        below &= rows[None, :, goal] <= points[:, None, goal]
    return np.where(below, rows[None, :, last], np.inf).min(axis=1)


def planted(axis: int, count: int, seed: int) -> np.ndarray:
    """Whole numbers, one goal at odds with both others: along it staircases are short."""
    rng = np.random.default_rng(seed)
    along, beside = rng.permutation(count).astype(float), rng.integers(0, 40, (2, count))
    rows = np.stack([along, -along + beside[0], -along + beside[1]], axis=1)
    return np.roll(rows, axis, axis=1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 90])
def test_staircases_find_the_least_of_all_rows_before_a_point(axis: int, count: int) -> None:
    """Points lie half-way between whole numbers, so that none shares a cell with a row."""
    rows = planted(axis, count, axis)
    some = Stairs(rows)
    assert sorted(some.order) == [0, 1, 2] and some.last == some.order[2]
    if count == 90:
        assert some.order[0] == axis
    rng = np.random.default_rng(count)
    points = rows[rng.integers(0, count, 300)] + rng.integers(-3, 60, (300, 3)) + 0.5
    assert np.array_equal(some.least(points.T), by_looking(rows, points, some.order))
    far = np.array([[-1e9] * 3, [1e9] * 3]).T  # before all rows, and behind them
    assert some.least(far).tolist() == [np.inf, rows[:, some.last].min()]


def test_rows_far_from_zero_are_told_apart() -> None:
    rows = planted(0, 90, 3) + np.array([1e9, 0.0, 0.0])
    some, points = Stairs(rows), rows + 0.5
    assert some.order[0] == 0 and np.array_equal(some.least(points.T), by_looking(rows, points, some.order))


def test_a_row_is_not_known_to_points_in_its_own_cell_and_those_before() -> None:
    rows = planted(0, 30, 5)
    some = Stairs(rows)
    assert np.array_equal(some.least(rows.T), by_looking(rows, rows, some.order))
    same = np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])  # one value along the first goal
    assert Stairs(same).least(np.array([[4.0, 9.0, 9.0]]).T)[0] == by_looking(
        same, np.array([[4.0, 9.0, 9.0]]), Stairs(same).order
    )


def test_staircases_of_few_rows_by_hand() -> None:
    """After each row: what no earlier one beats in the second and third goal."""
    rows = np.array([[0.0, 2.0, 2.0], [1.0, 3.0, 1.0], [2.0, 1.0, 1.0], [3.0, 0.0, 5.0], [4.0, 1.0, 1.0]])
    ends, lengths, seconds, lasts = _stairs(rows, 5)
    assert ends.tolist() == [0, 1, 2, 3, 4] and lengths.tolist() == [1, 2, 1, 2, 2]
    assert seconds.tolist() == [2, 2, 3, 1, 0, 1, 0, 1] and lasts.tolist() == [2, 2, 1, 1, 5, 1, 5, 1]
    ends, lengths, seconds, lasts = _stairs(rows, 2)  # after every three, and at the end
    assert (ends.tolist(), lengths.tolist()) == ([2, 4], [1, 2])
    assert (seconds.tolist(), lasts.tolist()) == ([1, 0, 1], [1, 5, 1])
    assert _stairs(rows, 3)[0].tolist() == [1, 3, 4] and _stairs(rows[:4], 2)[0].tolist() == [1, 3]


def test_staircases_that_are_too_long_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[float(n), float(n), -float(n)] for n in range(20)])
    assert len(_stairs(rows, 20)[0]) == 20
    monkeypatch.setattr(dominance, "STEPS", 100)
    ends, lengths, seconds, _ = _stairs(rows, 20)
    assert ends.tolist() == [3, 7, 11, 15, 19] and lengths.tolist() == [4, 8, 12, 16, 20] and seconds.size == 60


@pytest.mark.parametrize("goals", [3, 4])
def test_a_grid_knows_the_rows_before_a_cell(goals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an edge at every value of whole numbers, all rows below a point by one are known; none is made up."""
    rng = np.random.default_rng(goals)
    rows = rng.integers(0, 5, (60, goals)).astype(float)
    points = rng.integers(-1, 7, (300, goals)).astype(float)
    some = Grid(rows)
    assert some.last == goals - 1 and all({0, 1, 2, 3, 4} <= set(edges.round(9)) for edges in some.edges)
    found, others = some.least(points.T), range(goals - 1)
    for point, value in zip(points, found.tolist(), strict=True):
        below, strictly = (
            [row[-1] for row in rows if all(row[g] <= point[g] - gap for g in others)] for gap in (0.0, 1.0)
        )
        assert min(below, default=np.inf) <= value <= min(strictly, default=np.inf)
    monkeypatch.setattr(dominance, "GRID_CELLS", 1)
    coarse = Grid(np.arange(100.0)[:, None] + np.zeros(goals))
    assert all(edges.tolist() == pytest.approx([0, 33, 66, 99]) for edges in coarse.edges)


def test_three_goals_have_staircases_and_more_a_grid() -> None:
    assert isinstance(known(np.zeros((1, 3))), Stairs) and isinstance(known(np.zeros((1, 4))), Grid)
