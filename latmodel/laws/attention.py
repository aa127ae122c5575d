"""Device time of softmax attention that never writes its scores: flash attention in prefill, split-KV in decode."""

from ..arrays import Array, ceil, indicator, maximum, minimum, ordered, total
from ..model.ops import AttentionShape, OpCost
from .coefficients import DecodeCoefficients, PrefillCoefficients, Sheet
from .gemm import hot_factor, joined
from .terms import DecodeLaw

QUERY_BLOCK = 128.0  # query rows of one tile
# Tiles against which too few of them are counted; not the SM count, or more SMs would cost time.
FULL_TILES = 128.0
# Threads of the block that writes a token's keys and values to a paged cache: one a value of them, this many at most
# (vLLM, cache_kernels.cu, `reshape_and_cache_flash`). An SM holds few blocks that wide, so that tokens wait in turn.
WRITE_THREADS = 512.0
NO_WINDOW = 1e9  # in arrays of windows, the value that stands for none


def prefill_seconds(op: OpCost, c: PrefillCoefficients, sheet: Sheet, *, hot: bool = False) -> tuple[Array, Array]:
    """(seconds beyond the floor, compute seconds) of causal attention over the new positions of each sequence.

    With q heads of dimension d, s new positions and a context (or window) of `span`: T = q · batch · ⌈s/128⌉ tiles of
    128 queries walk columns = span − min(span, s) · span / (2 · context) key columns on average (half a square where
    all is new), each column 4 · 128 · d / (P · compute_efficiency) seconds, slower by head dimension (`_slowdown`):
    work = T · (column · (columns + window_columns where windowed + prologue_columns) + tile_s / S), less boost ·
    boost_s · work / (work + boost_s). The last queries see the whole span: longest = column · longest_tile · S · (span
    + prologue_columns) + tile_s. compute = max(work, longest) + tail · min(work, longest). memory = (queries and output
    + kv_passes · keys and values) / (B · bandwidth_efficiency). The two join as in `gemm.joined`. A kernel that writes
    the cache goes before: beyond its bytes it takes write_s for each full block of threads a token, min(g·d, 512)/512.
    Scores never leave the chip (FlashAttention; Dao et al. 2022, 2023).
    """
    a = shape_of(op)
    span = a.context if a.window is None else minimum(a.context, a.window)
    tiles = a.heads * (a.batch * ceil(a.tokens * (1.0 / QUERY_BLOCK)))
    column_s = (
        a.head_dim * _slowdown(a.head_dim, c) * (4.0 * QUERY_BLOCK / (sheet.peak_flops_per_s * c.compute_efficiency))
    )
    mean_columns = span - 0.5 * minimum(span, a.tokens) * span / a.context
    if a.window is not None:  # both edges of a window are masked inside a tile
        mean_columns = mean_columns + (a.window < a.context) * c.window_columns
    work = tiles * (column_s * (mean_columns + c.prologue_columns) + c.tile_s / sheet.sm_count)
    work = work - (c.boost * c.boost_s) * work / (work + c.boost_s)
    longest = column_s * (c.longest_tile * sheet.sm_count * (span + c.prologue_columns)) + c.tile_s
    longer, shorter = ordered(work, longest)
    compute = longer + c.tail * shorter
    per_value = op.cache_bytes * c.kv_passes
    memory = (op.activation_bytes + per_value) * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    if hot:
        memory = memory * hot_factor(
            op.activation_bytes + per_value, sheet.cache_bytes, c.cache_share, c.cache_width, c.cache_speedup
        )
    written = minimum(a.kv_heads * a.head_dim, WRITE_THREADS) * (a.batch * a.tokens * (c.write_s / WRITE_THREADS))
    return joined(compute, memory, c.overlap_gap, c.overlap_gap_s) + written, compute


