"""Cells of widths and tables of corrections against counting, SciPy's interpolation and planted tables."""

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from latmodel.laws.cells import HEAD_BITS, HEAD_DIM_BITS, WIDTH_BITS, cell_values, cells, cells_from, clipped_cells
from latmodel.laws.correction import (
    Correction,
    Table,
    decode_features,
    fade,
    gemm_features,
    log_factor,
    octaves_outside,
    prefill_features,
)
from latmodel.laws.corrector import Corrector, _kept
from latmodel.model.ops import AttentionShape, OpCost, OpKind, gemm

RNG = np.random.default_rng(7)


def nearest(x: float, bits: int) -> int:
    """The nearest of 2^bits evenly spaced cells of x's octave, halves up."""
    octave = math.floor(math.log2(x))
    return (octave << bits) + math.floor((x / 2.0**octave - 1.0) * 2**bits + 0.5)


WIDTHS = [1.0, 1.01, 1.5, 1.99, 2.0, 3.0, 100.0, 1000.0, 1008.0, 1015.0, 1016.0, 1023.0, 1024.0, 5120.0, 65535.0]


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_cells_are_the_nearest_of_an_octave(bits: int) -> None:
    expected = [nearest(x, bits) for x in WIDTHS]
    assert [cells(x, bits) for x in WIDTHS] == expected
    assert [cells_from(x, bits, 7) for x in WIDTHS] == [cell - 7 for cell in expected]
    for kind in (np.float32, np.float64):
        assert cells(np.array(WIDTHS, kind), bits).tolist() == expected
        assert cells_from(np.array(WIDTHS, kind), bits, 7).tolist() == [cell - 7 for cell in expected]
    assert cells(np.array([3, 1000]), bits).tolist() == [nearest(3, bits), nearest(1000, bits)]
    values = [2.0 ** (cell >> bits) * (1 + cell % 2**bits / 2**bits) for cell in expected]
    assert [cell_values(cell, bits) for cell in expected] == values == cell_values(np.array(expected), bits).tolist()


def test_widths_have_32_cells_an_octave_heads_16_and_their_dimensions_8() -> None:
    for bits, number in ((WIDTH_BITS, 32), (HEAD_BITS, 16), (HEAD_DIM_BITS, 8)):
        assert cells(2048.0, bits) - cells(1024.0, bits) == number


def test_cells_are_clipped_at_both_ends() -> None:
    first, last = cells(16.0, 4), cells(64.0, 4)
    sizes = {8.0: 0, 16.0: 0, 17.0: 1, 32.0: 16, 62.0: 31, 64.0: 32, 66.0: 32, 100.0: 32}
    assert [clipped_cells(x, 4, first, last) for x in sizes] == list(sizes.values())
    # An array alone within, below, above, and both.
    for some in ([17.0, 32.0], [8.0, 17.0], [17.0, 100.0], list(sizes)):
        assert clipped_cells(np.array(some), 4, first, last).tolist() == [sizes[x] for x in some]
    assert clipped_cells(np.array([]), 4, first, last).tolist() == []


# --- Tables ---------------------------------------------------------------------------------------

KNOTS = (np.array([2.0, 5.0, 9.0]), np.array([3.0, 4.0, 8.0, 12.0]), np.array([0.0, 10.0]))
VALUES = RNG.normal(0.0, 0.2, (3, 4, 2))
OTHER = Table(("k",), (np.array([1.0, 6.0]),), np.array([0.3, -0.1]))
LOW, HIGH = {"m": 2.0, "n": 4.0, "k": 2.0}, {"m": 9.0, "n": 11.0, "k": 8.0}
TABLE = Table(("m", "n", "k"), KNOTS, VALUES)
BOTH = Correction((TABLE, OTHER), LOW, HIGH)


def within(m: float, n: float, k: float) -> float:
    """1 inside the range of each, 0 from an octave outside of any."""
    outside = max(0.0, *(max(LOW[x] - v, v - HIGH[x]) for x, v in (("m", m), ("n", n), ("k", k))))
    return max(1.0 - outside, 0.0)


def summed(m: float, n: float, k: float, second: bool = True) -> float:
    """SciPy's multilinear interpolation, held at the ends; the second table depends on k alone."""
    inside = [np.clip(v, knots[0], knots[-1]) for v, knots in zip((m, n, k), KNOTS, strict=True)]
    table = float(RegularGridInterpolator(KNOTS, VALUES)(inside)[0])
    return (table + (float(np.interp(k, [1.0, 6.0], [0.3, -0.1])) if second else 0.0)) * within(m, n, k)


POINTS = [
    (2.0, 4.0, 1.0), (5.0, 8.0, 3.0), (9.0, 11.0, 8.0), (7.3, 5.1, 2.2), (3.9, 3.5, 5.0), (1.25, 6.0, 6.0), (1.0, 6.0, 6.0), (9.5, 6.0, 7.0),
    (6.0, 11.75, 4.0), (6.0, 12.0, 4.0), (6.0, 6.0, 0.25), (6.0, 6.0, 8.9), (0.0, 6.0, 6.0),
]  # fmt: skip


