"""A device and a runtime with round numbers, so that answers are done by hand."""

from latmodel.laws.coefficients import (
    DecodeCoefficients,
    DeviceCoefficients,
    GemmCoefficients,
    PointwiseCoefficients,
    PrefillCoefficients,
    RuntimeCoefficients,
    Sheet,
)
from latmodel.model.architecture import Architecture, uniform
from latmodel.model.formats import Numbers
from latmodel.predict.target import Target, Work
from latmodel.runtimes.transformers_eager import TRANSFORMERS

# 1e12 FLOP/s, 1e11 B/s, ten SMs, a cache too small to hold anything.
SHEET = Sheet(peak_flops_per_s=1e12, bandwidth_bytes_per_s=1e11, sm_count=10.0, cache_bytes=1.0)
TWO_BYTES = Numbers(2.0, 2.0, 2.0)

# Every effect off but tiles, waves and the plain roofline: efficiencies 1, floors, gaps, prologues and boost 0.
GEMM = GemmCoefficients(
    floor_s=0.0, compute_efficiency=1.0, small_tile_efficiency=1.0, prologue_k=0.0, wave_rounding=1.0, split_k_s=0.0, tile_bandwidth=1e9,
    boost=0.0, boost_s=1.0, bandwidth_efficiency=1.0, overlap_gap=0.0, overlap_gap_s=1.0, misfit_slowdown=2.0,
    odd_slowdown=3.0, cache_rate=1.0, cache_share=1.0, cache_width=0.5,
)  # fmt: skip
PREFILL = PrefillCoefficients(
    floor_s=0.0, compute_efficiency=1.0, efficiency_64=1.0, efficiency_192=1.0, efficiency_256=1.0,
    prologue_columns=0.0, window_columns=0.0, tile_s=0.0, longest_tile=0.0, tail=0.0, bandwidth_efficiency=1.0, kv_passes=1.0,
    write_s=0.0, overlap_gap=0.0, overlap_gap_s=1.0, boost=0.0, boost_s=1.0, cache_speedup=1.0, cache_share=1.0, cache_width=0.5,
)  # fmt: skip
DECODE = DecodeCoefficients(
    floor_s=0.0, bandwidth_efficiency=1.0, min_context=1.0, wave_s=0.0, head_wave_s=0.0, split_s=0.0,
    split_context=1e9, idle_split=0.0, idle_whole=0.0, window_whole=0.0, compute_efficiency=1.0, overlap_gap=0.0,
    cache_speedup=1.0, cache_share=1.0, cache_width=0.5,
)  # fmt: skip
POINTWISE = PointwiseCoefficients(
    floor_s=0.0, bandwidth_efficiency=1.0, cache_share=1.0, cache_speedup=1.0, strided_rate=1.0, summed_s=0.0
)
DEVICE = DeviceCoefficients(GEMM, PREFILL, DECODE, POINTWISE)
# 1e-6 s a launch, 1e-5 s a block, 1e-4 s a pass.
RUNTIME = RuntimeCoefficients(
    launch_s=1e-6, block_s=1e-5, prefill_block_s=0.0, pass_s=1e-4, token_s=1e-3, gap_s=0.0, overlap_loss=0.0
)
TARGET = Target(SHEET, DEVICE, RUNTIME, TRANSFORMERS)


def model(**changes: float) -> Architecture:
    """A small Llama-shaped model."""
    sizes = {
        "num_hidden_layers": 4.0, "hidden_size": 256.0, "intermediate_size": 512.0, "num_attention_heads": 4.0,
        "num_key_value_heads": 2.0, "head_dim": 64.0, "vocab_size": 1024.0, "tie_word_embeddings": 1.0,
    }  # fmt: skip
    return uniform(**{**sizes, **changes})


def work(**changes: float) -> Work:
    """128 prompt tokens and 32 new ones, one sequence."""
    return Work(prompt=128.0, new=32.0, batch=1.0, logits_all=False, numbers=TWO_BYTES)._replace(**changes)
