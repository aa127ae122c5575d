"""Matrix products against the closed form of `GemmLaw`'s docstrings, with every effect on at once.

P = 1e12 FLOP/s, S = 10 multiprocessors, B = 1e11 byte/s; the form is for one product of plain numbers at a time.
"""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from toy import GEMM, SHEET

from latmodel.laws.coefficients import GemmCoefficients, Sheet
from latmodel.laws.gemm import GemmLaw, Tile, cached_bytes, hot_factor, resident, roughness
from latmodel.laws.terms import Conditions
from latmodel.model.ops import OpCost, gemm

P, S, B = 1e12, 10.0, 1e11
C = GemmCoefficients(
    floor_s=2e-6, compute_efficiency=0.8, small_tile_efficiency=0.5, prologue_k=100.0, wave_rounding=0.25, split_k_s=2e-6,
    tile_bandwidth=0.1, boost=0.2, boost_s=1e-4, bandwidth_efficiency=0.5, overlap_gap=0.6, overlap_gap_s=4e-5,
    misfit_slowdown=1.5, odd_slowdown=2.5, cache_rate=2.0, cache_share=0.75, cache_width=0.25,
)  # fmt: skip
# One row; the 16 of an instruction and one more; a small tile, a large one, and one more of each; whole waves.
ROWS = (1.0, 5.0, 16.0, 17.0, 64.0, 65.0, 128.0, 129.0, 700.0, 5000.0)
WIDTHS, DEPTHS = (8.0, 64.0, 72.0, 256.0, 264.0, 2560.0, 20_000.0), (64.0, 1000.0, 8192.0)


def tiled(m: float, n: float, k: float, c: GemmCoefficients, tall: float, wide: float, sms: float) -> float:
    """In large tiles: whole waves, of which a share is lost to rounding, or split along k at a cost."""
    wave_s = 2 * S / (P * c.compute_efficiency) * (k + c.prologue_k) * tall * wide / sms
    waves = math.ceil(m / tall) * math.ceil(n / wide) * sms / S
    unsplit = wave_s * max(1.0, waves + c.wave_rounding * (math.ceil(round(waves, 9)) - waves))
    return min(unsplit, waves * wave_s + c.split_k_s + math.sqrt(2 * wave_s * 8 * m * n / B))


def closed_form(
    m: float, n: float, k: float, c: GemmCoefficients = C, step: float = 16.0, tile: tuple[float, ...] = (128, 256, 1)
) -> float:
    """Seconds of arithmetic: small tiles or large ones, less what the boost clock gives."""
    used = min(64.0, math.ceil(m / step) * step)
    tile_s = (k + c.prologue_k) * 2 * S / (P * c.compute_efficiency) * used * 64 / c.small_tile_efficiency
    load_s = (k + c.prologue_k) * 64 * 2 * S / (B * c.tile_bandwidth)
    balanced_s = math.ceil(n / 64) * math.ceil(m / 64) * tile_s / S
    best = max(balanced_s, min(max(tile_s, load_s), balanced_s + c.split_k_s))
    if m > 16.0:
        best = min(best, tiled(m, n, k, c, *tile))
    return best - c.boost * c.boost_s * best / (best + c.boost_s)


# Small tiles that are cheap, so that they win; dear, so that large ones do; splitting that is never, or always, worth it.
VARIANTS = {
    "as fitted": C, "cheap small tiles": C._replace(small_tile_efficiency=1.0, tile_bandwidth=10.0),
    "dear small tiles": C._replace(small_tile_efficiency=0.02), "no splitting": C._replace(split_k_s=1.0),
    "free splitting": C._replace(split_k_s=1e-9, small_tile_efficiency=0.1), "no boost": C._replace(boost=0.0),
}  # fmt: skip


@pytest.mark.parametrize("c", VARIANTS.values(), ids=VARIANTS)
def test_arithmetic_is_the_closed_form(c: GemmCoefficients) -> None:
    shapes = list(product(ROWS, WIDTHS, DEPTHS))
    expected = [closed_form(*shape, c) for shape in shapes]
    law = GemmLaw(c, SHEET)
    for _ in range(2):  # what follows from the rows is kept: asked again, it is the same
        assert [law.compute_seconds(*shape) for shape in shapes] == pytest.approx(expected)
    # Up to 16 rows small tiles alone are priced; in a column of rows large ones too, which lose at what is fitted.
    some = [i for i, (rows, *_) in enumerate(shapes) if rows > 16.0 or c is C]
    m, n, k = np.array([shapes[i] for i in some]).T
    assert law.compute_seconds(m, n, k) == pytest.approx([expected[i] for i in some])
    assert law.compute_seconds(300.0, n, k) == pytest.approx([closed_form(300.0, *shapes[i][1:], c) for i in some])


