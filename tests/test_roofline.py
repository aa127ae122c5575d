"""One operator on a device with round numbers (1e12 FLOP/s, 1e11 B/s, ten SMs): answers by hand."""

import pytest
from toy import DECODE, DEVICE, GEMM, POINTWISE, PREFILL, SHEET, TWO_BYTES

from latmodel.laws.attention import decode_seconds, prefill_seconds
from latmodel.laws.coefficients import DeviceCoefficients, GemmCoefficients, PointwiseCoefficients, Sheet
from latmodel.laws.dispatch import op_seconds
from latmodel.laws.gemm import GemmLaw, cached_bytes, hot_factor, joined
from latmodel.laws.pointwise import PointwiseLaw
from latmodel.laws.terms import Conditions
from latmodel.model.alignment import all_aligned
from latmodel.model.architecture import Attention
from latmodel.model.layers.attention import attention_op
from latmodel.model.ops import OpCost, gemm, pointwise
from latmodel.model.step import Step
from latmodel.runtimes.transformers_eager import TRANSFORMERS


def product(m: float, n: float, k: float) -> OpCost:
    return gemm("x", m, n, k, weight_bytes=2.0, activation_bytes=2.0)


def compute_seconds(m: float, n: float, k: float, c: GemmCoefficients, sheet: Sheet) -> float:
    return float(GemmLaw(c, sheet).compute_seconds(m, n, k))


def gemm_seconds(
    op: OpCost, c: GemmCoefficients, sheet: Sheet, hot: bool = False, aligned: bool = False
) -> tuple[float, float]:
    work, _, compute = GemmLaw(c, sheet).terms(op, Conditions(hot, aligned))
    return work, compute


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> float:
    return float(PointwiseLaw(c, sheet).terms(op)[0])


# --- Matrix products ------------------------------------------------------------------------------


def test_a_product_that_fills_the_device_takes_its_flops_over_the_peak() -> None:
    # 1280 × 2560 outputs are 10 × 10 tiles of 128 × 256 = 10 whole waves of ten SMs.
    # 2 · 1280 · 2560 · 1000 = 6.5536e9 FLOPs at 1e12 a second.
    assert compute_seconds(1280.0, 2560.0, 1000.0, GEMM, SHEET) == pytest.approx(6.5536e-3)


def test_one_more_row_costs_a_row_of_tiles() -> None:
    # 8 × 10 small tiles of 64 × 64 are 8 waves; one token more is a ninth row of them.
    whole = compute_seconds(512.0, 640.0, 100.0, GEMM, SHEET)
    # 2 · 512 · 640 · 100 = 6.5536e7 FLOPs.
    assert whole == pytest.approx(6.5536e-5)
    one_row_more = compute_seconds(513.0, 640.0, 100.0, GEMM, SHEET)
    assert one_row_more == pytest.approx(whole * 9 / 8)


def test_large_tiles_round_up_to_waves() -> None:
    # Small tiles priced out (a hundredth of the rate): 11 large tiles on ten SMs are 1.1 waves, rounded to 2.
    slow_small = GEMM._replace(small_tile_efficiency=0.01)
    wave_s = 2 * 128 * 256 * 100 * 10 / 1e12
    assert compute_seconds(128.0, 11 * 256.0, 100.0, slow_small, SHEET) == pytest.approx(2 * wave_s)
    half = slow_small._replace(wave_rounding=0.5)
    assert compute_seconds(128.0, 11 * 256.0, 100.0, half, SHEET) == pytest.approx((1.1 + 0.5 * 0.9) * wave_s)


def test_below_sixteen_rows_cost_the_same() -> None:
    # One row is padded to 16 of a tensor-core instruction; 10 tiles of 64 columns fill the ten SMs.
    # 2 · 16 · 640 · 1000 = 2.048e7 FLOPs.
    one, sixteen = (compute_seconds(m, 640.0, 1000.0, GEMM, SHEET) for m in (1.0, 16.0))
    assert one == sixteen == pytest.approx(2.048e-5)
    assert compute_seconds(17.0, 640.0, 1000.0, GEMM, SHEET) > sixteen


