"""A small learned correction of the laws of GEMM and attention: smooth tables on log-time, nothing outside their range.

A table holds values at knots on log2 of named features, with multilinear interpolation between; a family's tables
add up, and their sum fades linearly to exactly 0 over the octave outside the measured range of any feature. Features
are plain numbers or arrays; plain ones stay plain, since a prediction of one model asks for some twenty.
"""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, is_array, log2, maximum, minimum
from ..model.ops import AttentionShape
from .attention import NO_WINDOW, decode_tiles

Vector = NDArray[np.float64]

GEMM_FEATURES = ("m", "n", "k")
PREFILL_FEATURES = ("tokens", "span", "streams", "group", "head_dim", "whole", "windowed")
DECODE_FEATURES = ("length", "tiles", "group", "head_dim", "whole", "kv_heads")
FEATURES = {"gemm": GEMM_FEATURES, "prefill": PREFILL_FEATURES, "decode": DECODE_FEATURES}


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


def log_factor(correction: Correction, features: Mapping[str, Array]) -> Array:
    """log(corrected / law) for log2 features; 0 from an octave outside the measured range on."""
    total: Any = 0.0
    for table in correction.tables:
        values = table.values.ravel()
        for index, weight in corners(table, features):
            total = total + weight * (values[index] if is_array(index) else values.item(index))
    return total * fade(correction, features)


def corners(table: Table, features: Mapping[str, Array]) -> list[tuple[Any, Array]]:
    """(flat index, weight) of each corner of the cell that each row falls in."""
    places = [place(features[name], knots) for name, knots in zip(table.features, table.knots, strict=True)]
    found = []
    for upper in product((0, 1), repeat=len(places)):
        index: Any = 0
        weight: Any = 1.0
        for (cell, share), bit, knots in zip(places, upper, table.knots, strict=True):
            index = index * len(knots) + (cell + bit)
            weight = weight * (share if bit else 1.0 - share)
        found.append((index, weight))
    return found


def place(position: Array, knots: Vector) -> tuple[Any, Array]:
    """The cell between two knots that a position falls in, and how far along it lies, 0 to 1."""
    if not is_array(position):
        ends = knots.tolist()
        inside = min(max(position, ends[0]), ends[-1])
        cell = min(bisect_right(ends, inside), len(ends) - 1) - 1
        return cell, (inside - ends[cell]) / (ends[cell + 1] - ends[cell])
    inside = np.clip(position, knots[0], knots[-1])
    cell = np.minimum(np.searchsorted(knots, inside, side="right"), len(knots) - 1) - 1
    return cell, (inside - knots[cell]) / (knots[cell + 1] - knots[cell])


def fade(correction: Correction, features: Mapping[str, Array]) -> Array:
    """1 inside the measured range, falling to 0 over the next octave."""
    return minimum(maximum(1.0 - octaves_outside(correction, features), 0.0), 1.0)


def octaves_outside(correction: Correction, features: Mapping[str, Array]) -> Array:
    """Octaves by which each row lies outside the measured range; 0 inside."""
    worst: Array = 0.0
    for name, low in correction.lowest.items():
        worst = maximum(worst, maximum(low - features[name], features[name] - correction.highest[name]))
    return worst


def gemm_features(m: Array, n: Array, k: Array) -> dict[str, Array]:
    """log2 features of a matrix product."""
    return {"m": log2(m), "n": log2(n), "k": log2(k)}


def prefill_features(a: AttentionShape) -> dict[str, Array]:
    """log2 features of attention over a prompt."""
    span = a.context if a.window is None else minimum(a.context, a.window)
    return {
        "tokens": log2(a.tokens), "span": log2(span), "streams": log2(a.batch * a.heads),
        "group": log2(a.heads / a.kv_heads), "head_dim": log2(a.head_dim),
        "whole": (a.heads == a.kv_heads) * 1.0, "windowed": 0.0 if a.window is None else (a.window < NO_WINDOW) * 1.0,
    }  # fmt: skip


def decode_features(a: AttentionShape, window_whole: float) -> dict[str, Array]:
    """log2 features of one decode step's attention."""
    whole, tiles = decode_tiles(a, window_whole)
    length = a.context if a.window is None else minimum(a.context, a.window)
    return {
        "length": log2(length), "tiles": log2(tiles), "group": log2(a.heads / a.kv_heads),
        "head_dim": log2(a.head_dim), "whole": whole, "kv_heads": log2(a.kv_heads),
    }  # fmt: skip
