"""The CPU's law by hand: 100 GFLOP/s, 10 GB/s, coefficients of round numbers."""

import pytest

from latmodel.laws.coefficients import CpuCoefficients, Sheet, coefficient_values, device_coefficients
from latmodel.laws.cpu import cpu_seconds
from latmodel.laws.dispatch import op_seconds
from latmodel.laws.priors import CPU_PRIORS, prior_values
from latmodel.model.ops import AttentionShape, OpCost, gemm, pointwise

SHEET = Sheet(1e11, 1e10, 1.0, 3e7)
C = CpuCoefficients(
    compute_efficiency=1.0, weight_bandwidth=1.0, near_cache=0.4 / 3.0, repack=2.0, repack_rows=4.0, call_s=1e-5, output_s=1e-8,
    misfit_slowdown=1.5, overlap_gap=0.5, prefill_efficiency=0.5, attention_rows=4.0, decode_efficiency=0.1, cache_bandwidth=0.5,
    pointwise_bandwidth=2.0, conv_call_s=1e-4, conv_bandwidth=0.1, scan_bandwidth=0.25, solve_efficiency=0.2,
)  # fmt: skip


def product(m: float, n: float = 1000.0, k: float = 1000.0) -> OpCost:
    return gemm("g", m, n, k, weight_bytes=4.0, activation_bytes=4.0)


def test_one_row_streams_the_weights() -> None:
    # 4 MB at 10 GB/s: 400 us; 2 MFLOP at 100 GFLOP/s: 20 us, half of it not hidden; 1000 rows of weights, 10 ns / 1.15 each.
    assert cpu_seconds(product(1.0), C, SHEET)[0] == pytest.approx(400e-6 + 10e-6 + 10e-6 / 1.15)


def test_many_rows_repack_the_weights_first() -> None:
    # 3 × 400 us of memory; 200 MFLOP: 2000 us of compute, the longer; half of the memory's is added; 10 us for the call.
    seconds, compute = cpu_seconds(product(100.0), C, SHEET)
    assert seconds == pytest.approx(2000e-6 + 0.5 * 1200e-6 + 10e-6)
    assert compute == pytest.approx(2000e-6)


def test_repacking_begins_at_the_threshold() -> None:
    below, at = (cpu_seconds(product(m), C, SHEET)[0] for m in (3.0, 4.0))
    # 4 MB where 0.4 / 3 of 30 MB are near: half of 400 us again for two further rows each; 6 MFLOP: 60 us, half not
    # hidden; 1000 rows of weights, 10 ns · 1000 / (1000 + 150) each.
    assert below == pytest.approx(800e-6 + 30e-6 + 10e-6 / 1.15)
    assert at == pytest.approx(1200e-6 + 40e-6 + 10e-6)


def test_a_dimension_that_is_no_multiple_of_8_computes_slower() -> None:
    _, fit = cpu_seconds(product(100.0, n=1000.0), C, SHEET)
    _, misfit = cpu_seconds(product(100.0, n=1001.0), C, SHEET)
    assert misfit / fit == pytest.approx(1.5 * 1001 / 1000)


def test_attention_computes_at_the_rate_of_its_phase_and_reads_the_cache() -> None:
    shape = AttentionShape(2.0, 8.0, 8.0, 64.0, tokens=8.0, context=1008.0, seen=1008.0, window=None)
    # Packing 1008 keys is 4 queries' work: 4 FLOPs a value, of two sequences and 8 heads of 64.
    packing = 4 * 4 * 2 * 8 * 64 * (1000 + 8)
    for kind, rate, flops in (("prefill", 5e10, 1e8 + packing), ("decode", 1e10, 1e8)):
        op = OpCost("attention", kind, flops=1e8, cache_bytes=1e6, activation_bytes=1e9, attention=shape)
        # 1 MB at half of 10 GB/s: 200 us, hidden but for half of it.
        assert cpu_seconds(op, C, SHEET)[0] == pytest.approx(flops / rate + 0.5 * 200e-6)


def test_a_prompts_keys_are_packed_once_a_block_of_queries() -> None:
    def packed(tokens: float, cached: float) -> float:
        shape = AttentionShape(1.0, 1.0, 1.0, 64.0, tokens, cached + tokens, cached + tokens, None)
        op = OpCost("attention", "prefill", attention=shape)
        return cpu_seconds(op, C, SHEET)[0] * 5e10 / (4 * 4 * 64)

    assert packed(32.0, 1000.0) == pytest.approx(1000 + 32)
    # Two blocks of 32: the first packs 1000 + 32 keys, the second 1000 + 64.
    assert packed(64.0, 1000.0) == pytest.approx(2 * 1000 + 32 + 64)
    # Blocks of a long prompt are larger: six of them, however long.
    assert packed(1024.0, 1000.0) == pytest.approx(6 * 1000 + 3.5 * 1024)


def test_pointwise_traffic_and_the_gaps_of_the_runtime() -> None:
    op = pointwise("norm", 1e6, moves=5.0, kernels=3.0, bytes_each=4.0)
    assert op_seconds(op, SHEET, C, 0.0).seconds == pytest.approx(20e6 / 2e10)
    assert op_seconds(op, SHEET, C, 1e-6).seconds == pytest.approx(20e6 / 2e10 + 3e-6)


def test_experts_are_a_product_each() -> None:
    op = OpCost("experts_up", "gemm", 6e6, 12e6, 0.0, 0.0, kernels=3.9, m=1.0, n=1000.0, k=1000.0, repeat=3.0)
    # Three products of one row each: 12 MB at 10 GB/s; 6 MFLOP at 100 GFLOP/s, half of it not hidden; 3000 rows of
    # weights.
    assert cpu_seconds(op, C, SHEET)[0] == pytest.approx(3.0 * cpu_seconds(product(1.0), C, SHEET)[0])
    assert cpu_seconds(op, C, SHEET)[0] == pytest.approx(1200e-6 + 30e-6 + 30e-6 / 1.15)


def test_recurrent_layers_have_rates_of_their_own() -> None:
    conv = OpCost("conv", "conv", activation_bytes=1e6, kernels=1.0)
    scan = OpCost("scan", "scan", activation_bytes=1e6, kernels=80.0)
    solve = OpCost("scan_solve", "solve", flops=1e7)
    assert cpu_seconds(conv, C, SHEET) == (pytest.approx(100e-6 + 1000e-6), 0.0)  # 1 MB at 1 GB/s
    assert cpu_seconds(scan, C, SHEET) == (pytest.approx(400e-6), 0.0)  # 1 MB at 2.5 GB/s
    assert cpu_seconds(solve, C, SHEET) == (pytest.approx(500e-6), pytest.approx(500e-6))  # at 20 GFLOP/s


def test_the_coefficients_have_names_of_their_own() -> None:
    values = coefficient_values(C)
    assert set(values) == set(CPU_PRIORS)
    assert device_coefficients(values) == C
    assert isinstance(device_coefficients(prior_values(CPU_PRIORS)), CpuCoefficients)
