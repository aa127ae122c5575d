"""Device time of pointwise kernels: traffic, of which a cache holds some between two passes."""

import numpy as np

from ..arrays import Array, ceil, is_array, maximum, minimum
from ..model.ops import OpCost
from .coefficients import PointwiseCoefficients, Sheet
from .terms import COLD, Conditions, Terms

# Share of the pointwise rate at which PyTorch repeats the heads of a cache (`expand`, `reshape`: a view walked value by
# value). An A100 moves 0.56 TB/s so and 1.6 otherwise: what Qwen2.5 7B and 32B (groups of 7 and 5) take longer with
# every 1000 tokens of context, both within 1 % (QwenLM/Qwen3@a912d239, Transformers 4.46, flash attention 2).
# Concatenation runs at the pointwise rate (RTX 3090, hbfreed/inference-pareto).
COPY_RATE = 0.34
# A kernel of PyTorch over views: a block has so many threads, each of which walks up to so many 16-bit values one by
# one (`elementwise_kernel<128, 4>` in a profiler's trace of an H100).
WALKING_THREADS, MOST_WALKED = 128.0, 4.0
MANY_WALKED = WALKING_THREADS * MOST_WALKED  # values from which every thread does


class PointwiseLaw:
    """Pointwise kernels and copies on one device: the law, and what follows from the coefficients alone."""

    def __init__(self, c: PointwiseCoefficients, sheet: Sheet) -> None:
        self._c = c
        self._per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
        self._cached = self._per_byte / c.cache_speedup
        self._walked = self._cached / c.strided_rate
        self._held_bytes = c.cache_share * sheet.cache_bytes
        self._saved = self._per_byte - self._cached
        self._walks = is_array(c.walked_s) or c.walked_s > 0.0

    def terms(self, op: OpCost, _known: Conditions = COLD[False]) -> Terms:
        """Seconds of pointwise kernels, and their floors: what the cache holds between two passes is read from there.

        nbytes / cache rate + max(nbytes − held, 0) · (1 / memory rate − 1 / cache rate), with the maximum drawn
        outside; memory rate = B · bandwidth_efficiency, cache rate = cache_speedup times that (and strided_rate of it
        over views), held = passes · cache_share · C. At least summed_s for each value of a row that a norm adds up: one
        block of threads adds up a row, which takes its time however few rows there are. Views that are not contiguous
        are walked value by value, slower than the cache gives them, and however few there are in walked_s for each that
        a thread walks (on an H100 1.2 µs a kernel for one, 2 for the four that a thread has at most).
        """
        nbytes, summed = op.activation_bytes, op.k
        held_s = self._held_bytes * op.passes * self._saved
        seconds = maximum(nbytes * (self._walked if op.strided else self._cached), nbytes * self._per_byte - held_s)
        if op.strided:
            if self._walks:
                seconds = seconds + (walked(op.m * op.n) + walked(op.m * op.k)) * (0.5 * op.kernels * self._c.walked_s)
        elif type(summed) is not float or summed:
            seconds = maximum(seconds, summed * self._c.summed_s)
        return seconds, op.kernels * self._c.floor_s, 0.0

    def copy_terms(self, op: OpCost, _known: Conditions = COLD[False]) -> Terms:
        """Seconds of copies, and their floors: as pointwise kernels from a cache, at COPY_RATE of them from memory.

        max(nbytes / cache rate, nbytes / copy rate − held), `held` what the cache saves of it, as of `terms`.
        """
        per_byte = self._per_byte / COPY_RATE
        held_s = self._held_bytes * op.passes * (per_byte - self._cached)
        seconds = maximum(op.activation_bytes * self._cached, op.activation_bytes * per_byte - held_s)
        return seconds, op.kernels * self._c.floor_s, 0.0


def walked(values: Array) -> Array:
    """Values that a thread of a kernel over views walks one by one: min(⌈values / 128⌉, 4)."""
    if type(values) is np.ndarray and values.size and values.min() >= MANY_WALKED:
        return MOST_WALKED  # nearly always, and quicker
    return minimum(ceil(values * (1.0 / WALKING_THREADS)), MOST_WALKED)
