"""Device time of a matrix product: tiles, waves, split-K, alignment, memory, floor.

The two tile sizes stand for a library's kernel choice: large tiles for big problems, small ones (split along k if
SMs would idle) for narrow ones; the better of the two is what a library picks. Coefficients absorb the rest.
"""

from .arrays import Array, ceil, maximum, minimum
from .coefficients import GemmCoefficients, Sheet
from .ops import OpCost
from .transformer import misfit, oddness

LARGE_TILE = (128.0, 256.0)  # tokens × outputs
SMALL_TILE = (64.0, 64.0)
MMA_ROWS = 16.0  # a tensor-core instruction works on 16 rows: fewer tokens than that cost the same


def gemm_seconds(op: OpCost, c: GemmCoefficients, sheet: Sheet, *, hot: bool = False) -> tuple[Array, Array]:
    """(seconds, compute seconds) of the products of `op`; floor + smooth maximum of compute and memory, times repeat.

    `hot` is a microbenchmark that repeats the same operands, which then partly live in the cache; a model's weights
    are cold.
    """
    compute = compute_seconds(op.m, op.n, op.k, c, sheet) * alignment(op.n, op.k, c)
    nbytes = op.bytes * (1.0 / op.repeat)
    memory = nbytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    if hot:
        memory = memory * hot_factor(nbytes, sheet.cache_bytes, c.cache_share, c.cache_width, c.cache_speedup)
    seconds = c.floor_s + joined(compute, memory, c.overlap_gap, c.overlap_gap_s)
    return seconds * op.repeat, compute * op.repeat


def compute_seconds(m: Array, n: Array, k: Array, c: GemmCoefficients, sheet: Sheet) -> Array:
    """Tensor-core seconds of one product: the better of two tilings, less what a short kernel gains at boost clocks."""
    k_steps = k + c.prologue_k
    sms = sheet.sm_count
    per_cell = 2.0 * sms / (sheet.peak_flops_per_s * c.compute_efficiency)  # of one k step of one output, a full wave
    rows, columns = LARGE_TILE
    waves = ceil(n * (1.0 / columns)) * ceil(m * (1.0 / rows)) / sms
    rounded = waves + c.wave_rounding * (ceil(waves) - waves)
    large = rounded * (per_cell * rows * columns)
    rows, columns = SMALL_TILE
    used = minimum(rows, ceil(m * (1.0 / MMA_ROWS)) * MMA_ROWS)
    small_wave = (per_cell / c.small_tile_efficiency) * used * columns
    balanced = ceil(n * (1.0 / columns)) * (ceil(m * (1.0 / rows)) * small_wave / sms)
    # Below one wave: leave SMs idle for a whole wave's time, or split k over them at a fixed cost.
    small = maximum(balanced * k_steps, minimum(k_steps * small_wave, balanced * k_steps + c.split_k_s))
    seconds = minimum(large * k_steps, small)
    return seconds - (c.boost * c.boost_s) * seconds / (seconds + c.boost_s)


def alignment(n: Array, k: Array, c: GemmCoefficients) -> Array:
    """Factor on compute where n or k is no multiple of 8, and a larger one where it is odd."""
    slower = 1.0 + (c.misfit_slowdown - 1.0) * maximum(misfit(n), misfit(k))
    return slower * (1.0 + (c.odd_slowdown - 1.0) * maximum(oddness(n), oddness(k)))


def joined(compute: Array, memory: Array, gap: float, gap_s: float) -> Array:
    """The longer of compute and memory, and a saturating share of the shorter."""
    shorter = minimum(compute, memory)
    return maximum(compute, memory) + (gap * gap_s) * shorter / (shorter + gap_s)


def hot_factor(nbytes: Array, cache_bytes: float, share: float, width: float, speedup: float) -> Array:
    """Factor on memory time of a hot loop: operands well below `share` of the cache are read 1 + speedup as fast."""
    hit = minimum(maximum(0.5 + (1.0 - nbytes / (share * cache_bytes)) / (2.0 * width), 0.0), 1.0)
    return 1.0 - hit * (speedup / (1.0 + speedup))