@pytest.mark.parametrize(
    ("matrix_rows", "vector_rows", "row_step", "one", "more"),
    [(16.0, 16.0, 16.0, 16, 16), (16.0, 4.0, 16.0, 4, 16), (8.0, 8.0, 16.0, 8, 8), (8.0, 2.0, 16.0, 2, 8), (16.0, 16.0, 4.0, 4, 4), (8.0, 6.0, 4.0, 4, 4)],
)  # fmt: skip
def test_rows_are_padded_to_what_an_instruction_works_on(
    matrix_rows: float, vector_rows: float, row_step: float, one: float, more: float
) -> None:
    """No more than the matrix units work on, nor than the kernel does; a single row to what float32 is worth."""
    c = C._replace(tile_bandwidth=1e9, split_k_s=1.0)  # nothing but the arithmetic of one tile
    law = GemmLaw(c, SHEET._replace(matrix_rows=matrix_rows, vector_rows=vector_rows))
    rows = (1.0, 2.0, 5.0, 9.0, 30.0, 63.0)
    expected = [closed_form(m, 64.0, 1000.0, c, one if m == 1.0 else more) for m in rows]
    assert [law.compute_seconds(m, 64.0, 1000.0, row_step) for m in rows] == pytest.approx(expected)
    assert law.compute_seconds(np.array(rows), 64.0, 1000.0, row_step) == pytest.approx(expected)


def test_kernels_that_pad_otherwise_do_not_share_what_is_known_of_rows() -> None:
    c = C._replace(tile_bandwidth=1e9, split_k_s=1.0)
    law = GemmLaw(c, SHEET)
    for step in (16.0, 4.0, 8.0, 16.0):
        assert law.compute_seconds(5.0, 64.0, 1000.0, step) == pytest.approx(closed_form(5.0, 64.0, 1000.0, c, step))


def test_a_tile_may_be_of_another_size_and_of_several_multiprocessors() -> None:
    c = C._replace(small_tile_efficiency=0.02)
    law = GemmLaw(c, SHEET, Tile(256.0, 128.0, 2.0))
    for m, n in product((17.0, 256.0, 257.0, 3000.0), (128.0, 136.0, 2560.0)):
        assert law.compute_seconds(m, n, 1000.0) == pytest.approx(closed_form(m, n, 1000.0, c, tile=(256, 128, 2)))


def seconds(op: OpCost, hot: bool = False, aligned: bool = False, sheet: Sheet = SHEET) -> tuple[float, float, float]:
    work, floor, compute = GemmLaw(C, sheet).terms(op, Conditions(hot, aligned))
    return work, floor, compute


def weighed(m: float, n: float, k: float, repeat: float = 1.0) -> OpCost:
    return gemm("g", m, n, k, weight_bytes=2.0, activation_bytes=2.0, repeat=repeat)


def both(compute: float, memory: float) -> float:
    """The longer, and 0.6 of the shorter, saturating at 40 us."""
    shorter = min(compute, memory)
    return max(compute, memory) + 0.6 * shorter / (1 + shorter / 4e-5)


@pytest.mark.parametrize("m", [1.0, 16.0, 700.0])
@pytest.mark.parametrize("repeat", [1.0, 1.6, 3.0])  # touched experts are expected numbers, seldom whole
def test_weights_inputs_and_outputs_are_moved_once_beside_the_arithmetic(m: float, repeat: float) -> None:
    n, k = 2560.0, 1000.0
    compute, memory = closed_form(m, n, k), 2 * (n * k + m * (n + k)) / (B * 0.5)
    found = seconds(weighed(m, n, k, repeat))
    assert found == pytest.approx((repeat * both(compute, memory), repeat * 2e-6, repeat * compute))
    assert seconds(weighed(m, n, k, repeat), aligned=True) == pytest.approx(found)
    work, floor, _ = seconds(weighed(m, n, k, np.array([1.0, repeat])))  # type: ignore[arg-type]
    assert (work[1], floor[1]) == pytest.approx(found[:2])  # type: ignore[index]


# m, n, k → rows that a rough kernel computes, slowdown.
ROUGH = {
    (1.0, 2564.0, 1000.0): (1, 1.5),
    (1.5, 2564.0, 1000.0): (128, 1.5), (2.0, 2564.0, 1000.0): (128, 1.5), (129.0, 2560.0, 1004.0): (256, 1.5),
    (128.0, 2561.0, 1000.0): (128, 1.5 * 2.5), (100.0, 2560.0, 1001.0): (128, 1.5 * 2.5), (100.0, 2560.0, 1000.0): (100, 1),
}  # fmt: skip


