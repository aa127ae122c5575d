"""What one layer of each row of a table costs, and how rows of an attention and of an FFN table make a block."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..model.memory import Memory
from ..model.totals import Workspace
from ..predict.forward import Cost


class TabledLayer(NamedTuple):
    """What one layer (or the head) of each row of a table costs; a number where all rows share it."""

    prefill_kernels: Array
    decode_kernels: Array
    prefill_s: Array
    first_s: Array
    last_s: Array
    prefill_unsplit: Array  # 1 where none of its products splits k, of runtimes whose gap depends on it (`unsplit_s`)
    decode_unsplit: Array
    parameters: Array
    weight_bytes: Array
    cache_bytes: Array
    transient_bytes: Array
    output_bytes: Array  # `layers.weights.Workspace` of this layer: the wider of a block's two counts
    unpacked_bytes: Array

    def joined(self, others: Sequence["TabledLayer"]) -> "TabledLayer":
        """Rows of this and the others, one after another; shared numbers stay numbers."""
        parts = (self, *others)
        return TabledLayer(
            *(np.concatenate(columns) if np.ndim(columns[0]) else columns[0] for columns in zip(*parts, strict=True))
        )

    def suffix_minima(self, ends: Array) -> "TabledLayer":
        """The least of each row and the later rows of its segment (`ends`: where each segment ends)."""
        return TabledLayer(*(_suffix_minima(column, ends) if np.ndim(column) else column for column in self))


def _suffix_minima(column: Array, ends: Array) -> Array:
    falls = np.diff(column) < 0.0
    falls[ends[:-1] - 1] = False  # from one segment to the next
    if not falls.any():
        return column
    least = np.empty_like(column)
    for start, end in zip((0, *ends[:-1]), ends, strict=True):
        least[start:end] = np.minimum.accumulate(column[start:end][::-1])[::-1]
    return least


def at(column: Array, rows: Array) -> Array:
    """Entries of a column, or the number that all rows share."""
    return column[rows] if np.ndim(column) else column


def workspace_at(layer: TabledLayer, rows: Array) -> Workspace:
    """What kernels of quantised weights hold in some rows."""
    return Workspace(at(layer.output_bytes, rows), at(layer.unpacked_bytes, rows))


class Blocks(NamedTuple):
    """A block of each pair of rows of two layers: kernels and device seconds of a prefill and of a decode step."""

    prefill_kernels: Array
    decode_kernels: Array
    prefill_s: Array
    first_s: Array
    last_s: Array


def blocks(a: TabledLayer, stem: Array, f: TabledLayer, ffn: Array, unsplit_gap_s: float) -> Blocks:
    """What two layers cost together: their sums, and unsplit_gap_s for each kernel where no product of both splits k.

    Both factors are one of the two layers' alone, so that of layers' least values this is no more than of any of them.
    """
    prefill_kernels = at(a.prefill_kernels, stem) + at(f.prefill_kernels, ffn)
    decode_kernels = at(a.decode_kernels, stem) + at(f.decode_kernels, ffn)
    prefill_s, step_s = a.prefill_s[stem] + f.prefill_s[ffn], f.first_s[ffn]  # an FFN costs every decode step the same
    if unsplit_gap_s:
        both = at(a.prefill_unsplit, stem) * at(f.prefill_unsplit, ffn)
        prefill_s = prefill_s + unsplit_gap_s * prefill_kernels * both
        both = at(a.decode_unsplit, stem) * at(f.decode_unsplit, ffn)
        step_s = step_s + unsplit_gap_s * decode_kernels * both
    return Blocks(prefill_kernels, decode_kernels, prefill_s, a.first_s[stem] + step_s, a.last_s[stem] + step_s)


def tabled(
    cost: Cost, unsplit: tuple[Array, Array], like: Array, parameters: Array, held: Memory, space: Workspace
) -> TabledLayer:
    """A layer's cost as columns as long as `like`; `unsplit` in a prefill and in a decode step."""

    def full(value: Array) -> Array:
        return np.array(np.broadcast_to(value, like.shape), dtype=np.float64)

    return TabledLayer(
        cost.prefill.kernels, cost.first.kernels, full(cost.prefill.seconds), full(cost.first.seconds),
        full(cost.last.seconds), *unsplit, full(parameters), full(held.weight_bytes), held.cache_bytes,
        full(held.transient_bytes), *space,
    )  # fmt: skip
