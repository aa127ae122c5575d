"""Operators under llama.cpp against the closed forms of `latmodel.laws.ggml`: B = 1e11 byte/s and round rates."""

import math

import numpy as np
import pytest
from toy import SHEET

from latmodel.laws.coefficients import (
    GgmlCoefficients,
    RuntimeCoefficients,
    Sheet,
    coefficient_values,
    device_coefficients,
)
from latmodel.laws.dispatch import op_seconds
from latmodel.laws.ggml import GGML_LAWS, product_terms, prompt_attention_terms, token_attention_terms
from latmodel.model.ops import AttentionShape, OpCost, OpKind, gemm, pointwise

B = 1e11
C = GgmlCoefficients(
    bandwidth_efficiency=0.5, vector_flops_per_s=2e11, product_flops_per_s=1e12, attention_ratio=0.25, cache_efficiency=0.2,
    token_attention_flops_per_s=5e10, unpack_passes=0.8, launch_s=3e-6, prompt_launch_s=2e-5, score_bytes=30.0,
    micro_batch_rows=512.0,
)  # fmt: skip
CPU = C._replace(two_rows_flops_per_s=1e11, four_rows_flops_per_s=1.5e11, eight_rows_flops_per_s=3e11)
PACKED = CPU._replace(row_tile=4.0)


def product(m: float, repeat: float = 1.0) -> OpCost:
    """1000 × 2000 weights of half a byte."""
    return gemm("g", m, 2000.0, 1000.0, weight_bytes=0.5, activation_bytes=2.0, repeat=repeat)


@pytest.mark.parametrize("repeat", [1.0, 3.0])
@pytest.mark.parametrize("m", [1.0, 8.0, 9.0, 512.0, 513.0, 2000.0])
def test_a_product_reads_few_rows_and_unpacks_for_many(m: float, repeat: float) -> None:
    weights, batches = 2e6 * repeat, math.ceil(m / 512)
    few = m <= 8.0
    compute = 2 * weights * m / (2e11 if few else 1e12)
    moved = weights * 0.5 / (B * 0.5) if few else batches * 0.8 * 2 * weights / B
    launch_s = 3e-6 if few else 2.3e-5
    expected = (compute + moved, batches * repeat * launch_s, compute)
    assert product_terms(product(m, repeat), C, SHEET) == pytest.approx(expected)
    work, floor, _ = product_terms(product(np.array([m, 4.0]), repeat), C, SHEET)  # type: ignore[arg-type]
    assert (work[0], floor[0]) == pytest.approx(expected[:2])


# m → (unpacked once more for each further micro-batch, where 16 rows and more take row · m + pass).
WEIGHTS = 2 * 2e6  # FLOPs of a row
ONE = 1e6 / (B * 0.5) + WEIGHTS / 2e11  # read, and multiplied
ROW, PASS = WEIGHTS / 1e12, 0.8 * WEIGHTS / B
TWO, FOUR, EIGHT = WEIGHTS * 2 / 1e11, WEIGHTS * 4 / 1.5e11, WEIGHTS * 8 / 3e11
SIXTEEN = 16 * ROW + PASS
STORED = {
    1.0: ONE, 1.5: (ONE + TWO) / 2, 2.0: TWO, 3.0: (TWO + FOUR) / 2, 4.0: FOUR, 5.0: FOUR + (EIGHT - FOUR) / 4, 8.0: EIGHT,
    12.0: (EIGHT + SIXTEEN) / 2, 16.0: SIXTEEN, 20.0: SIXTEEN + 4 * ROW, 512.0: 512 * ROW + PASS, 513.0: 513 * ROW + 2 * PASS,
}  # fmt: skip
# Whole tiles of 16 rows, with one pass over the weights however many; tiles of 4; the rest one by one.
TILED = {
    1.0: ONE, 3.0: 3 * ONE, 4.0: FOUR, 7.0: FOUR + 3 * ONE, 15.0: 3 * FOUR + 3 * ONE, 16.0: SIXTEEN, 17.0: SIXTEEN + ONE,
    37.0: 32 * ROW + PASS + FOUR + ONE, 1040.0: 1040 * ROW + 3 * PASS,
}  # fmt: skip


@pytest.mark.parametrize(("c", "expected"), [(CPU, STORED), (PACKED, TILED)], ids=["as stored", "packed"])
def test_few_rows_on_a_cpu(c: GgmlCoefficients, expected: dict[float, float]) -> None:
    for repeat in (1.0, 2.0):
        found = [product_terms(product(m, repeat), c, SHEET) for m in expected]
        assert [work for work, _, _ in found] == pytest.approx([repeat * value for value in expected.values()])
        assert [floor for _, floor, _ in found] == pytest.approx([repeat * 3e-6 * math.ceil(m / 512) for m in expected])
        assert [compute for _, _, compute in found] == pytest.approx([repeat * ROW * m for m in expected])
    rows = np.array(list(expected))
    assert product_terms(product(rows), c, SHEET)[0] == pytest.approx(list(expected.values()))  # type: ignore[arg-type]
    some = c._replace(four_rows_flops_per_s=np.array([c.four_rows_flops_per_s]))  # type: ignore[arg-type]
    assert product_terms(product(4.0), some, SHEET)[0] == pytest.approx([FOUR])


