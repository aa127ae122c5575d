"""Shapes of which none is at least as good as another in everything, kept so that looking one up is quick."""

from collections.abc import Iterable

import numpy as np

from .arrays import Array
from .errors import UsageError

# Cells of the grid that prunes with three and more goals (8 bytes each).
GRID_CELLS = 2_000_000


class Front:
    """Non-dominated rows: values to make small, one column a goal, and shapes, one row of whole numbers each.

    Of rows with the same values the lexicographically smallest shape stands for all, so that the front of a set of
    shapes is the same whatever order they came in. Rows are sorted by the first goal, then the next.
    """

    def __init__(self, values: Array, shapes: Array) -> None:
        self.values, self.shapes = values, shapes
        self._grid: _Grid | None = None
        if values.shape[1] == 2:
            self._least = np.concatenate(([np.inf], values[:, 1]))  # of the second goal, up to each row

    @classmethod
    def empty(cls, goals: int, columns: int = 8) -> "Front":
        """No shapes."""
        return cls(np.zeros((0, goals)), np.zeros((0, columns), dtype=np.int64))

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def covers(self, bounds: Array) -> Array:
        """Where a row is as good as a bound in every goal; `bounds` is goals × boxes. Three goals: it may miss some."""
        if self.values.shape[1] == 2:
            return self._least[np.searchsorted(self.values[:, 0], bounds[0], side="right")] <= bounds[1]
        return self._gridded().covers(bounds) if self._grid or len(self) else np.zeros(bounds.shape[1], dtype=bool)

    def beats(self, values: Array) -> Array:
        """Where a row is as good in every goal and better in one; goals × shapes. Three goals: it may miss some."""
        if self.values.shape[1] == 2:
            left = self._least[np.searchsorted(self.values[:, 0], values[0], side="left")]
            right = self._least[np.searchsorted(self.values[:, 0], values[0], side="right")]
            return (left <= values[1]) | (right < values[1])
        return self._gridded().beats(values) if self._grid or len(self) else np.zeros(values.shape[1], dtype=bool)

    def merged(self, others: Iterable["Front"]) -> "Front":
        """The front of all rows together, whatever their order.

        Raises:
            UsageError: three goals and more, and moocore is not installed.
        """
        fronts = [self, *others]
        values, shapes = (
            np.concatenate(columns) for columns in zip(*((f.values, f.shapes) for f in fronts), strict=True)
        )
        order = _order(values, shapes)
        kept = order[_staircase(values[order]) if values.shape[1] == 2 else _non_dominated(values[order])]
        front = Front(values[kept], shapes[kept])
        front._grid = self._grid
        return front

    def note(self, values: Array) -> None:
        """Prune by these rows too, which are to be merged later; rows × goals."""
        if self.values.shape[1] > 2:
            self._gridded().add(values)

    def _gridded(self) -> "_Grid":
        if self._grid is None:
            self._grid = _Grid(self.values)
            self._grid.add(self.values)
        return self._grid


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
    """Of sorted rows, those that no other beats, and of equal ones the first."""
    if len(values) < 2:
        return np.ones(len(values), dtype=bool)
    try:
        import moocore
    except ImportError:
        raise UsageError("three objectives and more need moocore; run `pip install 'latmodel[search]'`") from None
    first = np.concatenate(([True], (np.diff(values, axis=0) != 0.0).any(axis=1)))
    kept = np.zeros(len(values), dtype=bool)
    kept[first] = moocore.is_nondominated(values[first])
    return kept


class _Grid:
    """For each cell of a grid over all goals but the last, the least of the last goal among rows before that cell.

    A quick, one-sided test: what it says is covered is; it does not see what shares a cell with its better.
    """

    def __init__(self, values: Array) -> None:
        goals = values.shape[1] - 1
        steps = max(int(GRID_CELLS ** (1.0 / goals)), 4)
        self.edges = [np.unique(np.quantile(column, np.linspace(0.0, 1.0, steps))) for column in values.T[:-1]]
        self.least = np.full([edges.size + 1 for edges in self.edges], np.inf)

    def add(self, values: Array) -> None:
        """Take in rows."""
        # A row counts in cells whose lower edges are all at or above it.
        cells = tuple(np.searchsorted(e, v, side="left") + 1 for e, v in zip(self.edges, values.T[:-1], strict=True))
        inside = np.all([c < n for c, n in zip(cells, self.least.shape, strict=True)], axis=0)
        np.minimum.at(self.least, tuple(c[inside] for c in cells), values[inside, -1])
        for axis in range(self.least.ndim):
            np.minimum.accumulate(self.least, axis=axis, out=self.least)

    def _at(self, values: Array) -> Array:
        cells = tuple(np.searchsorted(e, v, side="right") for e, v in zip(self.edges, values[:-1], strict=True))
        return self.least[cells]

    def covers(self, bounds: Array) -> Array:
        return self._at(bounds) <= bounds[-1]

    def beats(self, values: Array) -> Array:
        return self._at(values) < values[-1]
