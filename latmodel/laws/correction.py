"""A small learned correction of the laws of GEMM and attention: smooth tables on log-time, nothing outside their range.

A table holds values at knots on log2 of named features, with multilinear interpolation between; a family's tables
add up, and their sum fades linearly to exactly 0 over the octave outside the measured range of any feature. Widths
are rounded to 1/32 of an octave's start (heads to 1/16) first, exactly for powers of two and what is near them, so
that a search prices each distinct shape once and looks the others up.
"""

import struct
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, is_array, minimum
from ..model.ops import AttentionShape, OpCost, OpKind
from .attention import NO_WINDOW, decode_tiles, shape_of

Vector = NDArray[np.float64]
Cells = NDArray[np.int64]

GEMM_FEATURES = ("m", "n", "k")
PREFILL_FEATURES = ("tokens", "span", "streams", "group", "head_dim", "whole", "windowed")
DECODE_FEATURES = ("length", "tiles", "group", "head_dim", "whole", "kv_heads")
FEATURES = {"gemm": GEMM_FEATURES, "prefill": PREFILL_FEATURES, "decode": DECODE_FEATURES}

WIDTH_BITS = 5  # 32 cells an octave: a cell is 3 % wide at most
HEAD_BITS = 4
HEAD_DIM_BITS = 3
HEAD_OCTAVES = 10  # up to 1024 heads
HEAD_DIM_OCTAVES = 12
MAX_MEMOS = 24  # tables kept for as many workloads; a megabyte or two each


class Table(NamedTuple):
    """Values at log2 knots of some features, in C order."""

    features: tuple[str, ...]
    knots: tuple[Vector, ...]
    values: Vector  # [len(knots[0]), len(knots[1]), …]


class Correction(NamedTuple):
    """Tables that add up, and the measured range of each feature in log2."""

    tables: tuple[Table, ...]
    lowest: Mapping[str, float]
    highest: Mapping[str, float]


def log_factor(correction: Correction, features: Mapping[str, Array]) -> Vector:
    """log(corrected / law) for rows of log2 features; 0 from an octave outside the measured range on."""
    total: Any = 0.0
    for table in correction.tables:
        values = table.values.ravel()
        for index, weight in corners(table, features):
            total = total + weight * values[index]
    return np.asarray(total * fade(correction, features))


def corners(table: Table, features: Mapping[str, Array]) -> list[tuple[Cells, Vector]]:
    """(flat index, weight) of each corner of the cell that each row falls in."""
    places = [_place(features[name], knots) for name, knots in zip(table.features, table.knots, strict=True)]
    found = []
    for upper in product((0, 1), repeat=len(places)):
        index: Any = 0
        weight: Any = 1.0
        for (cell, share), bit, knots in zip(places, upper, table.knots, strict=True):
            index = index * len(knots) + (cell + bit)
            weight = weight * (share if bit else 1.0 - share)
        found.append((index, weight))
    return found


def _place(position: Array, knots: Vector) -> tuple[Cells, Vector]:
    inside = np.clip(position, knots[0], knots[-1])
    cell = np.minimum(np.searchsorted(knots, inside, side="right"), len(knots) - 1) - 1
    return cell, (inside - knots[cell]) / (knots[cell + 1] - knots[cell])


def fade(correction: Correction, features: Mapping[str, Array]) -> Array:
    """1 inside the measured range, falling to 0 over the next octave."""
    return np.clip(1.0 - octaves_outside(correction, features), 0.0, 1.0)


def octaves_outside(correction: Correction, features: Mapping[str, Array]) -> Array:
    """Octaves by which each row lies outside the measured range; 0 inside."""
    worst: Any = 0.0
    for name, low in correction.lowest.items():
        worst = np.maximum(worst, np.maximum(low - features[name], features[name] - correction.highest[name]))
    return worst


def gemm_features(m: Array, n: Array, k: Array) -> dict[str, Array]:
    """log2 features of a matrix product."""
    return {"m": np.log2(m), "n": np.log2(n), "k": np.log2(k)}


def prefill_features(a: AttentionShape) -> dict[str, Array]:
    """log2 features of attention over a prompt."""
    span = a.context if a.window is None else np.minimum(a.context, a.window)
    windowed = 0.0 if a.window is None else (np.asarray(a.window) < NO_WINDOW) * 1.0
    return {
        "tokens": np.log2(a.tokens), "span": np.log2(span), "streams": np.log2(a.batch * a.heads),
        "group": np.log2(a.heads / a.kv_heads), "head_dim": np.log2(a.head_dim),
        "whole": np.equal(a.heads, a.kv_heads) * 1.0, "windowed": windowed,
    }  # fmt: skip


