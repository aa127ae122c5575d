"""Operators on a CPU against the closed forms of `latmodel.laws.cpu`, with every effect on at once.

P = 1e11 FLOP/s, B = 1e10 byte/s, a cache of 30 MB; no two coefficients are alike.
"""

import math

import numpy as np
import pytest

from latmodel.laws.coefficients import CpuCoefficients, Sheet
from latmodel.laws.cpu import CPU_LAWS, cpu_seconds
from latmodel.laws.dispatch import op_seconds
from latmodel.model.ops import AttentionShape, OpCost, OpKind, gemm

P, B, CACHE = 1e11, 1e10, 3e7
SHEET = Sheet(P, B, 1.0, CACHE)
C = CpuCoefficients(
    compute_efficiency=0.8, weight_bandwidth=0.5, near_cache=0.2, repack=1.5, repack_rows=4.0, call_s=1e-5, output_s=1e-8,
    misfit_slowdown=1.5, overlap_gap=0.3, prefill_efficiency=0.4, attention_rows=5.0, decode_efficiency=0.1, cache_bandwidth=0.25,
    pointwise_bandwidth=2.0, conv_call_s=1e-4, conv_bandwidth=0.1, scan_bandwidth=0.7, solve_efficiency=0.2,
)  # fmt: skip


def joined(compute: float, memory: float) -> float:
    return max(compute, memory) + 0.3 * min(compute, memory)


@pytest.mark.parametrize("m", [1.0, 2.0, 3.0, 4.0, 5.0, 200.0])
@pytest.mark.parametrize(("n", "k"), [(1000.0, 2000.0), (1004.0, 2000.0), (1000.0, 50.0), (1000.0, 1001.0)])
@pytest.mark.parametrize("repeat", [1.0, 3.0])
def test_a_product_streams_or_repacks_its_weights(m: float, n: float, k: float, repeat: float) -> None:
    weight = 4 * n * k
    nearer = 1 + (m - 1) * weight / (weight + 0.2 * CACHE)  # of further rows what is not found nearer
    memory = weight * (1 + 1.5 if m >= 4 else nearer) / (B * 0.5)
    compute = 2 * m * n * k / (P * 0.8) * (1.0 if n % 8 == k % 8 == 0 else 1.5)
    start = 1e-5 if m >= 4 else n * 1e-8 * k / (k + 150)
    op = gemm("g", m, n, k, weight_bytes=4.0, activation_bytes=4.0, repeat=repeat)
    expected = repeat * (joined(compute, memory) + start), repeat * compute
    assert cpu_seconds(op, C, SHEET) == pytest.approx(expected)
    many = gemm("g", np.array([m]), np.array([n]), np.array([k]), weight_bytes=4.0, activation_bytes=4.0, repeat=repeat)  # type: ignore[arg-type]
    assert cpu_seconds(many, C, SHEET)[0] == pytest.approx([expected[0]])


@pytest.mark.parametrize(
    ("tokens", "cached"), [(1.0, 0.0), (32.0, 700.0), (33.0, 700.0), (192.0, 0.0), (193.0, 5.0), (2000.0, 100.0)]
)
def test_a_prompts_attention_packs_its_keys_for_blocks_of_32_queries(tokens: float, cached: float) -> None:
    shape = AttentionShape(2.0, 8.0, 4.0, 64.0, tokens, tokens + cached, tokens + cached, None)
    blocks = min(math.ceil(tokens / 32), 6)
    keys = blocks * cached + (blocks + 1) / 2 * tokens
    for flops, nbytes in ((1e8, 1e5), (1e6, 1e9)):
        op = OpCost("attention", OpKind.PREFILL, flops=flops, cache_bytes=nbytes, attention=shape)
        compute = (flops + 5 * 4 * 64 * 8 * 2 * keys) / (P * 0.4)
        assert cpu_seconds(op, C, SHEET) == pytest.approx((joined(compute, nbytes / (B * 0.25)), compute))


def test_a_new_tokens_attention_packs_nothing() -> None:
    shape = AttentionShape(2.0, 8.0, 4.0, 64.0, 1.0, 500.0, 500.0, None)
    for flops, nbytes in ((1e8, 1e5), (1e6, 1e9)):
        op = OpCost("attention", OpKind.DECODE, flops=flops, cache_bytes=nbytes, attention=shape)
        expected = joined(flops / (P * 0.1), nbytes / (B * 0.25)), flops / (P * 0.1)
        assert cpu_seconds(op, C, SHEET) == pytest.approx(expected)


# Kind → (seconds, those of arithmetic) of 1e8 FLOPs, 1 kB of weights, 2 of cache and 3 of activations, seven kernels.
OTHERS = {
    OpKind.POINTWISE: (6000 / (B * 2.0), 0.0), OpKind.COPY: (6000 / (B * 2.0), 0.0),
    OpKind.CONV: (7 * 1e-4 + 3000 / (B * 0.1), 0.0), OpKind.SCAN: (3000 / (B * 0.7), 0.0),
    OpKind.SOLVE: (1e8 / (P * 0.2), 1e8 / (P * 0.2)), OpKind.DEQUANTIZE: (1e8 / (P * 0.8), 1e8 / (P * 0.8)),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_operators_of_one_rate(kind: OpKind) -> None:
    op = OpCost("x", kind, 1e8, 1000.0, 2000.0, 3000.0, kernels=7.0)
    assert cpu_seconds(op, C, SHEET) == pytest.approx(OTHERS[kind])
    found = op_seconds(op, SHEET, C, gap_s=1e-6)  # dispatch is the runtime's: no floor, a gap for each kernel
    assert (found.work_s, found.fixed_s, found.compute_s) == pytest.approx((OTHERS[kind][0], 7e-6, OTHERS[kind][1]))


def test_every_kind_but_8_bit_floats_has_a_law() -> None:
    assert set(CPU_LAWS) == set(OpKind) - {OpKind.GEMM8}
