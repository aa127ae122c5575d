"""Quick, one-sided tests of whether something known is as good in three goals and more: a yes is sure, a no is not."""

from array import array
from bisect import bisect_right
from typing import Protocol

import numpy as np

from ..arrays import Array

# Cells of a grid, and steps of all staircases together (16 bytes each).
GRID_CELLS = 2_000_000
STEPS = 2_000_000
# Staircases kept, at most: one for every so many rows is as good as one for each.
STAIRCASES = 16_384
# Cells of equal width along the first goal, each of which knows its staircase: no search for it.
CELLS = 262_144
# Rows that tell along which goal staircases are short.
TRIAL = 1024


class Known(Protocol):
    """Rows to compare with, values to make small."""

    def least(self, values: Array) -> Array:
        """The least last goal (see `last`) of rows as good as some values in all other goals; goals × points."""
        ...

    @property
    def last(self) -> int:
        """Which goal is compared last."""
        ...


def known(values: Array) -> Known:
    """Rows × goals, made ready."""
    return Stairs(values) if values.shape[1] == 3 else Grid(values)


class Stairs:
    """For three goals: rows in the order of one goal, and the staircase of the other two after every few of them.

    A staircase holds what no earlier row beats in those two. Along a goal that is at odds with both others staircases
    are short: then they tell nearly all.
    """

    def __init__(self, values: Array) -> None:
        steps = [_stairs(_sorted(values[:: max(len(values) // TRIAL, 1)], axis), 64)[2].size for axis in range(3)]
        axis = int(np.argmin(steps))
        self.order = [axis, *(goal for goal in range(3) if goal != axis)]
        rows = _sorted(values, axis)
        ends, lengths, seconds, lasts = _stairs(rows, STAIRCASES)
        self._low = rows[0, 0]
        self._per_cell = CELLS / max(rows[-1, 0] - self._low, 1e-9 * abs(self._low), 1e-18)
        # A cell's staircase holds the rows of all cells before; one below and one above the rows' own belong to them.
        numbers = np.searchsorted(self._cell(rows[ends, 0]), np.arange(CELLS + 3))
        # Each staircase begins with a step that is below everything, and there is one without any other.
        starts = np.concatenate(([0], np.cumsum(lengths) - lengths))
        self._second, self._last = np.insert(seconds, starts, -np.inf), np.insert(lasts, starts, np.inf)
        self._start = (starts + np.arange(starts.size))[numbers]
        self._length = np.concatenate(([0], lengths))[numbers]
        self._reach = 1 << (int(lengths.max()).bit_length() - 1)

    @property
    def last(self) -> int:
        """Which goal is compared last."""
        return self.order[2]

    def least(self, values: Array) -> Array:
        """The least last goal of rows as good as some values in the other two; goals × points."""
        cell, second = self._cell(values[self.order[0]]), values[self.order[1]]
        step, end = self._start[cell], self._start[cell] + self._length[cell]
        reach = self._reach
        while reach:  # bisection: all staircases at once
            probe = np.minimum(step + reach, end)
            step = np.where(self._second[probe] <= second, probe, step)
            reach //= 2
        least: Array = self._last[step]
        return least

    def _cell(self, first: Array) -> Array:
        """Where values of the first goal lie; a higher cell means a higher value."""
        return np.clip((first - self._low) * self._per_cell, -1.0, CELLS + 1.0).astype(np.int64) + 1


def _sorted(values: Array, axis: int) -> Array:
    """Rows sorted by one goal, which becomes the first column."""
    rows = np.concatenate((values[:, axis : axis + 1], np.delete(values, axis, axis=1)), axis=1)
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _stairs(rows: Array, most: int) -> tuple[Array, Array, Array, Array]:
    """Staircases of columns 1 and 2 after every few rows: row where each ends, its length; both goals of its steps."""
    count = len(rows)
    stride = -(-count // most)
    ends = [*range(stride - 1, count - 1, stride), count - 1]
    seconds: list[float] = []  # of the staircase at hand, rising
    lasts: list[float] = []  # falling
    kept = array("d"), array("d")
    lengths: list[int] = []
    for begin, end in zip((0, *(end + 1 for end in ends)), ends, strict=False):
        for second, last in zip(rows[begin : end + 1, 1].tolist(), rows[begin : end + 1, 2].tolist(), strict=True):
            step = bisect_right(seconds, second)
            if step and lasts[step - 1] <= last:
                continue
            after = step
            while after < len(lasts) and lasts[after] >= last:
                after += 1
            seconds[step:after], lasts[step:after] = [second], [last]
        kept[0].extend(seconds)
        kept[1].extend(lasts)
        lengths.append(len(seconds))
        if len(kept[0]) > STEPS:  # long ones: fewer of them
            return _stairs(rows, most // 4)
    return np.array(ends), np.array(lengths), np.array(kept[0]), np.array(kept[1])


class Grid:
    """For each cell of a grid over all goals but the last, the least of the last goal among rows before that cell.

    It does not see what shares a cell with its better.
    """

    def __init__(self, values: Array) -> None:
        goals = values.shape[1] - 1
        steps = max(int(GRID_CELLS ** (1.0 / goals)), 4)
        self.edges = [np.unique(np.quantile(column, np.linspace(0.0, 1.0, steps))) for column in values.T[:-1]]
        self._least = np.full([edges.size + 1 for edges in self.edges], np.inf)
        # A row counts in cells whose lower edges are all at or above it.
        cells = tuple(np.searchsorted(e, v, side="left") + 1 for e, v in zip(self.edges, values.T[:-1], strict=True))
        inside = np.all([c < n for c, n in zip(cells, self._least.shape, strict=True)], axis=0)
        np.minimum.at(self._least, tuple(c[inside] for c in cells), values[inside, -1])
        for axis in range(self._least.ndim):
            np.minimum.accumulate(self._least, axis=axis, out=self._least)

    @property
    def last(self) -> int:
        """The last goal."""
        return len(self.edges)

    def least(self, values: Array) -> Array:
        """The least last goal of rows as good as some values in all others; goals × points."""
        cells = tuple(np.searchsorted(e, v, side="right") for e, v in zip(self.edges, values[:-1], strict=True))
        least: Array = self._least[cells]
        return least
