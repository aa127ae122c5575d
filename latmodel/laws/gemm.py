"""Device time of a matrix product: tiles, waves, split-K, alignment, memory, floor.

The two tile sizes stand for a library's kernel choice: large tiles for big problems, small ones for narrow ones,
either split along k if SMs would idle; the best of these is what a library picks. Coefficients absorb the rest.
"""

from dataclasses import dataclass
from typing import NamedTuple

from ..arrays import Array, ceil, indicator, is_array, maximum, minimum, ordered
from ..model.alignment import misfit, oddness
from ..model.ops import MMA_ROWS, OpCost
from .coefficients import GemmCoefficients, Sheet
from .terms import COLD, Conditions, Terms


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
MAX_ROWS = 4096  # numbers of rows whose share of the work is kept


@dataclass(slots=True)
class _Rows:
    """What the arithmetic of a product owes to its rows alone."""

    one_s: Array  # of a k step of one small tile: to compute it on every SM, or to load it if that takes longer
    balanced_s: Array  # of a k step of one column of small tiles, spread over all SMs
    large_tiles: Array  # one below the other


class GemmLaw:
    """Matrix products on one device: the law, and what follows from the coefficients alone or from a number of rows.

    All products of a pass have the same rows, and passes of one workload recur: those are worked out once.
    """

    def __init__(self, c: GemmCoefficients, sheet: Sheet, tile: Tile = LARGE_TILE) -> None:
        self._c, self._sheet, self._tile = c, sheet, tile
        sms, bandwidth = sheet.sm_count, sheet.bandwidth_bytes_per_s
        self._cell_s = (
            2.0 * sms / (sheet.peak_flops_per_s * c.compute_efficiency)
        )  # a k step of one output, a full wave
        self._small_cell_s = self._cell_s / c.small_tile_efficiency
        self._load_s = (SMALL_TILE[1] * VALUE_BYTES * sms) / (bandwidth * c.tile_bandwidth)
        self._large_wave_cells = tile.rows * tile.columns / tile.sms
        self._large_waves = tile.sms / sms
        self._sum_s = 2.0 * SUM_BYTES / bandwidth
        self._bytes_per_s = bandwidth * c.bandwidth_efficiency
        self._boosted_s = c.boost * c.boost_s
        self._rows: dict[float, _Rows] = {}

    def terms(self, op: OpCost, known: Conditions = COLD[False]) -> Terms:
        """Seconds of the products of `op` beyond their floors, the floors, and seconds of the arithmetic alone.

        t = joined(compute, memory): the longer and a share of the shorter; memory = (weight + activation bytes) /
        (bandwidth · bandwidth_efficiency); compute as in `compute_seconds`, times what rough sizes cost
        (`_rough_seconds`). A weight, an input and an output are each moved once. With P peak FLOP/s, S multiprocessors
        and B bytes/s of the data sheet, all efficiencies are shares of those (NVIDIA, "Matrix Multiplication Background
        User's Guide").

        A microbenchmark (`known.hot`) repeats the same operands, which then partly live in the cache; a model's weights
        are cold. Where n and k are known to be multiples of 8 (`known.aligned`) nobody looks.
        """
        c, repeat = self._c, op.repeat
        compute = self.compute_seconds(op.m, op.n, op.k, op.row_step) if known.aligned else self._rough_seconds(op)
        per_byte = 1.0 / (repeat * self._bytes_per_s)
        memory = (op.weight_bytes + op.activation_bytes) * per_byte
        if known.hot:
            sheet = self._sheet
            from_cache = 1.0 / (repeat * sheet.sm_count * CACHE_BYTES_PER_S * c.cache_rate)
            memory = memory - cached_bytes(op, c, sheet.cache_bytes) * maximum(per_byte - from_cache, 0.0)
        seconds = joined(compute, memory, c.overlap_gap, c.overlap_gap_s)
        once = type(repeat) is float and repeat == 1.0
        return (seconds, c.floor_s, compute) if once else (seconds * repeat, repeat * c.floor_s, compute * repeat)

    def _rough_seconds(self, op: OpCost) -> Array:
        """Compute seconds where n or k may be no multiple of 8: of an older, slower kernel, whose tiles have 128 rows.

        compute(⌈m/128⌉·128, n, k) · misfit_slowdown where n or k is no multiple of 8, · odd_slowdown besides where one
        is odd. A single row goes to a matrix-vector kernel, which does not care. (Seen on an H100, cuBLAS 13:
        `cutlass_80_…_align2` for multiples of 2, `cutlass_75_…_align1` for odd sizes; 2 to 128 rows take one time.)
        """
        c, (coarse, odd) = self._c, roughness(op.n, op.k)
        padding = ceil(op.m * (1.0 / ROUGH_ROWS)) * ROUGH_ROWS - op.m
        rows = op.m + coarse * indicator(op.m > 1.0, op.m) * padding
        slowdown = (1.0 + (c.misfit_slowdown - 1.0) * coarse) * (1.0 + (c.odd_slowdown - 1.0) * odd)
        return self.compute_seconds(rows, op.n, op.k, op.row_step) * slowdown

    def compute_seconds(self, m: Array, n: Array, k: Array, row_step: Array = MMA_ROWS) -> Array:
        """Tensor-core seconds of one product: the better of two tilings, less what short kernels gain at boost clocks.

        With cell = 2·S / (P · compute_efficiency) and k' = k + prologue_k, one tile of 64 × 64 (16 to 64 rows of it
        used: `row_step` at a time, and no more than the device's matrix units do; of a single row as in `_of_rows`)
        takes one = k' · max(cell · rows · 64 / small_tile_efficiency, load), load = 64 columns · 2 bytes · S / (B ·
        tile_bandwidth): what one SM alone can load. All tiles balanced over the SMs take b = ⌈n/64⌉ · ⌈m/64⌉ · k' ·
        cell · rows · 64 / (small_tile_efficiency · S). Small tiles either leave SMs idle for the time of one tile or
        split k over them at a fixed cost: small = max(b, min(one, b + split_k_s)). With c the lesser of that and
        `_in_large_tiles`, the answer is c − boost · boost_s · c / (c + boost_s). Up to 16 rows small tiles always win
        (they pay for 16 rows, large tiles for 128) and large tiles are not priced.
        """
        c = self._c
        # One look-up for what nearly all products of plain numbers ask for: the very number that operators begin with.
        usual = type(m) is float and row_step is MMA_ROWS
        rows = (self._rows.get(m) if usual else None) or self._of_rows(m, row_step, keep=usual)
        k_steps = k + c.prologue_k
        balanced = ceil(n * (1.0 / SMALL_TILE[1])) * k_steps * rows.balanced_s
        seconds = maximum(balanced, minimum(k_steps * rows.one_s, balanced + c.split_k_s))
        if type(m) is not float or m > MMA_ROWS:
            seconds = minimum(seconds, self._in_large_tiles(m, n, k_steps * self._cell_s, rows.large_tiles))
        return seconds * (1.0 - self._boosted_s / (seconds + c.boost_s))

    def _of_rows(self, m: Array, row_step: Array, *, keep: bool) -> _Rows:
        """A single row may go to a matrix-vector kernel, which multiplies in float32 and pads nothing.

        P / P32 rows of the matrix units take as long. (One row of a weight that no cache holds is 3 % quicker than two
        on an L40S, where that is 4 rows, and as quick on A100, H100 and B200, where it is 15 or more;
        NVIDIA/aiconfigurator.)
        """
        most, (tall, wide) = self._sheet.matrix_rows, SMALL_TILE
        step = row_step if most == MMA_ROWS else minimum(row_step, most)
        if is_array(m):
            step = step - indicator(m == 1.0, m) * maximum(step - self._sheet.vector_rows, 0.0)
        elif m == 1.0:
            step = minimum(step, self._sheet.vector_rows)
        used = minimum(tall, ceil(m * (1.0 / step)) * step)
        wave_s = self._small_cell_s * used * wide
        balanced_s = ceil(m * (1.0 / tall)) * wave_s / self._sheet.sm_count
        found = _Rows(maximum(wave_s, self._load_s), balanced_s, ceil(m * (1.0 / self._tile.rows)))
        if keep and len(self._rows) < MAX_ROWS:
            self._rows[m] = found
        return found

    def _in_large_tiles(self, m: Array, n: Array, cell_s: Array, tiles: Array) -> Array:
        """Seconds in large tiles (128 × 256 by default), `cell_s` = cell · k' for an output, ⌈m/128⌉ `tiles` of rows.

        With W = cell_s · 128 · 256 for a wave and w = ⌈m/128⌉ · ⌈n/256⌉ / S waves, unsplit: W · max(1, w +
        wave_rounding · (⌈w⌉ − w)). Or k is split in s parts: half a part's time is lost to rounding, W/(2s), and each
        part writes and reads 4-byte sums of all outputs, s · sums with sums = 8·m·n / B. The best s costs √(2 · W ·
        sums) beyond the balanced time: w·W + split_k_s + √(2 · W · sums). The lesser of the two is taken.
        """
        c = self._c
        wave_s = cell_s * self._large_wave_cells
        waves = ceil(n * (1.0 / self._tile.columns)) * tiles * self._large_waves
        rounded = waves * (1.0 - c.wave_rounding) + ceil(waves) * c.wave_rounding
        split = waves * wave_s + c.split_k_s + (2.0 * wave_s * (m * n * self._sum_s)) ** 0.5
        # No tile that is not split is done before its own time, however many SMs idle.
        return minimum(maximum(rounded, 1.0) * wave_s, split)


def roughness(n: Array, k: Array) -> tuple[Array, Array]:
    """(1 where n or k is no multiple of 8, 1 where one of them is odd), else 0."""
    return maximum(misfit(n), misfit(k)), maximum(oddness(n), oddness(k))


def joined(compute: Array, memory: Array, gap: float, gap_s: float) -> Array:
    """The longer of compute and memory, and a share of the shorter that saturates: gap · s / (1 + s / gap_s)."""
    longer, shorter = ordered(compute, memory)
    return longer + shorter * (gap * gap_s) / (shorter + gap_s)


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