def test_narrow_products_split_k_or_wait_for_a_wave() -> None:
    # One tile on ten SMs: alone it takes a wave, 2 · 16 · 64 · 10000 · 10 / 1e12 = 2.048e-4 s;
    # split over all SMs a tenth of that and the cost of adding the parts.
    costly = GEMM._replace(split_k_s=1.0)
    cheap = GEMM._replace(split_k_s=1e-5)
    assert compute_seconds(16.0, 64.0, 10_000.0, costly, SHEET) == pytest.approx(2.048e-4)
    assert compute_seconds(16.0, 64.0, 10_000.0, cheap, SHEET) == pytest.approx(2.048e-5 + 1e-5)


def test_memory_bound_product_takes_its_bytes_over_the_bandwidth() -> None:
    # One row: 1000 · 1024 weights, 1000 + 1024 activations, two bytes each: 2.052e6 bytes at 1e11 a second.
    # Arithmetic 2 · 16 · 1024 · 1000 / 1e12 = 3.3e-5 s is longer here, so a peak of 1e13 leaves memory to bind.
    fast = SHEET._replace(peak_flops_per_s=1e13)
    seconds, compute = gemm_seconds(product(1.0, 1024.0, 1000.0), GEMM, fast)
    assert seconds == pytest.approx(2 * (1000 * 1024 + 1000 + 1024) / 1e11)
    assert compute < seconds


def test_floor_gap_and_repeat() -> None:
    # Two products of a pair: two floors of 3e-6, two gaps of 1e-6, and twice the work of one.
    fit = DEVICE._replace(gemm=GEMM._replace(floor_s=3e-6))
    pair = gemm("x", 16.0, 640.0, 1000.0, weight_bytes=2.0, activation_bytes=2.0, repeat=2.0)
    time = op_seconds(pair, SHEET, fit, gap_s=1e-6)
    alone = op_seconds(product(16.0, 640.0, 1000.0), SHEET, fit, gap_s=1e-6)
    assert time.fixed_s == pytest.approx(8e-6)
    assert time.seconds == pytest.approx(2 * alone.seconds)


def test_alignment() -> None:
    # n or k no multiple of 8: twice the arithmetic of the toy; odd: six times (2 · 3). `aligned` skips the look.
    base, _ = gemm_seconds(product(512.0, 1280.0, 1024.0), GEMM, SHEET)
    coarse, _ = gemm_seconds(product(512.0, 1276.0, 1024.0), GEMM, SHEET)
    odd, _ = gemm_seconds(product(512.0, 1279.0, 1024.0), GEMM, SHEET)
    assert coarse == pytest.approx(2 * base)  # the same 20 columns of tiles
    assert odd == pytest.approx(6 * base)
    told, _ = gemm_seconds(product(512.0, 1280.0, 1024.0), GEMM, SHEET, aligned=True)
    assert told == base
    assert all_aligned(8.0, 64.0)
    assert not all_aligned(8.0, 12.0)


def test_a_rough_product_of_few_rows_costs_a_whole_tile_and_one_row_none() -> None:
    # Tiles of 128 rows: 2, 100 and 128 rows cost the same, six times (2 · 3, the toy's) an aligned product of 128 rows.
    whole = compute_seconds(128.0, 8192.0, 8191.0, GEMM, SHEET)
    for rows in (2.0, 100.0, 128.0):
        _, rough = gemm_seconds(product(rows, 8192.0, 8191.0), GEMM, SHEET)
        assert rough == pytest.approx(6 * whole)
    _, single = gemm_seconds(product(1.0, 8192.0, 8191.0), GEMM, SHEET)
    assert single == pytest.approx(6 * compute_seconds(1.0, 8192.0, 8191.0, GEMM, SHEET))
    assert single < 0.2 * rough


