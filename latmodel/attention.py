"""Device time of softmax attention that never writes its scores: flash attention in prefill, split-KV in decode."""

from .arrays import Array, ceil, maximum, minimum, where
from .coefficients import DecodeCoefficients, PrefillCoefficients, Sheet
from .gemm import hot_factor, joined
from .ops import AttentionShape, OpCost

QUERY_BLOCK = 128.0  # query rows of one tile


def prefill_seconds(op: OpCost, c: PrefillCoefficients, sheet: Sheet, *, hot: bool = False) -> tuple[Array, Array]:
    """(seconds, compute seconds) of causal attention over the new positions of each sequence.

    Tiles of `QUERY_BLOCK` queries a head each walk their causal (and windowed) key columns. Compute is the balanced
    total or the longest tile, with part of the shorter; memory the traffic of queries, keys, values and output.
    """
    a = shape_of(op)
    span = a.context if a.window is None else minimum(a.context, a.window)
    tiles = a.heads * (a.batch * ceil(a.tokens * (1.0 / QUERY_BLOCK)))
    relative = _relative_efficiency(a.head_dim, c)
    column_s = a.head_dim * (4.0 * QUERY_BLOCK / (sheet.peak_flops_per_s * c.compute_efficiency)) / relative
    mean_columns = span - 0.5 * minimum(span, a.tokens) * span / a.context
    work = tiles * (column_s * (mean_columns + c.prologue_columns) + c.tile_s / sheet.sm_count)
    work = work - (c.boost * c.boost_s) * work / (work + c.boost_s)
    longest = column_s * (c.longest_tile * sheet.sm_count * (span + c.prologue_columns)) + c.tile_s
    compute = maximum(work, longest) + c.tail * minimum(work, longest)
    per_value = op.cache_bytes * (0.5 * c.kv_passes)
    memory = (op.activation_bytes + per_value) * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    if hot:
        memory = memory * hot_factor(
            op.activation_bytes + per_value, sheet.cache_bytes, c.cache_share, c.cache_width, c.cache_speedup
        )
    return c.floor_s + joined(compute, memory, c.overlap_gap, c.overlap_gap_s), compute


def _relative_efficiency(head_dim: Array, c: PrefillCoefficients) -> Array:
    wide = where(head_dim > 192.0, c.efficiency_256, c.efficiency_192)
    return where(head_dim > 128.0, wide, where(head_dim > 64.0, 1.0, c.efficiency_64))


def decode_seconds(op: OpCost, c: DecodeCoefficients, sheet: Sheet, *, hot: bool = False) -> tuple[Array, Array]:
    """(seconds, compute seconds) of one decode step's attention over the cache.

    Affine in the context beyond the smallest block and the split point, so that its mean over a growing context is
    the mean of its ends. Grouped query heads share a tile and may split the context; multi-head attention does not.
    """
    a = shape_of(op)
    whole = (a.heads == a.kv_heads) * 1.0
    length = a.context if a.window is None else minimum(a.context, a.window)
    tiles = a.batch * a.kv_heads
    read = maximum(length, c.min_context)
    nbytes = op.cache_bytes * (read / a.seen)
    memory = nbytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    if hot:
        memory = memory * hot_factor(nbytes, sheet.cache_bytes, c.cache_share, c.cache_width, c.cache_speedup)
    idle = (c.idle_split + (c.idle_whole - c.idle_split) * whole) * sheet.sm_count
    memory = memory * (1.0 + idle / tiles)
    rows = maximum(a.heads, a.kv_heads * (16.0 + 48.0 * whole))  # query rows padded to a tensor-core tile
    compute = a.head_dim * rows * ((4.0 / (sheet.peak_flops_per_s * c.compute_efficiency)) * a.batch * read)
    split = (1.0 - whole) * ((tiles <= 0.8 * sheet.sm_count) * 1.0)
    merge = split * (c.split_s * minimum(maximum(length / c.split_context - 1.0, 0.0), 1.0))
    launch = tiles * (c.wave_s / sheet.sm_count) + a.heads * (a.batch * c.head_wave_s / sheet.sm_count)
    seconds = c.floor_s + launch + merge + maximum(compute, memory) + c.overlap_gap * minimum(compute, memory)
    return seconds, compute


def shape_of(op: OpCost) -> AttentionShape:
    """The dimensions of an attention operator."""
    assert op.attention is not None, "only attention operators have one"
    return op.attention
