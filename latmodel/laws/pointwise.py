"""Device time of pointwise kernels: traffic, of which a cache holds some between two passes."""

from ..arrays import Array, maximum
from ..model.ops import OpCost
from .coefficients import PointwiseCoefficients, Sheet

# Share of the pointwise rate at which PyTorch repeats the heads of a cache (`expand`, `reshape`: a view walked value by
# value). An A100 moves 0.56 TB/s so and 1.6 otherwise: what Qwen2.5 7B and 32B (groups of 7 and 5) take longer with
# every 1000 tokens of context, both within 1 % (QwenLM/Qwen3@a912d239, Transformers 4.46, flash attention 2).
# Concatenation runs at the pointwise rate (RTX 3090, hbfreed/inference-pareto).
COPY_RATE = 0.34


def copy_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> Array:
    """Seconds of copies beyond their floors: as pointwise kernels from a cache, at COPY_RATE of them from memory.

    max(nbytes / cache rate, nbytes / copy rate − held), `held` what the cache saves of it, as of `pointwise_seconds`.
    """
    plain = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached, per_byte = plain / c.cache_speedup, plain / COPY_RATE
    held_s = (c.cache_share * sheet.cache_bytes) * op.passes * (per_byte - cached)
    return maximum(op.activation_bytes * cached, op.activation_bytes * per_byte - held_s)


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> Array:
    """Seconds of pointwise kernels beyond their floors: what the cache holds between two passes is read from there.

    nbytes / cache rate + max(nbytes − held, 0) · (1 / memory rate − 1 / cache rate), with the maximum drawn outside;
    memory rate = B · bandwidth_efficiency, cache rate = cache_speedup times that (and strided_rate of it over views),
    held = passes · cache_share · C. At least summed_s for each value of a row that a norm adds up. Views that are not
    contiguous are walked value by value, slower than the cache gives them; one block of threads adds up a row, which
    takes its time however few rows there are.
    """
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached = per_byte / c.cache_speedup
    held_s = (c.cache_share * sheet.cache_bytes) * op.passes * (per_byte - cached)
    nbytes = op.activation_bytes
    walked = cached / c.strided_rate if op.strided else cached
    seconds = maximum(nbytes * walked, nbytes * per_byte - held_s)
    # A plain zero: nothing is summed.
    return seconds if type(op.k) is float and op.k == 0.0 else maximum(seconds, op.k * c.summed_s)
