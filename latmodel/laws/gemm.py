"""Device time of a matrix product: tiles, waves, split-K, alignment, memory, floor.

The two tile sizes stand for a library's kernel choice: large tiles for big problems, small ones for narrow ones,
either split along k if SMs would idle; the best of these is what a library picks. Coefficients absorb the rest.
"""

from typing import NamedTuple

from ..arrays import Array, ceil, indicator, maximum, minimum
from ..model.alignment import misfit, oddness
from ..model.ops import MMA_ROWS, OpCost
from .coefficients import GemmCoefficients, Sheet


class Tile(NamedTuple):
    """Tokens × outputs that `sms` multiprocessors work on side by side."""

    rows: float
    columns: float
    sms: float = 1.0


LARGE_TILE = Tile(128.0, 256.0)
SMALL_TILE = (64.0, 64.0)
VALUE_BYTES = 2.0  # of a weight on its way to the tensor cores, a copy in 16 bits where it is stored in fewer
SUM_BYTES = 4.0  # partial sums are float32
ROUGH_ROWS = 128.0  # of a tile of the kernels for sizes that are no multiple of 8
# Of a published timing that repeats a product (hot loops only). It goes round several weights with one input: those of
# the L40S and the RTX PRO 6000 fall off a cliff where a weight is a sixth of the cache. Above it the cache still keeps
# 0.3 of its share: what fits to all rows of the H100, H200, B200 and RTX PRO 6000 agree on (0.3 to 0.4).
HOT_COPIES = 6.0
SURVIVING = 0.3
# What a multiprocessor reads from the cache beside all others: a round figure near what is told of Ada and Hopper cards
# (some 5 TB/s in all; recalled, not looked up), which `cache_rate` scales and every fit to hot loops finds anew.
CACHE_BYTES_PER_S = 40e9


