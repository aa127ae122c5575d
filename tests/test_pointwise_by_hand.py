"""Pointwise kernels, copies, products of 8-bit floats and dequantised weights against their closed forms.

P = 1e12 FLOP/s (4e12 of 8-bit floats), S = 10 multiprocessors, B = 1e11 byte/s, a cache of 1 MB.
"""

import numpy as np
import pytest
from toy import DEVICE, GEMM, SHEET

from latmodel.laws.coefficients import (
    Float8,
    PointwiseCoefficients,
    QuantizeCoefficients,
    coefficient_values,
    device_coefficients,
)
from latmodel.laws.correction import Correction, Table
from latmodel.laws.corrector import Corrector
from latmodel.laws.dispatch import op_seconds
from latmodel.laws.float8 import Float8Law
from latmodel.laws.gemm import GemmLaw, Tile
from latmodel.laws.pointwise import PointwiseLaw, walked
from latmodel.laws.quantised import dequantize_seconds
from latmodel.laws.terms import Conditions
from latmodel.model.ops import OpCost, OpKind, gemm, pointwise

B = 1e11
WIDE = SHEET._replace(cache_bytes=1e6)
C = PointwiseCoefficients(
    floor_s=2e-6, bandwidth_efficiency=0.5, cache_share=0.4, cache_speedup=4.0, strided_rate=0.25, summed_s=1e-9
)
MEMORY, CACHED, HELD = B * 0.5, B * 0.5 * 4.0, 0.4 * 1e6  # byte/s, byte/s, bytes between two passes


@pytest.mark.parametrize("moves", [1.0, 3.0])
@pytest.mark.parametrize("elements", [1e3, 1e5, 2e5, 3e5, 1e7])
def test_traffic_is_the_caches_as_far_as_it_holds_the_values(elements: float, moves: float) -> None:
    nbytes = 2 * elements * moves
    held = moves * HELD
    # What is held is read from the cache, the rest from memory.
    seconds = min(nbytes, held) / CACHED + max(nbytes - held, 0) / MEMORY
    op = pointwise("x", elements, moves=moves, kernels=3.0, bytes_each=2.0)
    assert PointwiseLaw(C, WIDE).terms(op) == pytest.approx((seconds, 6e-6, 0.0))
    # Views that are not contiguous are walked at a quarter of the cache's rate.
    strided = PointwiseLaw(C, WIDE).terms(op._replace(strided=True))[0]
    assert strided == pytest.approx(max(nbytes / (CACHED * 0.25), seconds))
    # Few of them take what a thread walks of each kernel, beside that.
    walks, views = PointwiseLaw(C._replace(walked_s=2e-7), WIDE), op._replace(strided=True, m=2.0, n=450.0, k=65.0)
    assert walks.terms(views) == pytest.approx((strided + 3 * (4 + 2) / 2 * 2e-7, 6e-6, 0.0))
    assert PointwiseLaw(C, WIDE).terms(views)[0] == strided
    for summed in (1e3, 1e6, np.array([1e3, 1e6])):
        found = PointwiseLaw(C, WIDE).terms(op._replace(k=summed))[0]
        assert found == pytest.approx(np.maximum(seconds, summed * 1e-9))


@pytest.mark.parametrize(
    ("values", "each"), [(0, 0), (1, 1), (64, 1), (128, 1), (129, 2), (256, 2), (384, 3), (385, 4), (512, 4), (1e6, 4)]
)
def test_what_a_thread_walks_of_a_view(values: float, each: float) -> None:
    """128 threads a block, four values a thread at most."""
    assert walked(float(values)) == each
    for some in ([values], [values, 1.0], [values, 513.0]):
        assert np.broadcast_to(walked(np.array(some, dtype=float)), len(some))[0] == each


@pytest.mark.parametrize("elements", [1e3, 1e5, 2e5, 3e5, 1e7])
def test_copies_run_at_a_third_of_the_rate_from_memory(elements: float) -> None:
    op = OpCost("copy", OpKind.COPY, activation_bytes=2 * elements, kernels=3.0, passes=2.0)
    nbytes, held = 2 * elements, 2 * HELD
    seconds = min(nbytes, held) / CACHED + max(nbytes - held, 0) / (MEMORY * 0.34)
    assert PointwiseLaw(C, WIDE).copy_terms(op) == pytest.approx((seconds, 6e-6, 0.0))
    assert op_seconds(op, WIDE, DEVICE._replace(pointwise=C), gap_s=1e-6).seconds == pytest.approx(seconds + 9e-6)