def _slowdown(head_dim: Array, c: PrefillCoefficients) -> Array:
    """Time per FLOP against head_dim 128: 1/efficiency_64 up to 64, 1 up to 128, then of efficiency_192 and _256."""
    small, wide, widest = 1.0 / c.efficiency_64, 1.0 / c.efficiency_192, 1.0 / c.efficiency_256
    rises = ((64.0, 1.0 - small), (128.0, wide - 1.0), (192.0, widest - wide))
    return total([indicator(head_dim > above, head_dim) * rise for above, rise in rises]) + small


def decode_law(op: OpCost, c: DecodeCoefficients, sheet: Sheet, *, hot: bool = False) -> DecodeLaw:
    """What of decode attention does not depend on the context, so that both ends of a generation share it.

    With q heads in g groups and tiles = g · batch (or q · batch, `whole`): a position takes max(compute, memory) +
    overlap_gap · min of the two; memory = bytes / (B · bandwidth_efficiency) · (1 + idle · 128 / tiles), since few
    tiles cannot draw the full bandwidth; compute = 4 · d · batch · max(q, rows · groups) / (P · compute_efficiency),
    query rows padded to the 16 of a tensor-core instruction, where there are tensor cores. Fixed: tiles · wave_s / S +
    q · batch · head_wave_s / S. A context of n reads max(n, min_context) positions, and pays split_s for the kernel
    that merges the parts, phased in from one to two times split_context. Grouped query heads share a tile and may split
    the context over idle SMs (`idle_split`, Flash-Decoding; Dao et al. 2023); multi-head attention does not
    (`idle_whole`), nor do windowed layers where `window_whole` is 1 (flash attention 2).
    """
    a = shape_of(op)
    whole, tiles = decode_tiles(a, c.window_whole)
    position_bytes = op.cache_bytes / a.seen
    memory = position_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    if hot:
        nbytes = position_bytes * maximum(a.seen, c.min_context)
        memory = memory * hot_factor(nbytes, sheet.cache_bytes, c.cache_share, c.cache_width, c.cache_speedup)
    idle = (c.idle_split * FULL_TILES) + whole * ((c.idle_whole - c.idle_split) * FULL_TILES)
    memory = memory * (1.0 + idle / tiles)
    # Query rows are padded to those of a matrix instruction: once a group, or once a head.
    rows = maximum(a.heads, (a.kv_heads + whole * (a.heads - a.kv_heads)) * sheet.matrix_rows)
    compute = (a.head_dim * rows) * ((4.0 / (sheet.peak_flops_per_s * c.compute_efficiency)) * a.batch)
    launch = tiles * (c.wave_s / sheet.sm_count) + a.heads * (a.batch * c.head_wave_s / sheet.sm_count)
    longer, shorter = ordered(compute, memory)
    return DecodeLaw(launch, (1.0 - whole) * c.split_s, longer + c.overlap_gap * shorter, compute)


def decode_tiles(a: AttentionShape, window_whole: float) -> tuple[Array, Array]:
    """(1 where each query head is an unsplit tile of its own, else 0; tiles of one decode step).

    A kernel that splits any context (`AttentionShape.splits`) has no unsplit tiles.
    """
    if a.splits:
        return 0.0, a.kv_heads * a.batch
    whole = indicator(a.heads == a.kv_heads, a.heads)
    if a.window is None or window_whole == 0.0:
        return whole, a.kv_heads * a.batch
    windowed = indicator(a.window < NO_WINDOW, a.window) * window_whole
    return maximum(whole, windowed), (a.kv_heads + windowed * (a.heads - a.kv_heads)) * a.batch


def decode_seconds(
    op: OpCost, c: DecodeCoefficients, sheet: Sheet, *, hot: bool = False, law: DecodeLaw | None = None
) -> tuple[Array, Array]:
    """(seconds beyond the floor, compute seconds) of one decode step's attention over the cache; `law` if at hand."""
    a = shape_of(op)
    return (law or decode_law(op, c, sheet, hot=hot)).seconds(a.context, a.window, c)


def shape_of(op: OpCost) -> AttentionShape:
    """The dimensions of an attention operator."""
    assert op.attention is not None, "only attention operators have one"
    return op.attention
