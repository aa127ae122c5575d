"""Learned corrections applied to operators: each distinct shape is priced once, and the others are looked up.

Widths are rounded to 1/32 of an octave's start (heads to 1/16) first, exactly for powers of two and what is near them.
One model's shapes are worked out one by one. Of many models those of products fill a grid of widths; those of
attention a grid of the heads that were met. Factors of products are of half precision, 0.03 % at most from what the
tables say, so that two planes of them (of a prefill and a decode step) keep to a megabyte.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, exp, is_array
from ..model.ops import AttentionShape, OpCost, OpKind
from .attention import shape_of
from .cells import HEAD_BITS, HEAD_DIM_BITS, WIDTH_BITS, cell_values, cells, clipped_cells
from .correction import (
    Correction,
    Vector,
    decode_features,
    fade,
    gemm_features,
    log_factor,
    place,
    prefill_features,
)

MAX_GRIDS = 24  # kept, one a kind of operator and workload; a third of a megabyte or so
MAX_SHAPES = 4096  # single ones, kept
HEAD_CELLS = 10 << HEAD_BITS  # that of 1024 heads, the last
HEAD_DIM_CELLS = 12 << HEAD_DIM_BITS  # that of 4096 values of a head


class _Plane(NamedTuple):
    """Factors of products at one m over cells of n and k, in C order."""

    first: tuple[int, int]
    last: tuple[int, int]
    factors: NDArray[np.float16]

    def at(self, n: Array, k: Array) -> Array:
        index = clipped_cells(n, WIDTH_BITS, self.first[0], self.last[0]) * (self.last[1] - self.first[1] + 1)
        index = index + clipped_cells(k, WIDTH_BITS, self.first[1], self.last[1])
        return self.factors.take(index, mode="clip")


class _Heads:
    """Factors of attention by (heads, key and value heads, head dimension): those that were met, NaN where not yet."""

    def __init__(self) -> None:
        # Of each dimension: cell → its row in `factors` (0: not met yet), and row → cell.
        self._rows = [np.zeros(last + 1, np.int32) for last in (HEAD_CELLS, HEAD_CELLS, HEAD_DIM_CELLS)]
        self._cells = [np.zeros(1, np.int64) for _ in self._rows]
        self._factors = np.full((1, 1, 1), np.nan, np.float32)

    def at(self, heads: Array, kv_heads: Array, head_dim: Array, price: Callable[..., Vector]) -> Array:
        """Factors of rows; `price` is asked for those of (heads, kv_heads, head_dim) that are new."""
        met = [
            clipped_cells(heads, HEAD_BITS, 0, HEAD_CELLS),
            clipped_cells(kv_heads, HEAD_BITS, 0, HEAD_CELLS),
            clipped_cells(head_dim, HEAD_DIM_BITS, 0, HEAD_DIM_CELLS),
        ]
        places = [self._place(axis, cell) for axis, cell in enumerate(met)]
        _, columns, deep = self._factors.shape
        index = (places[0] * columns + places[1]) * deep + places[2]
        flat = self._factors.ravel()
        found = flat.take(index, mode="clip")
        unknown = np.isnan(found)
        if unknown.any():
            some = np.unique(np.asarray(index)[unknown])
            rows = np.unravel_index(some, self._factors.shape)
            bits = (HEAD_BITS, HEAD_BITS, HEAD_DIM_BITS)
            sizes = (cell_values(self._cells[i][row], bits[i]) for i, row in enumerate(rows))
            flat[some] = price(*sizes)
            found = flat.take(index, mode="clip")
        return found

    def _place(self, axis: int, cell: Any) -> Any:
        """Rows of some cells along an axis; those that are new are added."""
        places = self._rows[axis][cell]
        if not places.all():
            new = np.unique(np.asarray(cell)[np.asarray(places) == 0])
            self._rows[axis][new] = len(self._cells[axis]) + np.arange(len(new))
            self._cells[axis] = np.concatenate([self._cells[axis], new])
            margin = [(0, len(new)) if i == axis else (0, 0) for i in range(3)]
            self._factors = np.pad(self._factors, margin, constant_values=np.nan)
            places = self._rows[axis][cell]
        return places


class Corrector:
    """Corrections by kind of operator on one device, with what was already worked out.

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
        self._shapes: dict[Hashable, float] = {}
        self._grids: dict[Hashable, Any] = {}

    def factor(self, op: OpCost, like: Array) -> Array | None:
        """What the seconds of `op`, floor included, are multiplied by, in the precision of `like`; None for nothing."""
        factor_of = self._factors.get(op.kind)
        return None if factor_of is None else _alike(factor_of(op), like)

    def _gemm(self, op: OpCost) -> Array:
        m, n, k = _numpy(op.m), _numpy(op.n), _numpy(op.k)
        correction = self._families[op.kind]
        if is_array(m):
            n, k = (cell_values(cells(x, WIDTH_BITS), WIDTH_BITS) for x in (n, k))
            return np.exp(log_factor(correction, gemm_features(m, n, k))).astype(np.float16)
        if not (is_array(n) or is_array(k)):
            met = cells(n, WIDTH_BITS), cells(k, WIDTH_BITS)
            return _kept(self._shapes, MAX_SHAPES, (op.kind, m, *met), lambda: _product(correction, m, *met))
        plane: _Plane = _kept(self._grids, MAX_GRIDS, (op.kind, m), lambda: _plane(correction, float(m)))
        return plane.at(n, k)

    def _attention(self, op: OpCost) -> Array:
        named = shape_of(op)._asdict().items()
        numbers: dict[str, Any] = {name: None if value is None else _numpy(value) for name, value in named}
        a = AttentionShape(**numbers)
        correction, features_of = self._families[op.kind], self._features[op.kind]
        workload = (a.batch, a.tokens, a.context, a.window)

        def price(heads: Array, kv_heads: Array, head_dim: Array) -> Array:
            shape = a._replace(heads=heads, kv_heads=kv_heads, head_dim=head_dim)
            return exp(log_factor(correction, features_of(shape)))

        sizes = (a.heads, HEAD_BITS), (a.kv_heads, HEAD_BITS), (a.head_dim, HEAD_DIM_BITS)
        given = any(value is not None and is_array(value) for value in workload)
        if given or not any(is_array(size) for size, _ in sizes):
            met = [cells(size, bits) for size, bits in sizes]
            rounded = [cell_values(cell, bits) for cell, (_, bits) in zip(met, sizes, strict=True)]
            if given:
                return price(*rounded)
            return _kept(self._shapes, MAX_SHAPES, (op.kind, *workload, *met), lambda: price(*rounded))
        heads: _Heads = _kept(self._grids, MAX_GRIDS, (op.kind, *workload), _Heads)
        return heads.at(a.heads, a.kv_heads, a.head_dim, price)