Q = QuantizeCoefficients(floor_s=3e-6, bandwidth_efficiency=0.25, cache_share=0.5, cache_speedup=2.0, row_s=5e-9)
# Small tiles priced out, so that those of 8-bit floats show.
EIGHT = Float8(GEMM._replace(floor_s=1e-6, prologue_k=10.0, small_tile_efficiency=0.02), Q)
FAST = WIDE._replace(float8_flops_per_s=4e12, vector_rows=2.0)


@pytest.mark.parametrize("repeat", [1.0, 2.0])
@pytest.mark.parametrize("m", [1.0, 100.0, 257.0, 3000.0])
def test_a_product_of_8_bit_floats_quantises_its_input_first(m: float, repeat: float) -> None:
    op = gemm("g", m, 640.0, 1000.0, weight_bytes=1.0, activation_bytes=2.0, repeat=repeat)
    # Products at the 8-bit peak in clusters of 256 × 128 of two multiprocessors; no row is multiplied in float32.
    at_peak = FAST._replace(peak_flops_per_s=4e12, vector_rows=16.0)
    work, floor, compute = GemmLaw(EIGHT.gemm, at_peak, Tile(256.0, 128.0, 2.0)).terms(op)
    # 16 bits twice in and 8 bits out are five bytes a value: from the cache half a megabyte for each of 2.5 moves of two bytes.
    nbytes, held = 5 * m * 1000 * repeat, 2.5 * 0.5 * 1e6
    quantise = min(nbytes, held) / (B * 0.25 * 2) + max(nbytes - held, 0) / (B * 0.25) + m * repeat * 5e-9
    found = Float8Law(EIGHT, FAST).terms(op, Conditions())
    assert found == pytest.approx((work + quantise, floor + repeat * 3e-6, compute))
    kind = op._replace(kind=OpKind.GEMM8)
    assert op_seconds(kind, FAST, DEVICE._replace(float8=EIGHT), gap_s=0.0).work_s == pytest.approx(work + quantise)


def test_dequantising_is_so_many_instructions_of_all_lanes() -> None:
    # 64 lanes at 1.41 GHz on ten multiprocessors: 902.4e9 instructions a second.
    op = OpCost("unpack", OpKind.DEQUANTIZE, flops=9.024e9, kernels=0.0, repeat=3.0)
    assert dequantize_seconds(op, SHEET) == pytest.approx(1e-2)
    fit = DEVICE._replace(gemm=GEMM._replace(floor_s=2e-6))
    found = op_seconds(op, SHEET, fit, gap_s=1.0)
    assert (found.work_s, found.fixed_s, found.compute_s) == pytest.approx((1e-2, 6e-6, 1e-2))


def test_a_correction_multiplies_the_floor_too_but_not_the_gap() -> None:
    """A table that adds log 1.25 everywhere it was measured: (work + floor) · 1.25, of which the floor stays one."""
    ends = np.array([0.0, 20.0])
    table = Table(("m", "n", "k"), (ends, ends, ends), np.full((2, 2, 2), np.log(1.25)))
    span = dict.fromkeys("mnk", 0.0), dict.fromkeys("mnk", 20.0)
    fit = DEVICE._replace(gemm=GEMM._replace(floor_s=2e-6))
    op = gemm("g", 64.0, 640.0, 1000.0, weight_bytes=2.0, activation_bytes=2.0)
    plain = op_seconds(op, SHEET, fit, gap_s=1e-6)
    found = op_seconds(op, SHEET, fit, gap_s=1e-6, corrector=Corrector({"gemm": Correction((table,), *span)}, 1.0))
    assert found.fixed_s == plain.fixed_s == pytest.approx(3e-6)
    assert found.work_s + 2e-6 == pytest.approx(1.25 * (plain.work_s + 2e-6), rel=3e-4)  # kept in half precision
    hardly = pointwise("x", 10.0, moves=1.0, kernels=1.0, bytes_each=2.0)
    assert op_seconds(hardly, SHEET, fit, 0.0, corrector=Corrector({}, 1.0)) == op_seconds(hardly, SHEET, fit, 0.0)


def test_coefficients_of_8_bit_products_go_to_names_and_back() -> None:
    for fit in (DEVICE, DEVICE._replace(float8=EIGHT)):
        assert device_coefficients(coefficient_values(fit)) == fit
    values = coefficient_values(DEVICE._replace(float8=EIGHT))
    assert (values["float8.quantize.row_s"], values["float8.gemm.prologue_k"], values["gemm.prologue_k"]) == (5e-9, 10.0, 0.0)  # fmt: skip
    # As of a pointwise kernel over contiguous values, which adds up nothing.
    assert Q.pointwise == PointwiseCoefficients(3e-6, 0.25, 0.5, 2.0, 1.0, 0.0)
