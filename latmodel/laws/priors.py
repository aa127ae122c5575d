"""What holds a coefficient where measurements say nothing: a value and a spread in log units (0.1 is about 10 %).

One table by name serves fitting, checking of profiles, reports and documentation.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Prior(NamedTuple):
    """Where a coefficient starts, how far it may stray (log units; 0 fixes it), its bounds, and what it means."""

    value: float
    spread: float
    low: float
    high: float
    meaning: str


# Ranges that several coefficients have; a profile with a value outside of its own is refused.
TIME = (1e-9, 1e-2)
VALUE_TIME = (1e-12, 1e-6)  # of a single value
LAUNCH_TIME, BLOCK_TIME, PASS_TIME = (1e-9, 1e-3), (1e-9, 0.1), (1e-9, 1.0)  # the host's
LONG_TIME, SATURATION_TIME = (1e-6, 1.0), (1e-8, 1.0)
SHARE = (1e-4, 1.0)
RATE = (0.02, 1.3)  # boost clocks run above the data sheet's
BANDWIDTH = (0.02, 1.0)  # memory clocks do not
STREAM = (0.02, 3.0)  # of a measured bandwidth, which a cache exceeds
TRAFFIC = (0.005, 20.0)  # the same where values are computed too, or found in a near cache
RELATIVE_RATE, RATIO = (0.05, 2.0), (1e-3, 100.0)
FLOPS_PER_S = (1e8, 1e16)
SLOWDOWN, SPEEDUP, IDLE = (1.0, 20.0), (1e-3, 50.0), (1e-5, 10.0)
BOOST = (1e-4, 0.9)
PART_OF_CACHE, CLIFF = (1e-3, 2.0), (1e-2, 2.0)
ROWS, POSITIONS, COLUMNS = (1.0, 64.0), (1.0, 4096.0), (0.1, 4096.0)

# Values are near the means of fits to published kernel timings of A100, H100, H200, B200, L40S and RTX PRO 6000
# (docs/accuracy.md); attention floors are lower, for those rows include the write of the KV cache. Those of products
# leave out the L40S, whose times scatter most; the overlap's take in the A40 and the RTX 4090.

DEVICE_PRIORS: dict[str, Prior] = {
    "gemm.floor_s": Prior(2.3e-6, 0.20, *TIME, "launch to end of an empty kernel"),
    "gemm.compute_efficiency": Prior(0.83, 0.12, *RATE, "share of the dense peak that large tiles sustain"),
    "gemm.small_tile_efficiency": Prior(0.86, 0.18, 0.05, 1.0, "rate of 64-wide tiles against large ones"),
    "gemm.prologue_k": Prior(145.0, 0.30, 1.0, 4096.0, "columns of k worth of time to fill and drain a tile"),
    "gemm.wave_rounding": Prior(0.40, 0.50, *SHARE, "share of a partly filled last wave that is lost"),
    "gemm.split_k_s": Prior(4.1e-6, 0.20, *TIME, "splitting k over idle SMs and adding the parts"),
    "gemm.tile_bandwidth": Prior(2.7, 0.50, 0.1, 100.0, "bandwidth that one tile alone draws, against its SM's share"),
    "gemm.boost": Prior(0.15, 0.60, *BOOST, "time saved by kernels that end before the clock drops"),
    "gemm.boost_s": Prior(3e-4, 0.60, *LONG_TIME, "duration at which half of that is gone"),
    "gemm.bandwidth_efficiency": Prior(0.87, 0.07, *BANDWIDTH, "share of the data-sheet bandwidth on weights"),
    "gemm.overlap_gap": Prior(0.60, 0.30, *SHARE, "share of the shorter of compute and memory that is not hidden"),
    "gemm.overlap_gap_s": Prior(4e-5, 0.50, *SATURATION_TIME, "time at which that share saturates"),
    "gemm.misfit_slowdown": Prior(1.7, 0.50, *SLOWDOWN, "compute where a dimension is no multiple of 8"),
    "gemm.odd_slowdown": Prior(1.8, 0.40, *SLOWDOWN, "more compute where it is odd"),
    "gemm.cache_rate": Prior(1.0, 0.10, *SPEEDUP, "cached reads, against 40 GB/s an SM (hot loops only)"),
    "gemm.cache_share": Prior(0.90, 0.20, *PART_OF_CACHE, "part of the cache that a loop may fill (hot loops only)"),
    "gemm.cache_width": Prior(0.10, 0.30, *CLIFF, "relative half-width of that cliff (hot loops only)"),
    "prefill.floor_s": Prior(3e-6, 0.40, *TIME, "shortest attention kernel"),
    "prefill.compute_efficiency": Prior(0.57, 0.20, *RATE, "share of the dense peak at head_dim 128"),
    "prefill.efficiency_64": Prior(0.72, 0.25, *RELATIVE_RATE, "head_dim up to 64 against 128"),
    "prefill.efficiency_192": Prior(0.90, 0.20, *RELATIVE_RATE, "head_dim 129 to 192 against 128"),
    "prefill.efficiency_256": Prior(0.85, 0.20, *RELATIVE_RATE, "head_dim above 192 against 128"),
    "prefill.prologue_columns": Prior(60.0, 0.80, *COLUMNS, "key columns to fill and drain a tile"),
    "prefill.window_columns": Prior(96.0, 0.70, *COLUMNS, "columns a windowed tile reads beyond its window"),
    "prefill.tile_s": Prior(1e-6, 1.0, *TIME, "fixed time of a tile on its SM"),
    "prefill.longest_tile": Prior(0.50, 0.50, 1e-3, 4.0, "longest tile alone, against its share of the throughput"),
    "prefill.tail": Prior(0.50, 0.50, *SHARE, "share of the shorter of work and longest tile that is added"),
    "prefill.bandwidth_efficiency": Prior(0.80, 0.15, *BANDWIDTH, "share of the bandwidth"),
    "prefill.kv_passes": Prior(3.0, 0.40, 0.1, 20.0, "passes over keys and values"),
    "prefill.write_s": Prior(1e-9, 1.0, 1e-13, 1e-5, "a block of threads that writes a token to the cache"),
    "prefill.overlap_gap": Prior(0.50, 0.40, *SHARE, "share of the shorter of compute and memory not hidden"),
    "prefill.overlap_gap_s": Prior(5e-4, 0.80, *SATURATION_TIME, "time at which that share saturates"),
    "prefill.boost": Prior(0.12, 0.50, *BOOST, "time saved by kernels that end before the clock drops"),
    "prefill.boost_s": Prior(1e-3, 0.80, *LONG_TIME, "duration at which half of that is gone"),
    "prefill.cache_speedup": Prior(2.0, 0.50, *SPEEDUP, "extra read rate of cached operands (hot loops only)"),
    "prefill.cache_share": Prior(0.70, 0.40, *PART_OF_CACHE, "part of the cache that stays resident (hot loops only)"),
    "prefill.cache_width": Prior(0.35, 0.30, *CLIFF, "relative half-width of that transition (hot loops only)"),
    "decode.floor_s": Prior(3e-6, 0.40, *TIME, "shortest attention kernel"),
    "decode.bandwidth_efficiency": Prior(0.91, 0.10, *BANDWIDTH, "share of the bandwidth on the KV cache"),
    "decode.min_context": Prior(64.0, 0.50, *POSITIONS, "positions of the smallest KV block"),
    "decode.wave_s": Prior(2e-6, 0.80, *TIME, "one wave of tiles beyond its reads"),
    "decode.head_wave_s": Prior(1e-7, 1.0, *TIME, "the same for each query head"),
    "decode.split_s": Prior(2.5e-6, 0.70, *TIME, "second kernel that merges the parts of a split context"),
    "decode.split_context": Prior(128.0, 0.50, 1.0, 65536.0, "context from which it is split"),
    "decode.idle_split": Prior(0.011, 1.0, *IDLE, "slow-down at one tile of 128 with the context split"),
    "decode.idle_whole": Prior(0.05, 1.2, *IDLE, "slow-down at one tile of 128 with one tile a head"),
    "decode.window_whole": Prior(1.0, 0.0, *SHARE, "1: windowed layers get one tile a query head, 0: packed"),
    "decode.compute_efficiency": Prior(0.50, 0.30, *RATE, "share of the dense peak"),
    "decode.overlap_gap": Prior(0.18, 0.50, *SHARE, "share of the shorter of compute and memory not hidden"),
    "decode.cache_speedup": Prior(2.0, 0.50, *SPEEDUP, "extra read rate of cached operands (hot loops only)"),
    "decode.cache_share": Prior(0.70, 0.40, *PART_OF_CACHE, "part of the cache that stays resident (hot loops only)"),
    "decode.cache_width": Prior(0.35, 0.30, *CLIFF, "relative half-width of that transition (hot loops only)"),
    "pointwise.floor_s": Prior(2.2e-6, 0.30, *TIME, "shortest pointwise kernel"),
    "pointwise.bandwidth_efficiency": Prior(
        0.80, 0.20, *BANDWIDTH, "share of the bandwidth of large pointwise kernels"
    ),
    "pointwise.cache_share": Prior(0.30, 0.50, 0.01, 1.0, "part of the cache that holds a chain's values"),
    "pointwise.cache_speedup": Prior(3.0, 0.30, 1.0, 20.0, "last-level cache over DRAM bandwidth: 2-5 on GPUs"),
    "pointwise.strided_rate": Prior(0.35, 0.40, *SHARE, "rate of that cache through views that are not contiguous"),
    "pointwise.summed_s": Prior(5e-10, 0.50, *VALUE_TIME, "one more value in a row that a norm adds up"),
    "pointwise.walked_s": Prior(1.5e-7, 0.50, *TIME, "one more value that a thread walks in a kernel over views"),
}

# Of attention that writes the KV cache as well, a serving framework's: nothing of the sort in PyTorch.
SERVED_ONLY = ("prefill.write_s",)
# Of PyTorch's kernels over views, where a calibration saw them: none of the sort is published.
PYTORCH_ONLY = ("pointwise.walked_s",)

CPU_PRIORS: dict[str, Prior] = {
    "cpu.compute_efficiency": Prior(0.90, 0.30, *RATE, "share of the measured peak that large products sustain"),
    "cpu.weight_bandwidth": Prior(0.80, 0.40, *STREAM, "share of the measured read bandwidth on weights"),
    "cpu.near_cache": Prior(0.06, 0.70, *PART_OF_CACHE, "share of the cache: weights half found near by a second row"),
    "cpu.repack": Prior(1.5, 0.70, 0.01, 20.0, "more passes over the weights where a product repacks them"),
    "cpu.repack_rows": Prior(4.0, 0.0, *ROWS, "rows from which a product repacks its weights"),
    "cpu.call_s": Prior(1.0e-5, 1.0, *TIME, "fixed time of a product that repacks"),
    "cpu.output_s": Prior(3.0e-9, 1.0, *VALUE_TIME, "time to start on one row of the weights otherwise"),
    "cpu.misfit_slowdown": Prior(1.05, 0.10, *SLOWDOWN, "compute where a dimension is no multiple of 8"),
    "cpu.overlap_gap": Prior(0.80, 0.30, *SHARE, "share of the shorter of compute and memory that is not hidden"),
    "cpu.prefill_efficiency": Prior(0.40, 0.60, 0.005, 20.0, "attention in prefill: share of the measured peak"),
    "cpu.attention_rows": Prior(4.0, 0.50, 0.01, 100.0, "packing a key for a block of queries, in queries of one"),
    "cpu.decode_efficiency": Prior(0.06, 0.60, 0.001, 20.0, "attention in decode: share of the measured peak"),
    "cpu.cache_bandwidth": Prior(0.80, 0.40, *STREAM, "share of the measured read bandwidth on the KV cache"),
    "cpu.pointwise_bandwidth": Prior(0.80, 0.60, 0.01, 20.0, "pointwise traffic over the read bandwidth; caches help"),
    # Of recurrent layers; values from one Zen 5 core, PyTorch 2.13, taken operator by operator.
    "cpu.conv_call_s": Prior(2.5e-4, 0.50, *TIME, "fixed time of a depthwise convolution, its code cold"),
    "cpu.conv_bandwidth": Prior(0.13, 0.40, *TRAFFIC, "traffic of a depthwise convolution over the read bandwidth"),
    "cpu.scan_bandwidth": Prior(0.30, 0.40, *TRAFFIC, "traffic of a scan's tensor operators over the read bandwidth"),
    "cpu.solve_efficiency": Prior(0.15, 0.40, 0.005, 1.3, "share of the measured peak in triangular solves"),
}

# Profiles of before, or of other devices, have none of these, and none of their time.
OPTIONAL = frozenset({
    *PYTORCH_ONLY, "ggml.prompt_launch_s", "ggml.score_bytes", "ggml.row_tile", "ggml.query_tile", "ggml.narrow_cache",
    "ggml.two_rows_flops_per_s", "ggml.four_rows_flops_per_s", "ggml.eight_rows_flops_per_s",
})  # fmt: skip
# Of llama.cpp: the fit over published runs has its own hierarchy, so that only the bounds and the meanings count here.
GGML_PRIORS: dict[str, Prior] = {
    "ggml.bandwidth_efficiency": Prior(0.7, 0.3, *TRAFFIC, "share of the data-sheet bandwidth on weights"),
    "ggml.vector_flops_per_s": Prior(1e12, 0.5, *FLOPS_PER_S, "arithmetic of up to 8 rows, unpacking included, FLOP/s"),
    "ggml.product_flops_per_s": Prior(1e13, 0.5, *FLOPS_PER_S, "arithmetic of more rows, FLOP/s"),
    "ggml.attention_ratio": Prior(0.5, 0.5, *RATIO, "attention of a prompt: rate against that of products"),
    "ggml.cache_efficiency": Prior(0.4, 0.5, 1e-3, 20.0, "share of the bandwidth on the KV cache"),
    "ggml.token_attention_flops_per_s": Prior(1e12, 1.0, 1e7, 1e17, "attention of one token: arithmetic, FLOP/s"),
    "ggml.unpack_passes": Prior(0.5, 0.7, 1e-4, 100.0, "passes over 16-bit weights in a product of more rows"),
    "ggml.launch_s": Prior(3e-6, 0.7, *TIME, "time of a product with the small operators around it"),
    "ggml.prompt_launch_s": Prior(1e-5, 0.7, *TIME, "more of it for a product of more than 8 rows"),
    "ggml.score_bytes": Prior(30.0, 1.0, 1e-6, 1e4, "bytes moved for each score of a prompt's attention"),
    "ggml.two_rows_flops_per_s": Prior(5e10, 1.0, *FLOPS_PER_S, "products of 2 rows, reading included, FLOP/s"),
    "ggml.four_rows_flops_per_s": Prior(7e10, 1.0, *FLOPS_PER_S, "products of 4 rows, reading included, FLOP/s"),
    "ggml.eight_rows_flops_per_s": Prior(9e10, 1.0, *FLOPS_PER_S, "products of 8 rows, reading included, FLOP/s"),
    "ggml.row_tile": Prior(4.0, 1.0, *ROWS, "rows multiplied at once by packed weights, what is left one by one"),
    "ggml.narrow_cache": Prior(1.0, 1.0, *RATIO, "more time to read a KV cache of few values a position"),
    "ggml.query_tile": Prior(64.0, 1.0, 1.0, 4096.0, "queries of a prompt computed together, fewer one by one"),
}

RUNTIME_PRIORS: dict[str, Prior] = {
    "launch_s": Prior(1.0e-5, 0.7, *LAUNCH_TIME, "host time of one operator: 5-30 us in eager PyTorch"),
    "block_s": Prior(1.0e-4, 0.9, *BLOCK_TIME, "host time of one block beyond its operators"),
    "prefill_block_s": Prior(3.0e-5, 0.9, *BLOCK_TIME, "more of it in prefill: a new cache layer"),
    "pass_s": Prior(4.0e-4, 0.7, *PASS_TIME, "host time of a pass: masks, positions, synchronisation"),
    "token_s": Prior(1.0e-4, 0.9, *PASS_TIME, "host time of argmax and appending the token"),
    "gap_s": Prior(4e-7, 0.70, 1e-9, 1e-3, "device time between two kernels beyond their floors"),
    "overlap_loss": Prior(0.02, 0.70, *SHARE, "share of the shorter timeline that is not hidden"),
}

# Of a serving engine alone: scheduler and sampler between two passes. Fitted to vLLM 0.6.3 on an A100, batch 1
# (QwenLM/Qwen3@a912d239, 16 bits: 1.1 to 1.7 ms a pass) and to vLLM on an H100, batch 1 to 64 (argonne-lcf/
# LLM-Inference-Bench@4211f5d: 1.4 ms and 0.04 ms a sequence; an A100 of 40 GB there, by the kernels of one of
# 80 GB: 0.6 and 0.05 ms).
ENGINE_PRIORS: dict[str, Prior] = {
    "step_s": Prior(1.3e-3, 0.40, *LONG_TIME, "time of an engine between two passes"),
    "sequence_s": Prior(4e-5, 0.60, *TIME, "more of it for each sequence of the batch"),
}

# Of a device graph alone, where it was seen: on an H100.
GRAPH_PRIORS: dict[str, Prior] = {
    "unsplit_gap_s": Prior(3e-7, 0.70, 1e-9, 1e-3, "more of the gap in blocks of which no product splits k"),
}


def device_priors(names: Iterable[str]) -> dict[str, Prior]:
    """The table that the coefficients of a device belong to: a CPU's are named `cpu.…`, llama.cpp's `ggml.…`."""
    first = next(iter(names), "").partition(".")[0]
    return {"cpu": CPU_PRIORS, "ggml": GGML_PRIORS}.get(first, DEVICE_PRIORS)


def prior_values(priors: Mapping[str, Prior]) -> dict[str, float]:
    """Name → prior value."""
    return {name: prior.value for name, prior in priors.items()}