def decode_features(a: AttentionShape, window_whole: float) -> dict[str, Array]:
    """log2 features of one decode step's attention."""
    whole, tiles = decode_tiles(a, window_whole)
    length = a.context if a.window is None else minimum(a.context, a.window)
    return {
        "length": np.log2(length), "tiles": np.log2(tiles), "group": np.log2(a.heads / a.kv_heads),
        "head_dim": np.log2(a.head_dim), "whole": whole, "kv_heads": np.log2(a.kv_heads),
    }  # fmt: skip


def cells(x: Array, bits: int) -> Any:
    """2^bits cells an octave, evenly spaced within it: the nearest cell's number, read off the float's own bits."""
    return _cells_from(x, bits, 0)


def _cells_from(x: Array, bits: int, first: int) -> Any:
    """Cells counted from `first`; a new array if `x` is one."""
    if not is_array(x):
        raw, mantissa, bias = struct.unpack("<q", struct.pack("<d", x))[0], 52, 1023
    elif x.dtype == np.float32:
        raw, mantissa, bias = x.view(np.int32), 23, 127
    else:
        raw, mantissa, bias = np.asarray(x, dtype=np.float64).view(np.int64), 52, 1023
    drop = mantissa - bits
    # Half a cell up, to round; then the origin moved, all in one sum.
    moved = raw + ((1 << (drop - 1)) - (((bias << bits) + first) << drop))
    if not is_array(moved):
        return moved >> drop
    moved >>= drop
    return moved


def _clipped_cells(x: Array, bits: int, first: int, last: int) -> Any:
    """Cells counted from `first`, no fewer than 0 and no more than `last` is from it."""
    cell = _cells_from(x, bits, first)
    if not is_array(cell):
        return min(max(cell, 0), last - first)
    # Looking for the ends is cheaper than clipping, which is seldom needed.
    if cell.size and (cell.min() < 0 or cell.max() > last - first):
        cell = np.minimum(np.maximum(cell, 0), last - first)
    return cell


def cell_values(cell: Any, bits: int) -> Any:
    """What `cells` rounds to: 2^octave · (1 + part / 2^bits)."""
    return np.exp2(cell >> bits) * (1.0 + (cell & ((1 << bits) - 1)) / (1 << bits))