def test_strided_values_and_summed_rows_of_pointwise_kernels() -> None:
    fit = POINTWISE._replace(cache_speedup=4.0, cache_share=1.0, strided_rate=0.5, summed_s=1e-9)
    sheet = SHEET._replace(cache_bytes=1e6)
    small = pointwise("x", 1000.0, moves=2.0, kernels=1.0, bytes_each=2.0)  # 4000 bytes, cached at 4e11 a second
    assert pointwise_seconds(small, fit, sheet) == pytest.approx(4000 / 4e11)
    assert pointwise_seconds(small._replace(strided=True), fit, sheet) == pytest.approx(2 * 4000 / 4e11)
    # A row of 8192 is added up in 8.192 us, by one block of threads, as many rows as there are.
    assert pointwise_seconds(small._replace(k=8192.0), fit, sheet) == pytest.approx(8.192e-6)
    large = pointwise("x", 1e9, moves=2.0, kernels=1.0, bytes_each=2.0)
    assert pointwise_seconds(large._replace(k=8192.0), fit, sheet) == pointwise_seconds(large, fit, sheet)


def test_overlap_gap_saturates() -> None:
    # gap 0.5 that saturates at 1 s: shorter of 1 s adds 1 · 0.5 · 1 / (1 + 1) = 0.25; tiny ones add half of themselves.
    assert joined(4.0, 1.0, 0.5, 1.0) == pytest.approx(4.25)
    assert joined(1.0, 4.0, 0.5, 1.0) == pytest.approx(4.25)
    assert joined(4.0, 1e-6, 0.5, 1.0) == pytest.approx(4.0 + 0.5e-6)
    assert joined(1e9, 1e9, 0.5, 1.0) == pytest.approx(1e9 + 0.5)


def test_short_products_run_at_boost_clocks() -> None:
    # boost 0.2 with half of it gone at 1 s: a product of 1 s saves 0.1 of itself.
    boosted = GEMM._replace(boost=0.2, boost_s=1.0)
    k = 1e12 / (2 * 1280 * 2560)
    assert compute_seconds(1280.0, 2560.0, k, GEMM, SHEET) == pytest.approx(1.0)
    assert compute_seconds(1280.0, 2560.0, k, boosted, SHEET) == pytest.approx(0.9)
    assert compute_seconds(1280.0, 2560.0, k / 1e6, boosted, SHEET) == pytest.approx(0.8e-6, rel=1e-5)


def test_cached_operands_read_faster_in_a_hot_loop_only() -> None:
    # Far below the resident share the whole operand is read 1 + 3 = 4 times as fast, far above it not at all.
    assert hot_factor(1.0, 1e6, 0.5, 0.1, 3.0) == pytest.approx(0.25)
    assert hot_factor(1e6, 1e6, 0.5, 0.1, 3.0) == 1.0
    assert hot_factor(0.5e6, 1e6, 0.5, 0.1, 3.0) == pytest.approx(0.625)  # half-way through the transition


def test_a_hot_loop_of_six_weights_falls_off_a_cliff() -> None:
    c = GEMM._replace(cache_share=1.0, cache_width=0.01)

    def found(weight: float, activations: float) -> float:
        op = gemm("p", 1.0, 1.0, 1.0, weight_bytes=weight, activation_bytes=activations / 2.0)
        return float(cached_bytes(op, c, 60.0))

    assert found(9.0, 3.0) == pytest.approx(12.0)  # 6 · 9 + 3 of 60: all of it stays
    # 6 · 20 + 30 = 150 of 60: of the weight 0.3 · 60 / 150 stays, and the activations, since 20 + 30 fit.
    assert found(20.0, 30.0) == pytest.approx(20.0 * 0.12 + 30.0)
    assert found(100.0, 30.0) == pytest.approx(100.0 * 0.3 * 60.0 / 630.0)
    twice = gemm("p", 1.0, 1.0, 1.0, weight_bytes=20.0, activation_bytes=15.0, repeat=2.0)
    assert float(cached_bytes(twice, c, 60.0)) == pytest.approx(2.0 * found(20.0, 30.0))


