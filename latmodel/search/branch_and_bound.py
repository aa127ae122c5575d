"""Exact search of a space by branch and bound over boxes of shapes.

A box is a stem with a range of FFN sizes and a range of depths; its corners bound every measure of the shapes in it.
A box that cannot hold an answer is dropped, the others are split; small ones are priced shape by shape. What is
dropped is strictly worse than something found, so the answer depends on no order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from .archive import Front
from .goals import SHAPE, Corner, Measure
from .tables import Tables

# Boxes looked at together: temporaries of this length stay in the second-level cache.
BATCH = 16_384
# A box of at most so many shapes is priced shape by shape instead of being split further.
LEAF = 8
# The same where an objective has no bound.
SCAN_LEAF, SCAN_BATCH = 1024, 64
# Shapes found before they are merged into the front: sorting is dearer than looking up.
MERGE = 32_768
# With three goals and more that is dearer still: this many times as many as are on the front, at least.
MERGE_TIMES = 2.0


@dataclass
class Effort:
    """How much work a search was: boxes bounded, shapes priced one by one."""

    boxes: int = 0
    priced: int = 0


class Boxes(NamedTuple):
    """Stems with ranges of FFN sizes and of depths: indices, both ends included. int32 arrays of one length."""

    stem: Array
    ffn_low: Array
    ffn_high: Array
    depth_low: Array
    depth_high: Array

    def take(self, rows: Array) -> "Boxes":
        """Some of them."""
        return Boxes(*(column[rows] for column in self))

    @property
    def shapes(self) -> Array:
        """Shapes in each."""
        return (self.ffn_high - self.ffn_low + 1).astype(np.int64) * (self.depth_high - self.depth_low + 1)


def whole(table: Tables, depths: int) -> Boxes:
    """One box for each stem, with all its FFN sizes and depths."""
    stem = np.arange(len(table.stems), dtype=np.int32)
    zero = np.zeros_like(stem)
    return Boxes(stem, zero, (table.ffn_count - 1).astype(np.int32), zero, zero + np.int32(depths - 1))


def split(boxes: Boxes, by_depth: Array) -> Boxes:
    """Each box in two, along depth or along FFN size."""
    middle_ffn = (boxes.ffn_low + boxes.ffn_high) // 2
    middle_depth = (boxes.depth_low + boxes.depth_high) // 2
    lower = boxes._replace(
        ffn_high=np.where(by_depth, boxes.ffn_high, middle_ffn),
        depth_high=np.where(by_depth, middle_depth, boxes.depth_high),
    )
    upper = boxes._replace(
        ffn_low=np.where(by_depth, boxes.ffn_low, middle_ffn + 1),
        depth_low=np.where(by_depth, middle_depth + 1, boxes.depth_low),
    )
    return Boxes(*(np.concatenate(pair) for pair in zip(lower, upper, strict=True)))


def spread(boxes: Boxes) -> tuple[Array, Array, Array]:
    """Stem, FFN index and depth index of every shape in the boxes."""
    counts = boxes.shapes
    owner = np.repeat(np.arange(counts.size), counts)
    place = np.arange(owner.size) - np.repeat(np.cumsum(counts) - counts, counts)
    width = (boxes.ffn_high - boxes.ffn_low + 1)[owner]
    return boxes.stem[owner], boxes.ffn_low[owner] + place % width, boxes.depth_low[owner] + place // width


class Search:
    """One part of a space, searched from a front found so far.

    Args:
        tables: the part's costs in each scenario.
        depths: depths to search, rising.
        goals: what to make small.
        limits: measures, and what they may be at most.
        effort: counts the work.
    """

    def __init__(
        self,
        tables: Sequence[Tables],
        depths: Array,
        goals: Sequence[Measure],
        limits: Sequence[tuple[Measure, float]],
        effort: Effort,
    ) -> None:
        self.tables, self.goals, self.limits, self.effort = tables, goals, limits, effort
        self.depths = depths.astype(np.float64)
        # Without bounds only the limits can drop a box: stop splitting early, look at every shape.
        bounded = all(goal.objective.rises is not None for goal in goals)
        self.leaf, self.batch = (LEAF, BATCH) if bounded else (SCAN_LEAF, SCAN_BATCH)

    def run(self, front: Front) -> Front:
        """The front of this part's shapes and the given ones."""
        stack, unmerged, held = [whole(self.tables[0], self.depths.size)], [], 0
        times = MERGE_TIMES if len(self.goals) > 2 else 0.0
        while stack:
            boxes = stack.pop()
            if boxes.stem.size > self.batch:
                stack.append(boxes.take(np.s_[self.batch :]))
                boxes = boxes.take(np.s_[: self.batch])
            boxes = boxes.take(self._may_hold(boxes, front))
            small = boxes.shapes <= self.leaf
            points = self._price(boxes.take(small), front)
            unmerged.append(points)
            held += len(points)
            if held >= max(MERGE, times * len(front)):
                front, unmerged, held = front.merged(unmerged), [], 0
            if not small.all():
                large = boxes.take(~small)
                stack.append(split(large, self._splits_depth(large)))
        return front.merged(unmerged)

    def _may_hold(self, boxes: Boxes, front: Front) -> Array:
        """Which boxes, by index, may hold a shape that the front lacks."""
        self.effort.boxes += boxes.stem.size
        offset = self.tables[0].offset[boxes.stem]
        low = Corner(self.tables, boxes.stem, offset + boxes.ffn_low, self.depths[boxes.depth_low], least=True)
        high = Corner(self.tables, boxes.stem, offset + boxes.ffn_high, self.depths[boxes.depth_high])
        inside = np.ones(low.size, dtype=bool)
        for limit, most in self.limits:
            inside &= limit.bound(low, high) <= most
        rows = np.flatnonzero(inside)
        low, high = low.take(rows), high.take(rows)
        return rows[~front.covers(np.stack([goal.bound(low, high) for goal in self.goals]))]

    def _splits_depth(self, boxes: Boxes) -> Array:
        """Split where the parameters differ more between the two ends."""
        table = self.tables[0]
        offset = table.offset[boxes.stem]
        block, ffn = table.attention.parameters[boxes.stem], table.ffn.parameters
        by_ffn = (block + ffn[offset + boxes.ffn_high]) * self.depths[boxes.depth_low]
        by_depth = (block + ffn[offset + boxes.ffn_low]) * self.depths[boxes.depth_high]
        return (by_depth > by_ffn) | (boxes.ffn_low == boxes.ffn_high)

    def _price(self, boxes: Boxes, front: Front) -> Front:
        """Shapes of small boxes that keep the limits and that the front does not beat."""
        stem, ffn, depth = spread(boxes)
        shapes = Corner(self.tables, stem, ffn + self.tables[0].offset[stem], self.depths[depth])
        self.effort.priced += shapes.size
        inside = np.ones(shapes.size, dtype=bool)
        for limit, most in self.limits:
            inside &= limit.of(shapes) <= most
        shapes = shapes.take(inside)
        values = np.stack([goal.of(shapes) for goal in self.goals])
        kept = ~front.beats(values)
        columns = shapes.take(kept).columns()
        rows = np.stack([columns[name].astype(np.int64) for name in SHAPE], axis=1)
        return Front(np.ascontiguousarray(values[:, kept].T), rows)
