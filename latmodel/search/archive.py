"""Shapes of which none is at least as good as another in everything, kept so that looking one up is quick."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from .dominance import Known, known


class Front:
    """Non-dominated rows: values to make small, one column a goal, and shapes, one row of whole numbers each.

    Of rows with the same values the lexicographically smallest shape stands for all, so that the front of a set of
    shapes is the same whatever order they came in. Rows are sorted by the first goal, then the next.
    """

    def __init__(self, values: Array, shapes: Array) -> None:
        self.values, self.shapes = values, shapes

    @classmethod
    def empty(cls, goals: int, columns: int = 8) -> "Front":
        """No shapes."""
        return cls(np.zeros((0, goals)), np.zeros((0, columns), dtype=np.int64))

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def covers(self, bounds: Array) -> Array:
        """Where a row is as good as a bound in every goal; goals × boxes. Of three goals it may miss some."""
        if self.values.shape[1] == 2:
            first, least = self._stairs
            return least[first[:-1].searchsorted(bounds[0], side="right")] <= bounds[1]
        return self._known.least(bounds) <= bounds[self._known.last] if len(self) else self._none(bounds)

    def beats(self, values: Array) -> Array:
        """Where a row is as good in every goal and better in one; goals × shapes. Of three goals it may miss some."""
        if self.values.shape[1] == 2:
            # No two rows have the same first goal: of those up to and with an equal one, there is one more at most.
            first, least = self._stairs
            below = first[:-1].searchsorted(values[0], side="left")
            return (least[below] <= values[1]) | (least[below + (first[below] == values[0])] < values[1])
        return self._known.least(values) < values[self._known.last] if len(self) else self._none(values)

    @cached_property
    def _stairs(self) -> tuple[Array, Array]:
        """Of two goals: the first, rising, with an end that nothing equals; the least of the second before each."""
        first, second = self.values.T
        return np.concatenate((first, [np.nan])), np.concatenate(([np.inf], second))

    @cached_property
    def _known(self) -> Known:
        return known(self.values)

    def _none(self, points: Array) -> Array:
        return np.zeros(points.shape[1], dtype=bool)

    def merged(self, others: Iterable["Front"]) -> "Front":
        """The front of all rows together, whatever their order.

        Raises:
            UsageError: three goals and more, and moocore is not installed.
        """
        fronts = [self, *others]
        values, shapes = (
            np.concatenate(columns) for columns in zip(*((f.values, f.shapes) for f in fronts), strict=True)
        )
        if values.shape[1] > 2:  # what is left is quicker to sort
            kept = _non_dominated(values)
            values, shapes = values[kept], shapes[kept]
        order = _order(values, shapes)
        kept = order[_staircase(values[order]) if values.shape[1] == 2 else _first_of_equals(values[order])]
        return Front(values[kept], shapes[kept])


def _order(values: Array, shapes: Array) -> Array:
    """Rows sorted by the goals in turn, then by shape."""
    order = np.argsort(values[:, 0], kind="stable")  # quick: what is merged is in order for the most part
    if (np.diff(values[order, 0]) == 0.0).any():
        order = np.lexsort(values.T[::-1])
        tied = (np.diff(values[order], axis=0) == 0.0).all(axis=1)
        if tied.any():
            group = np.cumsum(np.concatenate(([True], ~tied)))
            rows = np.flatnonzero(np.concatenate((tied, [False])) | np.concatenate(([False], tied)))
            order[rows] = order[rows][np.lexsort((*shapes[order[rows]].T[::-1], group[rows]))]
    return order


def _staircase(values: Array) -> Array:
    """Of rows sorted by both goals, those where the second falls below all before."""
    before = np.minimum.accumulate(np.concatenate(([np.inf], values[:-1, 1])))[: len(values)]
    return values[:, 1] < before


def _non_dominated(values: Array) -> Array:
    """Rows that no other beats; all of equal ones."""
    if len(values) < 2:
        return np.ones(len(values), dtype=bool)
    try:
        import moocore
    except ImportError:
        raise UsageError("three objectives and more need moocore; run `pip install 'latmodel[search]'`") from None
    kept: Array = moocore.is_nondominated(values, keep_weakly=True)
    return kept


def _first_of_equals(values: Array) -> Array:
    """Of sorted rows, the first of each run of equal ones."""
    return np.concatenate(([True] * bool(len(values)), (np.diff(values, axis=0) != 0.0).any(axis=1)))