def test_the_cache_is_no_slower_than_the_memory() -> None:
    op = gemm("p", 16.0, 64.0, 64.0, weight_bytes=200.0, activation_bytes=2.0)
    wide = SHEET._replace(cache_bytes=1e9)
    slow, fast = (GEMM._replace(cache_rate=speedup, cache_width=0.1) for speedup in (1e-3, 1e3))
    assert gemm_seconds(op, slow, wide, hot=True) == gemm_seconds(op, slow, wide)
    assert gemm_seconds(op, fast, wide, hot=True)[0] < gemm_seconds(op, slow, wide)[0]


# --- Attention ------------------------------------------------------------------------------------


def attention(tokens: float, context: float, window: float | None = None) -> OpCost:
    return attention_op(Attention(10.0, 2.0, 64.0, window), Step(tokens, context - tokens), TRANSFORMERS, TWO_BYTES)


def test_prefill_attention_takes_half_of_the_square() -> None:
    # 10 heads · 64 · 4 FLOPs · 1280² / 2 pairs = 2.097e9 FLOPs at 1e12 a second (full query blocks of 128).
    seconds, compute = prefill_seconds(attention(1280.0, 1280.0), PREFILL, SHEET)
    assert seconds == compute == pytest.approx(4 * 10 * 64 * 1280 * 640 / 1e12)


def test_prefill_attention_over_an_earlier_context_sees_all_of_it() -> None:
    # 128 new queries over 1280 keys: mean columns 1280 − 64 = 1216.
    seconds, _ = prefill_seconds(attention(128.0, 1280.0), PREFILL, SHEET)
    assert seconds == pytest.approx(4 * 10 * 64 * 128 * 1216 / 1e12)


def test_prefill_attention_slows_at_other_head_dims() -> None:
    half = PREFILL._replace(efficiency_64=0.5)
    base, _ = prefill_seconds(attention(1280.0, 1280.0), PREFILL, SHEET)
    slow, _ = prefill_seconds(attention(1280.0, 1280.0), half, SHEET)
    assert slow == pytest.approx(2 * base)


def test_decode_attention_reads_the_cache() -> None:
    # keys and values of 2 heads · 64 at two bytes: 512 bytes a position, 1000 positions, 1e11 a second.
    seconds, _ = decode_seconds(attention(1.0, 1000.0), DECODE, SHEET._replace(peak_flops_per_s=1e15))
    assert seconds == pytest.approx(512 * 1000 / 1e11)


def test_few_tiles_cannot_draw_the_whole_bandwidth() -> None:
    # 2 tiles, 1/128 for one of 128: 1 + 1/128 · 128 / 2 = 1.5 times as long; four sequences, 8 tiles: 1.125 times.
    quick, fit = SHEET._replace(peak_flops_per_s=1e15), DECODE._replace(idle_split=1 / 128)
    one, _ = decode_seconds(attention(1.0, 1000.0), fit, quick)
    assert one == pytest.approx(1.5 * 512 * 1000 / 1e11)
    batch = attention_op(Attention(10.0, 2.0, 64.0), Step(1.0, 999.0, 4.0), TRANSFORMERS, TWO_BYTES)
    assert decode_seconds(batch, fit, quick)[0] == pytest.approx(1.125 * 4 * 512 * 1000 / 1e11)


def test_windowed_heads_that_are_not_packed_read_the_cache_as_tiles_of_their_own() -> None:
    """Flash attention 2 gives windowed layers one unsplit tile a query head: 10 of them, not 2."""
    quick = SHEET._replace(peak_flops_per_s=1e15)
    packed = DECODE._replace(idle_split=0.0, idle_whole=10 / 128, window_whole=0.0)
    windowed = attention(1.0, 1000.0, window=100.0)
    assert decode_seconds(windowed, packed, quick)[0] == pytest.approx(512 * 100 / 1e11)
    # 1 + 10/128 · 128 / 10 tiles = twice as long.
    whole = packed._replace(window_whole=1.0)
    assert decode_seconds(windowed, whole, quick)[0] == pytest.approx(2 * 512 * 100 / 1e11)