def test_tables_are_interpolated_added_and_faded() -> None:
    named = [dict(zip("mnk", point, strict=True)) for point in POINTS]
    assert [log_factor(BOTH, one) for one in named] == pytest.approx([summed(*point) for point in POINTS])
    assert [fade(BOTH, one) for one in named] == pytest.approx([within(*point) for point in POINTS])
    columns = dict(zip("mnk", np.array(POINTS).T, strict=True))
    assert log_factor(BOTH, columns) == pytest.approx([summed(*point) for point in POINTS])
    assert octaves_outside(BOTH, columns)[-3:] == pytest.approx([1.75, 0.9, 2.0])
    mixed = {"m": 6.0, "n": columns["n"], "k": 4.0}
    assert log_factor(BOTH, mixed) == pytest.approx([summed(6.0, n, 4.0) for n in columns["n"]])


def test_features_are_logarithms_to_base_two() -> None:
    assert gemm_features(2.0, 8.0, 1024.0) == {"m": 1.0, "n": 3.0, "k": 10.0}
    a = AttentionShape(4.0, 32.0, 8.0, 128.0, 64.0, 1024.0, 1024.0, None)
    prompt = {"tokens": 6.0, "span": 10.0, "streams": 7.0, "group": 2.0, "head_dim": 7.0, "whole": 0.0, "windowed": 0.0}
    assert prefill_features(a) == prompt
    assert prefill_features(a._replace(kv_heads=32.0)) == {**prompt, "group": 0.0, "whole": 1.0}
    assert prefill_features(a._replace(window=256.0)) == {**prompt, "span": 8.0, "windowed": 1.0}
    wider = prefill_features(a._replace(window=np.array([256.0, 2048.0, 1e9])))  # a billion stands for none
    assert (wider["span"].tolist(), wider["windowed"].tolist()) == ([8.0, 10.0, 10.0], [1.0, 1.0, 0.0])
    token = {"length": 10.0, "tiles": 5.0, "group": 2.0, "head_dim": 7.0, "whole": 0.0, "kv_heads": 3.0}
    assert decode_features(a, 1.0) == token
    assert decode_features(a._replace(window=256.0), 1.0) == {**token, "length": 8.0, "tiles": 7.0, "whole": 1.0}
    assert decode_features(a._replace(window=256.0), 0.0) == {**token, "length": 8.0}


# --- Applied to operators -------------------------------------------------------------------------

ONE = Correction((TABLE,), LOW, HIGH)
PRODUCTS = Corrector({"gemm": ONE}, 1.0)


def rounded(x: float, bits: int) -> float:
    return float(cell_values(nearest(x, bits), bits))


def product(m: Any, n: Any, k: Any) -> OpCost:
    return gemm("g", m, n, k, weight_bytes=2.0, activation_bytes=2.0)


def test_factors_of_products_are_the_tables_at_rounded_widths() -> None:
    """Widths inside the range, in the octaves beside it, and further out, where nothing is corrected."""
    sizes = [(n, k) for n in (3.0, 8.0, 11.0, 16.0, 100.0, 1999.0, 2048.0, 3000.0, 4096.0, 9000.0) for k in (1.0, 1.5, 2.0, 37.0, 256.0, 300.0, 511.0, 600.0)]  # fmt: skip
    n, k = np.array(sizes).T
    for m in (1.0, 3.0, 4.0, 100.0, 512.0, 700.0, 2000.0):
        expected = [
            math.exp(summed(math.log2(m), math.log2(rounded(a, 5)), math.log2(rounded(b, 5)), False)) for a, b in sizes
        ]
        close = pytest.approx(expected, rel=6e-4)  # half precision
        assert [PRODUCTS.factor(product(m, *size), 1.0) for size in sizes] == close
        assert PRODUCTS.factor(product(m, n, k), n) == close
        assert PRODUCTS.factor(product(np.full(len(sizes), m), n, k), n) == close
        solve = product(m, n, k)._replace(kind=OpKind.SOLVE)
        assert PRODUCTS.factor(solve, n) == close
    assert PRODUCTS.factor(product(1.0, 8.0, 8.0)._replace(kind=OpKind.GEMM8), 1.0) is None
    # Of a column of one size and a number.
    assert PRODUCTS.factor(product(64.0, n[:5], 64.0), n) == pytest.approx(
        [PRODUCTS.factor(product(64.0, a, 64.0), 1.0) for a in n[:5]]
    )


HEADS = Correction(
    (Table(("streams", "group", "head_dim"), (np.array([0.0, 16.0]), np.array([-4.0, 10.0]), np.array([4.0, 16.0])),
           np.array([0.0, 0.1, 0.2, 0.3, -0.1, 0.4, 0.0, -0.2]).reshape(2, 2, 2)),),
    {"streams": -4.0, "group": -8.0, "head_dim": 0.0}, {"streams": 20.0, "group": 12.0, "head_dim": 20.0},
)  # fmt: skip