class Corrector:
    """Corrections by kind of operator on one device, with the tables already worked out.

    A triangular solve runs as products do, and is corrected as they are.
    """

    def __init__(self, families: Mapping[str, Correction], window_whole: float) -> None:
        self._families = dict(families)
        if OpKind.GEMM in families:
            self._families[OpKind.SOLVE] = families[OpKind.GEMM]
        # Kind → the factor on an operator's time; a kind that is not here is not corrected.
        by_kind = {
            OpKind.GEMM: self._gemm, OpKind.GEMM8: self._gemm, OpKind.SOLVE: self._gemm,
            OpKind.PREFILL: self._attention, OpKind.DECODE: self._attention,
        }  # fmt: skip
        self._factors = {kind: factor for kind, factor in by_kind.items() if kind in self._families}
        self._features: dict[OpKind, Callable[[AttentionShape], dict[str, Array]]] = {
            OpKind.PREFILL: prefill_features, OpKind.DECODE: partial(decode_features, window_whole=window_whole),
        }  # fmt: skip
        self._memo: dict[Hashable, Any] = {}

    def work_s(self, op: OpCost, work_s: Array, floor_s: float) -> Array:
        """Corrected seconds of `op` beyond its floor."""
        factor_of = self._factors.get(op.kind)
        if factor_of is None:
            return work_s
        factor = _alike(factor_of(op), work_s)
        return (work_s + floor_s) * factor - floor_s

    def _gemm(self, op: OpCost) -> Array:
        m, n, k = _numpy(op.m), _numpy(op.n), _numpy(op.k)
        if is_array(m):
            n, k = (cell_values(cells(x, WIDTH_BITS), WIDTH_BITS) for x in (n, k))
            return np.exp(log_factor(self._families[op.kind], gemm_features(m, n, k)))
        single = any(is_array(x) and x.dtype == np.float32 for x in (n, k))
        first_n, first_k, last_n, last_k, columns, flat = self._remember(
            (op.kind, m, single), lambda: self._gemm_grid(self._families[op.kind], float(m), single)
        )
        index = _clipped_cells(n, WIDTH_BITS, first_n, last_n) * columns
        index = index + _clipped_cells(k, WIDTH_BITS, first_k, last_k)
        return flat.take(index, mode="clip") if is_array(index) else float(flat[index])

    def _gemm_grid(self, correction: Correction, m: float, single: bool) -> tuple[int, int, int, int, int, Any]:
        """Factors at one m over cells of n and k: (first and last cells, columns, flat factors)."""
        (table,) = correction.tables
        low = [(int(np.floor(correction.lowest[name])) - 1) << WIDTH_BITS for name in ("n", "k")]
        high = [(int(np.ceil(correction.highest[name])) + 1) << WIDTH_BITS for name in ("n", "k")]
        logs = [np.log2(cell_values(np.arange(a, b + 1), WIDTH_BITS)) for a, b in zip(low, high, strict=True)]
        at_m = _weights(np.array([np.log2(m)]), table.knots[0])[0]
        plane = np.tensordot(at_m, table.values, axes=1)
        total = _weights(logs[0], table.knots[1]) @ plane @ _weights(logs[1], table.knots[2]).T
        total *= fade(correction, {"m": np.log2(m), "n": logs[0][:, None], "k": logs[1][None, :]})
        flat = np.exp(total).ravel().astype(np.float32 if single else np.float64)
        return low[0], low[1], high[0], high[1], len(logs[1]), flat

    def _attention(self, op: OpCost) -> Array:
        a = shape_of(op)
        a = AttentionShape._make(None if value is None else _numpy(value) for value in a)
        workload = (a.batch, a.tokens, a.context, a.window)
        if any(value is not None and is_array(value) for value in workload):
            rounded = _heads(*_head_cells(a))
            return self._attention_factor(op.kind, a, *rounded)
        last = (1 << HEAD_BITS) * HEAD_OCTAVES - 1, (1 << HEAD_DIM_BITS) * HEAD_DIM_OCTAVES - 1
        code = _clipped_cells(a.heads, HEAD_BITS, 0, last[0]) * (last[0] + 1)
        code = (code + _clipped_cells(a.kv_heads, HEAD_BITS, 0, last[0])) * (last[1] + 1)
        code = code + _clipped_cells(a.head_dim, HEAD_DIM_BITS, 0, last[1])
        known = self._remember(
            (op.kind, *workload), lambda: np.full((last[0] + 1) ** 2 * (last[1] + 1), np.nan, np.float32)
        )
        found = known.take(code, mode="clip") if is_array(code) else known[code]
        unknown = np.isnan(found)
        if np.any(unknown):
            some = np.unique(np.asarray(code)[unknown])
            pair, d = np.divmod(some, last[1] + 1)
            known[some] = self._attention_factor(op.kind, a, *_heads(*np.divmod(pair, last[0] + 1), d))
            found = known[code]
        return found if is_array(code) else float(found)

    def _attention_factor(
        self, kind: OpKind, a: AttentionShape, heads: Array, kv_heads: Array, head_dim: Array
    ) -> Vector:
        a = a._replace(heads=heads, kv_heads=kv_heads, head_dim=head_dim)
        return np.exp(log_factor(self._families[kind], self._features[kind](a)))

    def _remember(self, key: Hashable, make: Any) -> Any:
        if key not in self._memo:
            if len(self._memo) >= MAX_MEMOS:
                self._memo.clear()
            self._memo[key] = make()
        return self._memo[key]


def _head_cells(a: AttentionShape) -> tuple[Any, Any, Any]:
    return cells(a.heads, HEAD_BITS), cells(a.kv_heads, HEAD_BITS), cells(a.head_dim, HEAD_DIM_BITS)


def _heads(heads: Any, kv_heads: Any, head_dim: Any) -> tuple[Any, Any, Any]:
    return (
        cell_values(heads, HEAD_BITS),
        cell_values(kv_heads, HEAD_BITS),
        cell_values(head_dim, HEAD_DIM_BITS),
    )


def _weights(position: Vector, knots: Vector) -> Vector:
    """Linear-interpolation weights of positions [u] on knots: [u, len(knots)]."""
    cell, share = _place(position, knots)
    weights = np.zeros((len(position), len(knots)))
    rows = np.arange(len(position))
    weights[rows, cell] = 1.0 - share
    weights[rows, cell + 1] += share
    return weights


def _numpy(value: Array) -> Array:
    """A Torch tensor as a NumPy array; anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _alike(factor: Array, like: Array) -> Array:
    """A NumPy array as a tensor where `like` is one."""
    if is_array(factor) and hasattr(like, "detach"):
        import torch

        return torch.as_tensor(factor, dtype=like.dtype, device=like.device)
    return factor
