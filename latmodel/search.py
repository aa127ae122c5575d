"""Exact search of a space by branch and bound over boxes of shapes.

A box is a stem with a range of FFN sizes and a range of depths: no shape in it is quicker than its low corner or has
more quality than its high corner. A box that cannot hold an answer is dropped, the others are split; small ones are
priced shape by shape. What is dropped is strictly worse than something found, so the answer depends on no order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .arrays import Array
from .errors import UsageError
from .tables import SLACK, Tables

# Boxes looked at together: temporaries of this length stay in the second-level cache.
BATCH = 16_384
# A box of at most so many shapes is priced shape by shape instead of being split further.
LEAF = 8
# The same where the quality has no bound.
SCAN_LEAF, SCAN_BATCH = 1024, 64
# Shapes found before they are merged into the front: sorting is dearer than looking up.
MERGE = 32_768

SHAPE = (
    "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "tie_word_embeddings",
)  # fmt: skip


class Front(NamedTuple):
    """Shapes of which none is both as good and as quick as another: seconds and quality rise together.

    `shapes` has a row of eight whole numbers (`SHAPE`) for each. Of shapes with the same seconds and quality the
    lexicographically smallest stands for all.
    """

    seconds: Array
    quality: Array
    shapes: Array

    @classmethod
    def empty(cls) -> "Front":
        """No shapes."""
        return cls(np.zeros(0), np.zeros(0), np.zeros((0, len(SHAPE)), dtype=np.int64))

    def best(self, seconds: Array) -> Array:
        """The most quality within so many seconds; minus infinity where nothing is that quick."""
        return np.concatenate(([-np.inf], self.quality))[np.searchsorted(self.seconds, seconds, side="right")]

    def beats(self, seconds: Array, quality: Array) -> Array:
        """Where a shape of the front has more quality in as little time, or as much in less."""
        best = self.best(seconds)
        before = np.concatenate(([-np.inf], self.quality))[np.searchsorted(self.seconds, seconds, side="left")]
        return (best > quality) | (before >= quality)

    def merged(self, *others: "Front") -> "Front":
        """The front of all shapes together, whatever their order."""
        seconds, quality, shapes = (np.concatenate(columns) for columns in zip(self, *others, strict=True))
        order = np.argsort(seconds, kind="stable")  # quick: what is merged is in order for the most part
        sorted_s, sorted_q = seconds[order], quality[order]
        ahead = np.maximum.accumulate(np.concatenate(([-np.inf], sorted_q[:-1])))
        rising = sorted_q > ahead
        order, sorted_s = order[rising], sorted_s[rising]
        last = np.append(sorted_s[1:] != sorted_s[:-1], True)[: order.size]  # of as quick ones the best
        order = order[last]
        return _smallest(Front(seconds[order], quality[order], shapes[order]), seconds, quality, shapes)


def _smallest(front: Front, seconds: Array, quality: Array, shapes: Array) -> Front:
    """The front with the lexicographically smallest of the shapes that tie in both seconds and quality."""
    if not seconds.size:
        return front
    place = np.minimum(np.searchsorted(front.seconds, seconds), front.seconds.size - 1)
    tied = np.flatnonzero((front.seconds[place] == seconds) & (front.quality[place] == quality))
    if tied.size > front.seconds.size:
        tied = tied[np.lexsort((*shapes[tied].T[::-1], place[tied]))]
        tied = tied[np.unique(place[tied], return_index=True)[1]]
        return front._replace(shapes=shapes[tied])
    return front


@dataclass(frozen=True)
class Limits:
    """What an answer must keep: seconds of the response, bytes of memory."""

    seconds: float = np.inf
    memory_bytes: float = np.inf


@dataclass(frozen=True)
class Quality:
    """What is to be large: parameters, or a function of the shapes.

    A function takes a mapping of Hugging Face names to arrays and returns as many finite numbers. If it never falls
    as depth or FFN size grows (`monotone`), it is searched by bounds; if not, every shape is scored.
    """

    name: str
    function: Callable[[Mapping[str, Array]], Array] | None = None
    monotone: bool = True

    @classmethod
    def of(cls, given: "str | Quality | Callable[[Mapping[str, Array]], Array]") -> "Quality":
        """From "params", "non-embedding-params" or a function (its attribute `monotone` says whether it is).

        Raises:
            UsageError: it is none of these.
        """
        if isinstance(given, Quality):
            return given
        if isinstance(given, str) and given in ("params", "non-embedding-params"):
            return cls(given)
        if callable(given):
            name = getattr(given, "__name__", type(given).__name__)
            return cls(name, given, bool(getattr(given, "monotone", False)))
        raise UsageError(f"quality {str(given)[:40]!r} is neither params, non-embedding-params nor a function")

    def of_shapes(self, table: Tables, stem: Array, ffn: Array, depth: Array) -> Array:
        """Quality of shapes of a table.

        Raises:
            UsageError: the function failed, or returned NaN, infinity or another number of values; the row is named.
        """
        if self.function is None:
            return table.parameters(stem, ffn, depth)[0 if self.name == "params" else 1]
        return self.of_columns(table.columns(stem, ffn, depth))

    def of_columns(self, columns: Mapping[str, Array]) -> Array:
        """Quality by a function of shapes given by name."""
        if self.function is None:
            raise TypeError("params are counted by a table")
        rows = len(columns["hidden_size"])
        try:
            values = np.asarray(self.function(columns), dtype=np.float64)
        except Exception as error:
            raise UsageError(
                f"quality function {self.name} failed: {type(error).__name__}: {str(error)[:120]}"
            ) from error
        if values.shape != (rows,):
            raise UsageError(f"quality function {self.name} returned shape {values.shape} for {rows} shapes")
        wrong = ~np.isfinite(values)
        if wrong.any():
            row = {name: int(columns[name][int(np.argmax(wrong))]) for name in SHAPE[:5]}
            raise UsageError(f"quality function {self.name} returned {values[wrong][0]} for {row}")
        return values


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
    """One part of a space, searched from a front found so far."""

    def __init__(self, table: Tables, depths: Array, quality: Quality, limits: Limits, effort: Effort) -> None:
        self.table, self.quality, self.limits, self.effort = table, quality, limits, effort
        self.depths = depths.astype(np.float64)
        # Without a bound on the quality only the limits can drop a box: stop splitting early, look at every shape.
        self.leaf, self.batch = (LEAF, BATCH) if quality.monotone else (SCAN_LEAF, SCAN_BATCH)

    def run(self, front: Front) -> Front:
        """The front of this part's shapes and the given ones."""
        stack, found = [whole(self.table, self.depths.size)], []
        held = 0
        while stack:
            boxes = stack.pop()
            if boxes.stem.size > self.batch:
                stack.append(boxes.take(np.s_[self.batch :]))
                boxes = boxes.take(np.s_[: self.batch])
            boxes = boxes.take(self._may_hold(boxes, front))
            small = boxes.shapes <= self.leaf
            points = self._price(boxes.take(small), front)
            found.append(points)
            held += points.seconds.size
            if held >= MERGE or not stack:
                front, found, held = front.merged(*found), [], 0
            if not small.all():
                large = boxes.take(~small)
                stack.append(split(large, self._splits_depth(large)))
        return front.merged(*found)

    def _may_hold(self, boxes: Boxes, front: Front) -> Array:
        """Which boxes may hold a shape that the front lacks."""
        self.effort.boxes += boxes.stem.size
        offset = self.table.offset[boxes.stem]
        depth = self.depths[boxes.depth_low]
        seconds = self.table.seconds(boxes.stem, offset + boxes.ffn_low, depth, least=True)
        may = seconds <= self.limits.seconds
        if self.limits.memory_bytes < np.inf:
            may &= self.table.memory_bytes(boxes.stem, offset + boxes.ffn_low, depth) <= self.limits.memory_bytes
        if self.quality.monotone:
            highest = self.quality.of_shapes(
                self.table, boxes.stem, offset + boxes.ffn_high, self.depths[boxes.depth_high]
            )
            if self.quality.function is not None:
                highest = highest + SLACK * np.abs(highest)
            may &= front.best(seconds) < highest
        return may

    def _splits_depth(self, boxes: Boxes) -> Array:
        """Split where the parameters differ more between the two ends."""
        offset = self.table.offset[boxes.stem]
        block = self.table.attention.parameters[boxes.stem]
        ffn = self.table.ffn.parameters
        by_ffn = (block + ffn[offset + boxes.ffn_high]) * self.depths[boxes.depth_low]
        by_depth = (block + ffn[offset + boxes.ffn_low]) * self.depths[boxes.depth_high]
        return (by_depth > by_ffn) | (boxes.ffn_low == boxes.ffn_high)

    def _price(self, boxes: Boxes, front: Front) -> Front:
        """Shapes of small boxes that keep the limits and that the front does not beat."""
        stem, ffn, depth_index = spread(boxes)
        self.effort.priced += stem.size
        ffn = ffn + self.table.offset[stem]
        depth = self.depths[depth_index]
        seconds = self.table.seconds(stem, ffn, depth)
        inside = seconds <= self.limits.seconds
        if self.limits.memory_bytes < np.inf:
            inside &= self.table.memory_bytes(stem, ffn, depth) <= self.limits.memory_bytes
        stem, ffn, depth, seconds = stem[inside], ffn[inside], depth[inside], seconds[inside]
        quality = self.quality.of_shapes(self.table, stem, ffn, depth)
        kept = ~front.beats(seconds, quality)
        columns = self.table.columns(stem[kept], ffn[kept], depth[kept])
        shapes = np.stack([columns[name].astype(np.int64) for name in SHAPE], axis=1)
        return Front(seconds[kept], quality[kept], shapes)