def gemm_seconds(
    op: OpCost, c: GemmCoefficients, sheet: Sheet, hot: bool = False, aligned: bool = False, tile: Tile = LARGE_TILE
) -> tuple[Array, Array]:
    """(seconds, compute seconds) of the products of `op` beyond their floors.

    t = joined(compute, memory): the longer and a share of the shorter; memory = (weight + activation bytes) /
    (bandwidth · bandwidth_efficiency); compute as in `compute_seconds`, times what rough sizes cost (`_rough_seconds`).
    A weight, an input and an output are each moved once. With P peak FLOP/s, S multiprocessors and B bytes/s of the
    data sheet, all efficiencies are shares of those (NVIDIA, "Matrix Multiplication Background User's Guide").

    `hot` is a microbenchmark that repeats the same operands, which then partly live in the cache; a model's weights
    are cold. `aligned` says that n and k are known to be multiples of 8, which saves looking.
    """
    compute = (
        compute_seconds(op.m, op.n, op.k, c, sheet, tile, _row_step(op, sheet))
        if aligned
        else _rough_seconds(op, c, sheet, tile)
    )
    per_byte = 1.0 / (op.repeat * sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    memory = (op.weight_bytes + op.activation_bytes) * per_byte
    if hot:
        from_cache = 1.0 / (op.repeat * sheet.sm_count * CACHE_BYTES_PER_S * c.cache_rate)
        memory = memory - cached_bytes(op, c, sheet.cache_bytes) * maximum(per_byte - from_cache, 0.0)
    seconds = joined(compute, memory, c.overlap_gap, c.overlap_gap_s)
    once = type(op.repeat) is float and op.repeat == 1.0
    return (seconds, compute) if once else (seconds * op.repeat, compute * op.repeat)


def _rough_seconds(op: OpCost, c: GemmCoefficients, sheet: Sheet, tile: Tile) -> Array:
    """Compute seconds where n or k may be no multiple of 8: of an older, slower kernel, whose tiles have 128 rows.

    compute(⌈m/128⌉·128, n, k) · misfit_slowdown where n or k is no multiple of 8, · odd_slowdown besides where one is
    odd. A single row goes to a matrix-vector kernel, which does not care. (Seen on an H100, cuBLAS 13:
    `cutlass_80_…_align2` for multiples of 2, `cutlass_75_…_align1` for odd sizes; 2 to 128 rows take one time.)
    """
    coarse, odd = roughness(op.n, op.k)
    padding = ceil(op.m * (1.0 / ROUGH_ROWS)) * ROUGH_ROWS - op.m
    rows = op.m + coarse * indicator(op.m > 1.0, op.m) * padding
    slowdown = (1.0 + (c.misfit_slowdown - 1.0) * coarse) * (1.0 + (c.odd_slowdown - 1.0) * odd)
    return compute_seconds(rows, op.n, op.k, c, sheet, tile, _row_step(op, sheet)) * slowdown


def _row_step(op: OpCost, sheet: Sheet) -> Array:
    """Rows that one instruction works on: of the product's kernel, and no more than of the device's matrix units."""
    return op.row_step if sheet.matrix_rows == MMA_ROWS else minimum(op.row_step, sheet.matrix_rows)


def compute_seconds(
    m: Array,
    n: Array,
    k: Array,
    c: GemmCoefficients,
    sheet: Sheet,
    tile: Tile = LARGE_TILE,
    row_step: Array = MMA_ROWS,
) -> Array:
    """Tensor-core seconds of one product: the better of two tilings, less what a short kernel gains at boost clocks.

    With cell = 2·S / (P · compute_efficiency) and k' = k + prologue_k, one tile of 64 × 64 (16 to 64 rows of it used)
    takes one = k' · max(cell · rows · 64 / small_tile_efficiency, load), load = 64 columns · 2 bytes · S / (B ·
    tile_bandwidth): what one SM alone can load. All tiles balanced over the SMs take b = ⌈n/64⌉ · ⌈m/64⌉ · k' · cell ·
    rows · 64 / (small_tile_efficiency · S). Small tiles either leave SMs idle for the time of one tile or split k over
    them at a fixed cost: small = max(b, min(one, b + split_k_s)). With c the lesser of that and `_large_tiles`, the
    answer is c − boost · boost_s · c / (c + boost_s). Up to 16 rows small tiles always win (they pay for 16 rows, large
    tiles for 128) and large tiles are not priced.
    """
    sms = sheet.sm_count
    per_cell = 2.0 * sms / (sheet.peak_flops_per_s * c.compute_efficiency)  # of one k step of one output, a full wave
    k_steps = k + c.prologue_k
    rows, columns = SMALL_TILE
    used = minimum(rows, ceil(m * (1.0 / row_step)) * row_step)
    wave_s = (per_cell / c.small_tile_efficiency) * used * columns
    load_s = (columns * VALUE_BYTES * sms) / (sheet.bandwidth_bytes_per_s * c.tile_bandwidth)
    balanced = ceil(n * (1.0 / columns)) * k_steps * (ceil(m * (1.0 / rows)) * wave_s / sms)
    seconds = maximum(balanced, minimum(k_steps * maximum(wave_s, load_s), balanced + c.split_k_s))
    if type(m) is not float or m > MMA_ROWS:
        seconds = minimum(seconds, _large_tiles(m, n, k_steps * per_cell, c, sheet, tile))
    return seconds * (1.0 - (c.boost * c.boost_s) / (seconds + c.boost_s))


def _large_tiles(m: Array, n: Array, cell_s: Array, c: GemmCoefficients, sheet: Sheet, tile: Tile) -> Array:
    """Seconds in large tiles (128 × 256 by default), `cell_s` = cell · k' for an output.

    With W = cell_s · 128 · 256 for a wave and w = ⌈m/128⌉ · ⌈n/256⌉ / S waves, unsplit: W · max(1, w + wave_rounding ·
    (⌈w⌉ − w)). Or k is split in s parts: half a part's time is lost to rounding, W/(2s), and each part writes and reads
    4-byte sums of all outputs, s · sums with sums = 8·m·n / B. The best s costs √(2 · W · sums) beyond the balanced
    time: w·W + split_k_s + √(2 · W · sums). The lesser of the two is taken.
    """
    wave_s = cell_s * (tile.rows * tile.columns / tile.sms)
    waves = ceil(n * (1.0 / tile.columns)) * ceil(m * (1.0 / tile.rows)) * (tile.sms / sheet.sm_count)
    rounded = waves * (1.0 - c.wave_rounding) + ceil(waves) * c.wave_rounding
    sums_s = m * n * (2.0 * SUM_BYTES / sheet.bandwidth_bytes_per_s)
    split = waves * wave_s + c.split_k_s + (2.0 * wave_s * sums_s) ** 0.5
    # No tile that is not split is done before its own time, however many SMs idle.
    return minimum(maximum(rounded, 1.0) * wave_s, split)


def roughness(n: Array, k: Array) -> tuple[Array, Array]:
    """(1 where n or k is no multiple of 8, 1 where one of them is odd), else 0."""
    return maximum(misfit(n), misfit(k)), maximum(oddness(n), oddness(k))


def joined(compute: Array, memory: Array, gap: float, gap_s: float) -> Array:
    """The longer of compute and memory, and a share of the shorter that saturates: gap · s / (1 + s / gap_s)."""
    shorter = minimum(compute, memory)
    return maximum(compute, memory) + shorter * (gap * gap_s) / (shorter + gap_s)


def cached_bytes(op: OpCost, c: GemmCoefficients, cache_bytes: float) -> Array:
    """Bytes of the products of `op` that a hot loop finds in the cache.

    Of the weights stay + (1 − stay) · 0.3 · min(C / loop, 1), stay = resident(loop), loop = 6 · weight + activations;
    of the activations resident(weight + activations). A cache that evicts what was used longest ago keeps all weights
    that the loop goes round, or, where they do not fit, hardly any. The input comes back with every weight: it stays if
    one weight and the activations fit.
    """
    weight, activations = op.weight_bytes / op.repeat, op.activation_bytes / op.repeat
    loop_bytes = HOT_COPIES * weight + activations
    stays = resident(loop_bytes, cache_bytes, c.cache_share, c.cache_width)
    stays = stays + (1.0 - stays) * SURVIVING * minimum(cache_bytes / loop_bytes, 1.0)
    return op.weight_bytes * stays + op.activation_bytes * resident(
        weight + activations, cache_bytes, c.cache_share, c.cache_width
    )


def resident(nbytes: Array, cache_bytes: float, share: float, width: float) -> Array:
    """Part of what a hot loop uses that stays: all well below `share` of the cache, nothing well above it.

    clip(1/2 + (1 − nbytes / (share · C)) / (2 · width), 0, 1).
    """
    return minimum(maximum(0.5 + (1.0 - nbytes / (share * cache_bytes)) / (2.0 * width), 0.0), 1.0)


def hot_factor(nbytes: Array, cache_bytes: float, share: float, width: float, speedup: float) -> Array:
    """Factor on memory time of a hot loop: operands that stay in the cache are read 1 + speedup times as fast."""
    return 1.0 - resident(nbytes, cache_bytes, share, width) * (speedup / (1.0 + speedup))