@pytest.mark.parametrize("shape", ROUGH, ids=str)
def test_sizes_that_are_no_multiple_of_8_take_an_older_kernel(shape: tuple[float, float, float]) -> None:
    m, n, k = shape
    rows, slowdown = ROUGH[shape]
    compute = slowdown * closed_form(rows, n, k)
    memory = 2 * (n * k + m * (n + k)) / (B * 0.5)
    assert seconds(weighed(m, n, k)) == pytest.approx((both(compute, memory), 2e-6, compute))
    many = weighed(np.array([m]), np.array([n]), np.array([k]))  # type: ignore[arg-type]
    assert [float(np.squeeze(part)) for part in seconds(many)] == pytest.approx(seconds(weighed(m, n, k)))
    # Where all sizes are said to be multiples nobody looks.
    assert seconds(weighed(m, n, k), aligned=True)[2] == pytest.approx(closed_form(m, n, k))


def test_roughness_of_each_side() -> None:
    for sizes, expected in {(8.0, 16.0): (0, 0), (8.0, 12.0): (1, 0), (4.0, 8.0): (1, 0), (8.0, 9.0): (1, 1), (7.0, 8.0): (1, 1)}.items():  # fmt: skip
        assert roughness(*sizes) == expected


def stays(nbytes: float, cache: float) -> float:
    """Falls from 1 to 0 around 0.75 of the cache, a quarter of that to either side."""
    return min(max(0.5 + (1 - nbytes / (0.75 * cache)) / (2 * 0.25), 0.0), 1.0)


@pytest.mark.parametrize("nbytes", [0.0, 55.0, 56.25, 60.0, 75.0, 90.0, 93.75, 95.0])
def test_what_stays_in_a_cache_falls_around_its_share(nbytes: float) -> None:
    assert resident(nbytes, 100.0, 0.75, 0.25) == pytest.approx(stays(nbytes, 100.0))
    assert (resident(nbytes, 100.0, 0.75, 0.25) == 1.0) is (nbytes <= 56.25)  # three quarters of 75
    # What stays is read four times as fast.
    assert hot_factor(nbytes, 100.0, 0.75, 0.25, 3.0) == pytest.approx(1 - stays(nbytes, 100.0) * 3 / 4)


# Weight bytes: a loop of six fits; partly; does not, but one weight and the activations do; nothing does.
@pytest.mark.parametrize("weights", [1000.0, 11_000.0, 30_000.0, 70_000.0, 200_000.0])
@pytest.mark.parametrize("repeat", [1.0, 2.0])
def test_a_hot_loop_reads_in_part_from_the_cache(weights: float, repeat: float) -> None:
    """A cache of 100 kB that each SM reads at 2 · 40 GB/s: 800 GB/s in all, against 50 from memory."""
    sheet = SHEET._replace(cache_bytes=1e5, peak_flops_per_s=1e18)
    inputs = 8000.0
    op = OpCost("g", "gemm", 1.0, weights * repeat, 0.0, inputs * repeat, repeat, 16.0, 64.0, 64.0, repeat)
    loop = 6 * weights + inputs
    weight_stays = stays(loop, 1e5) + (1 - stays(loop, 1e5)) * 0.3 * min(1e5 / loop, 1)
    cached = weights * weight_stays + inputs * stays(weights + inputs, 1e5)
    assert cached_bytes(op, C, 1e5) == pytest.approx(repeat * cached)
    memory = (weights + inputs - cached) / 5e10 + cached / 8e11
    compute = seconds(op, sheet=sheet)[2] / repeat
    assert seconds(op, hot=True, sheet=sheet)[0] == pytest.approx(repeat * both(compute, memory))
    assert seconds(op, sheet=sheet)[0] == pytest.approx(repeat * both(compute, (weights + inputs) / 5e10))


def test_a_cache_slower_than_the_memory_is_not_read() -> None:
    op, small = weighed(16.0, 64.0, 64.0), SHEET._replace(cache_bytes=1e9)
    slow: Any = C._replace(cache_rate=0.01)  # 4 GB/s in all
    assert GemmLaw(slow, small).terms(op, Conditions(hot=True)) == GemmLaw(slow, small).terms(op)
    assert GemmLaw(GEMM, small).terms(op, Conditions(hot=True))[0] <= GemmLaw(GEMM, small).terms(op)[0]