def attention(kind: OpKind, tokens: float, context: float, kv_heads: float = 2.0, head_dim: float = 64.0) -> OpCost:
    """Eight query heads, three sequences; causal pairs; keys and values in 16 bits."""
    pairs = 3.0 * sum(context - tokens + i + 1 for i in range(int(tokens)))
    shape = AttentionShape(3.0, 8.0, kv_heads, head_dim, tokens, context, context, None)
    kept = 2 * 3 * kv_heads * head_dim * context * 2
    return OpCost("attention", kind, 4 * 8 * head_dim * pairs, 0.0, kept, 0.0, attention=shape)


@pytest.mark.parametrize("tokens", [1.0, 100.0, 512.0, 700.0])
def test_a_prompt_computes_half_of_a_micro_batchs_square_too(tokens: float) -> None:
    op = attention(OpKind.PREFILL, tokens, tokens + 50.0)
    scores = op.flops / (4 * 64) + 3 * 8 * tokens * min(tokens, 512) / 2
    compute = 4 * 64 * scores / (1e12 * 0.25)
    expected = (compute + scores * 30 / B, 0.0, compute)
    assert prompt_attention_terms(op, C, SHEET) == pytest.approx(expected)


@pytest.mark.parametrize("tokens", [1.0, 63.0, 64.0, 65.0, 128.0, 300.0])
def test_a_cpu_works_on_tiles_of_queries_and_on_few_of_them_one_by_one(tokens: float) -> None:
    c, op = C._replace(query_tile=64.0), attention(OpKind.PREFILL, tokens, tokens + 500.0)
    scores = op.flops / (4 * 64) + 3 * 8 * tokens * min(tokens, 512) / 2
    queries = 64 * math.ceil(tokens / 64)
    # Queries up to a whole tile, each with half a tile of keys beyond its own: 4 FLOPs a value.
    tiled = op.flops * queries / tokens + 4 * 3 * 8 * 64 * queries * 64 / 2
    alone = op.cache_bytes / (B * 0.2) + op.flops / 5e10
    compute = alone if tokens < 64 else tiled / (1e12 * 0.25)
    assert prompt_attention_terms(op, c, SHEET) == pytest.approx((compute + scores * 30 / B, 0.0, compute))


@pytest.mark.parametrize("kv_heads", [1.0, 4.0, 5.0, 8.0])  # 64 to 512 values a position; slower up to 256
def test_a_new_token_reads_a_narrow_cache_slower(kv_heads: float) -> None:
    op = attention(OpKind.DECODE, 1.0, 1000.0, kv_heads)
    read, compute = op.cache_bytes / (B * 0.2), op.flops / 5e10
    assert token_attention_terms(op, C, SHEET) == pytest.approx((read + compute, 0.0, compute))
    slower = 1.0 + 1.5 * kv_heads / 4 if kv_heads * 64 <= 256 else 1.0
    for narrow in (1.5, np.array([1.5])):
        c = C._replace(narrow_cache=narrow)
        assert token_attention_terms(op, c, SHEET)[0] == pytest.approx(read * slower + compute)


def test_recurrences_are_their_traffic_and_launches_and_pointwise_operators_nothing() -> None:
    scan = OpCost("scan", OpKind.SCAN, 1e9, 1e3, 2e3, 3e3, kernels=7.0)
    for kind in (OpKind.SCAN, OpKind.CONV, OpKind.SOLVE, OpKind.COPY):
        assert GGML_LAWS[kind](scan, C, SHEET) == pytest.approx((6e3 / (B * 0.5), 7 * 3e-6, 0.0))
    norm = pointwise("norm", 1e6, moves=2.0, kernels=3.0, bytes_each=2.0)
    for kind in (OpKind.POINTWISE, OpKind.DEQUANTIZE):
        assert GGML_LAWS[kind](norm, C, SHEET) == (0.0, 0.0, 0.0)
    assert op_seconds(scan, SHEET, C, 0.0).seconds == pytest.approx(6e3 / 5e10 + 21e-6)
    eight = product(4.0)._replace(kind=OpKind.GEMM8)
    assert GGML_LAWS[OpKind.GEMM8](eight, C, SHEET) == product_terms(product(4.0), C, SHEET)


def test_what_is_not_fitted_is_nothing() -> None:
    """A profile without the terms of a CPU, of scores or of a narrow cache has none of their time."""
    few = GgmlCoefficients(0.5, 2e11, 1e12, 0.25, 0.2, 5e10, 0.8, 3e-6)
    assert few == C._replace(score_bytes=0.0, prompt_launch_s=0.0)
    assert few.micro_batch_rows == 512.0
    cpu_only = (few.two_rows_flops_per_s, few.four_rows_flops_per_s, few.eight_rows_flops_per_s)
    assert (*cpu_only, few.row_tile, few.narrow_cache, few.query_tile) == (0.0,) * 6


def test_coefficients_go_to_names_and_back() -> None:
    values = coefficient_values(PACKED)
    assert values["ggml.row_tile"] == 4.0 and "ggml.micro_batch_rows" not in values and len(values) == 16
    assert device_coefficients(values, 512.0) == PACKED
    # All rows at once where nobody says how many; what an older profile lacks is not there.
    assert device_coefficients(values) == PACKED._replace(micro_batch_rows=1e9)
    older = {name: value for name, value in values.items() if not name.startswith("ggml.row")}
    assert device_coefficients(older, 512.0) == CPU


def test_runtimes_and_data_sheets_have_no_more_than_they_say() -> None:
    runtime = RuntimeCoefficients(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert (runtime.step_s, runtime.sequence_s) == (0.0, 0.0)
    sheet = Sheet(1.0, 2.0, 3.0, 4.0)
    assert (sheet.float8_flops_per_s, sheet.matrix_rows, sheet.vector_rows) == (0.0, 16.0, 16.0)