def _product(correction: Correction, m: float, *met: int) -> float:
    """The factor of one product, by the cells of n and k."""
    n, k = (cell_values(cell, WIDTH_BITS) for cell in met)
    return float(np.float16(exp(log_factor(correction, gemm_features(m, n, k)))))


def _plane(correction: Correction, m: float) -> _Plane:
    """Of the range that was measured, with the octave around it in which the correction fades."""
    (table,) = correction.tables
    low = [(int(np.floor(correction.lowest[name])) - 1) << WIDTH_BITS for name in ("n", "k")]
    high = [(int(np.ceil(correction.highest[name])) + 1) << WIDTH_BITS for name in ("n", "k")]
    logs = [np.log2(cell_values(np.arange(a, b + 1), WIDTH_BITS)) for a, b in zip(low, high, strict=True)]
    at_m = _weights(np.array([np.log2(m)]), table.knots[0])[0]
    plane = np.tensordot(at_m, table.values, axes=1)
    total = _weights(logs[0], table.knots[1]) @ plane @ _weights(logs[1], table.knots[2]).T
    total *= fade(correction, {"m": np.log2(m), "n": logs[0][:, None], "k": logs[1][None, :]})
    return _Plane((low[0], low[1]), (high[0], high[1]), np.exp(total).ravel().astype(np.float16))


def _weights(position: Vector, knots: Vector) -> Vector:
    """Linear-interpolation weights of positions [u] on knots: [u, len(knots)]."""
    cell, share = place(position, knots)
    weights = np.zeros((len(position), len(knots)))
    rows = np.arange(len(position))
    weights[rows, cell] = 1.0 - share
    weights[rows, cell + 1] += share
    return weights


def _kept(known: dict[Hashable, Any], most: int, key: Hashable, make: Callable[[], Any]) -> Any:
    """What is known under a key, made if it is not; all is forgotten where that would be too much."""
    if key not in known:
        if len(known) >= most:
            known.clear()
        known[key] = make()
    return known[key]


def _numpy(value: Array) -> Array:
    """A Torch tensor as a NumPy array; anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _alike(factor: Array, like: Array) -> Array:
    """A NumPy array as a tensor where `like` is one."""
    if is_array(factor) and hasattr(like, "detach"):
        import torch

        return torch.as_tensor(factor, dtype=like.dtype, device=like.device)
    return factor