def test_a_windowed_prefill_reads_columns_beyond_its_window() -> None:
    windowed = attention(1024.0, 1024.0, window=256.0)
    plain, _ = prefill_seconds(windowed, PREFILL, SHEET)
    wide, _ = prefill_seconds(windowed, PREFILL._replace(window_columns=96.0), SHEET)
    # Mean columns of a query: 256 · (1 − 256 / 2048) = 224; 96 more make it 320.
    assert wide / plain == pytest.approx(320 / 224)
    whole = attention(1024.0, 1024.0)
    assert prefill_seconds(whole, PREFILL, SHEET) == prefill_seconds(
        whole, PREFILL._replace(window_columns=96.0), SHEET
    )


def test_writing_the_cache_takes_a_block_of_threads_a_token_in_prefill() -> None:
    # 2 KV heads of 64 are 128 values, a quarter of a whole block's 512 threads; 1280 tokens wait in turn.
    waiting = PREFILL._replace(write_s=4e-9)
    plain, compute = prefill_seconds(attention(1280.0, 1280.0), PREFILL, SHEET)
    found, same = prefill_seconds(attention(1280.0, 1280.0), waiting, SHEET)
    assert found - plain == pytest.approx(1280 * 1e-9)
    assert same == compute
    # 16 KV heads of 64 would need 1024 threads: 512 take two values each.
    wide = attention_op(Attention(16.0, 16.0, 64.0), Step(640.0, batch_size=2.0), TRANSFORMERS, TWO_BYTES)
    more = prefill_seconds(wide, waiting, SHEET)[0] - prefill_seconds(wide, PREFILL, SHEET)[0]
    assert more == pytest.approx(2 * 640 * 4e-9)


def test_a_window_caps_what_decode_reads() -> None:
    quick = SHEET._replace(peak_flops_per_s=1e15)
    capped, _ = decode_seconds(attention(1.0, 1000.0, window=100.0), DECODE, quick)
    assert capped == pytest.approx(512 * 100 / 1e11)


def test_a_split_context_pays_for_merging_once_it_is_long() -> None:
    # 2 tiles on ten SMs are split; the merge ramps up over one split_context.
    fit = DECODE._replace(split_s=1e-3, split_context=100.0)
    quick = SHEET._replace(peak_flops_per_s=1e15, bandwidth_bytes_per_s=1e15)
    merge = [decode_seconds(attention(1.0, c), fit, quick)[0] for c in (50.0, 150.0, 900.0)]
    assert merge == pytest.approx([0.0, 0.5e-3, 1e-3], abs=1e-8)


# --- Pointwise ------------------------------------------------------------------------------------


def test_pointwise_takes_its_bytes_over_the_bandwidth() -> None:
    # 1000 rows · 1000 values, 3 moves of two bytes: 6e6 bytes at 1e11 a second; three floors of 2e-6.
    op = pointwise("sum", 1e6, moves=3.0, kernels=3.0, bytes_each=2.0)
    fit = DeviceCoefficients(GEMM, PREFILL, DECODE, POINTWISE._replace(floor_s=2e-6))
    time = op_seconds(op, SHEET, fit, gap_s=0.0)
    assert time.work_s == pytest.approx(6e-5)
    assert time.fixed_s == pytest.approx(6e-6)


def test_what_the_cache_holds_between_two_passes_is_read_from_there() -> None:
    # 4 passes over values of 1e6 bytes; the cache keeps 5e5 of them, read twice as fast: 4e6 bytes cost
    # 4e6 / 1e11 − 4 · 5e5 · (1 / 1e11 − 1 / 2e11) = 4e-5 − 1e-5 s.
    op = pointwise("norm", 1e6, moves=4.0, kernels=4.0, bytes_each=1.0)
    sheet, fit = SHEET._replace(cache_bytes=1e6), POINTWISE._replace(cache_share=0.5, cache_speedup=2.0)
    assert pointwise_seconds(op, fit, sheet) == pytest.approx(3e-5)
    # A value that fits whole is read at the cache's rate.
    small = pointwise("norm", 1e5, moves=4.0, kernels=4.0, bytes_each=1.0)
    assert pointwise_seconds(small, fit, sheet) == pytest.approx(2e-6)