def attention(heads: Any, kv_heads: Any, head_dim: Any, batch: Any = 2.0) -> OpCost:
    a = AttentionShape(batch, heads, kv_heads, head_dim, 100.0, 100.0, 100.0, None)
    return OpCost("attention", OpKind.PREFILL, attention=a)


def expected(heads: float, kv_heads: float, head_dim: float) -> float:
    """The factor of two sequences, heads rounded to a 16th of an octave's start, their dimension to an 8th."""
    q, kv, d = rounded(heads, 4), rounded(kv_heads, 4), rounded(head_dim, 3)
    table = HEADS.tables[0]
    point = [math.log2(2.0 * q), math.log2(q / kv), math.log2(d)]
    return math.exp(float(RegularGridInterpolator(table.knots, table.values)(point)[0]))


def test_heads_that_are_met_in_any_order_keep_their_factors() -> None:
    corrector = Corrector({"prefill": HEADS}, 1.0)
    many = np.arange(8.0, 33.0)  # along one axis alone
    found = corrector.factor(attention(many, 1.0, 64.0), many)
    assert found == pytest.approx([expected(q, 1.0, 64.0) for q in many], rel=1e-5)
    grid = [
        (q, kv, d) for q in (8.0, 12.0, 20.0, 64.0) for kv in (1.0, 2.0, 3.0, 4.0) for d in (64.0, 80.0, 96.0, 128.0)
    ]
    wanted = np.array([expected(*one) for one in grid])
    sizes = np.array(grid).T
    for _ in range(12):
        some = RNG.choice(len(grid), 7, replace=False)
        found = corrector.factor(attention(*sizes[:, some]), sizes[0, some])
        assert found == pytest.approx(wanted[some], rel=1e-5)


def test_factors_of_attention_are_the_tables_at_rounded_heads() -> None:
    corrector = Corrector({"prefill": HEADS}, 1.0)
    met = [
        (8.0, 2.0, 64.0),
        (33.0, 11.0, 80.0),
        (33.0, 3.0, 72.0),
        (1.0, 1.0, 256.0),
        (1023.0, 67.0, 100.0),
        (8.0, 8.0, 64.0),
    ]
    wanted = [expected(*one) for one in met]
    q, kv, d = np.array(met).T
    assert [corrector.factor(attention(*one), 1.0) for one in met] == pytest.approx(wanted)
    assert corrector.factor(attention(q, kv, d, np.full(len(met), 2.0)), q) == pytest.approx(wanted)
    for some in (slice(0, 2), slice(0, 3), slice(2, 6), slice(None)):  # new heads beside those that were met
        found = corrector.factor(attention(q[some], kv[some], d[some]), q)
        assert found == pytest.approx(wanted[some], rel=1e-5)
    # One of them may be a number. Beyond 1024 heads and 4096 values of a head all are as the last.
    assert corrector.factor(attention(q, 1.0, 64.0), q) == pytest.approx([expected(x, 1.0, 64.0) for x in q], rel=1e-5)
    many = corrector.factor(attention(np.array([1024.0, 1100.0, 1900.0]), 1.0, 64.0), q)
    assert many is not None and np.ptp(many) == 0.0
    wide = corrector.factor(attention(8.0, 1.0, np.array([4096.0, 4400.0, 7000.0])), q)
    assert wide is not None and np.ptp(wide) == 0.0
    assert corrector.factor(attention(np.array([960.0, 992.0]), 1.0, 64.0), q) == pytest.approx(
        [expected(960.0, 1.0, 64.0), expected(992.0, 1.0, 64.0)], rel=1e-5
    )


def test_a_window_of_each_layer_is_priced_as_one_of_all() -> None:
    correction = Correction(
        (Table(("span",), (np.array([0.0, 10.0]),), np.array([0.0, 1.0])),), {"span": 0.0}, {"span": 10.0}
    )
    corrector = Corrector({"prefill": correction}, 1.0)
    a = AttentionShape(1.0, 8.0, 8.0, 64.0, 256.0, 256.0, 256.0, np.array([16.0, 1e9]))
    found = corrector.factor(OpCost("attention", OpKind.PREFILL, attention=a), 1.0)
    assert found == pytest.approx([math.exp(0.4), math.exp(0.8)])


def test_what_is_known_is_forgotten_where_that_would_be_too_much() -> None:
    known: dict[Hashable, int] = {}
    made = [_kept(known, 2, key, lambda key=key: key * 10) for key in (1, 2, 1, 2)]  # type: ignore[misc]
    assert (made, known) == ([10, 20, 10, 20], {1: 10, 2: 20})
    assert _kept(known, 2, 1, lambda: -1) == 10  # not made again
    assert _kept(known, 2, 3, lambda: 30) == 30
    assert known == {3: 30}
