"""Widths rounded to evenly spaced cells of an octave, read off a float's own bits: what a table can be looked up by."""

import struct
from typing import Any

import numpy as np

from ..arrays import Array, is_array

WIDTH_BITS = 5  # 32 cells an octave: a cell is 3 % wide at most
HEAD_BITS = 4
HEAD_DIM_BITS = 3


def cells(x: Array, bits: int) -> Any:
    """2^bits cells an octave, evenly spaced within it: the nearest cell's number, read off the float's own bits."""
    return cells_from(x, bits, 0)


def cells_from(x: Array, bits: int, first: int) -> Any:
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
    moved >>= drop  # in place, where it is an array
    return moved


def clipped_cells(x: Array, bits: int, first: int, last: int) -> Any:
    """Cells counted from `first`, no fewer than 0 and no more than `last` is from it."""
    cell = cells_from(x, bits, first)
    if not is_array(cell):
        return min(max(cell, 0), last - first)
    # Looking for the ends is cheaper than clipping, which is seldom needed.
    if cell.size and (cell.min() < 0 or cell.max() > last - first):
        cell = np.minimum(np.maximum(cell, 0), last - first)
    return cell


def cell_values(cell: Any, bits: int) -> Any:
    """What `cells` rounds to: 2^octave · (1 + part / 2^bits)."""
    part = 1.0 + (cell & ((1 << bits) - 1)) / (1 << bits)
    return np.exp2(cell >> bits) * part if is_array(cell) else 2.0 ** (cell >> bits) * part
