"""Intervals: split-conformal half-widths of the parts of a time, put together in quadrature on logarithms.

A time is off because the device is priced wrongly, and because the host is another. Residuals on what a fit did not see
tell of the first, known machines of the second (`device.hosts`); neither knows of the other.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, is_array, maximum, minimum
from ..errors import UsageError

PHASES = ("prefill", "decode", "response")
TINY_S = 1e-300  # so that no time at all has a logarithm
OUTSIDE = 1.0  # of a time with a dimension outside what was measured; beyond it the share of weights on untimed kernels
# Kernels of one device's formats lie within a factor of two (products of prompts on a core of an EPYC: 6.2e10 FLOP/s in
# F16 to 1.24e11 in Q4_K_M), so that those that nobody timed may take as long again as those that they are priced as.
OTHER_KERNELS = 1.0


class Widths(NamedTuple):
    """Half-widths in log units of one prefill, decode step and response."""

    prefill: Array
    decode: Array
    response: Array


class Interval:
    """Half-widths by phase at one level.

    With n held-out |log residuals| the half-width at level p is the (n + 1)·p-th smallest (Vovk et al. 2005,
    "Algorithmic Learning in a Random World"; Lei et al. 2018), between two of them where that is no whole number
    (`conformal_quantile`). Where n is too small for the level, the largest stands in, which holds at level n / (n + 1)
    (`attainable`); outside the measured range it is widened by a factor. Without residuals there is no interval: its
    half-width is NaN.

    A response whose own residuals are not known is off as far as its parts are, in proportion to their seconds: s ·
    prefill + (1 − s) · decode where s is the prefill's share. Both are the same device's, so they may err together.
    """

    def __init__(self, scores: Mapping[Any, Sequence[float]], extrapolation_factor: float, level: float = 0.9) -> None:
        if not 0.5 <= level <= 0.99:
            raise UsageError(f"confidence {level} is outside 0.5 to 0.99")
        self.level = level
        self._factor = extrapolation_factor
        self._widths = {phase: conformal_quantile(values, level) for phase, values in scores.items() if values}
        self._counts = {phase: len(values) for phase, values in scores.items() if values}
        self._inside, self._outside = (self._all(factor) for factor in (1.0, extrapolation_factor))

    def _all(self, factor: float) -> Widths:
        return Widths(*(factor * self._widths.get(phase, math.nan) for phase in PHASES))

    @property
    def from_parts(self) -> bool:
        """Whether a response takes the widths of its prefill and its decode steps."""
        return "response" not in self._widths

    def width(self, phase: str, outside: Array, prefill_share: Array = None) -> Array:
        """Half-width in log units, NaN where no residual is known; `phase` is prefill, decode or response.

        `outside` is 0, or `OUTSIDE` and the share of weights on untimed kernels. Of a response, `prefill_share` is its
        prefill's share of the seconds.
        """
        untimed = bool((outside > OUTSIDE).any() if is_array(outside) else outside > OUTSIDE)
        factor = 1.0 + (self._factor - 1.0) * (minimum(outside, OUTSIDE) if untimed else outside)
        if phase != "response" or not self.from_parts:
            width = self._widths.get(phase, math.nan) * factor
        else:
            width = _mixed(self._inside.prefill, self._inside.decode, prefill_share) * factor
        if not untimed:
            return width
        return with_other_kernels(width, maximum(outside - OUTSIDE, 0.0))

    def widths(self, outside: float, prefill_share: float) -> Widths:
        """Those of one prediction, as plain numbers."""
        known = self._outside if outside else self._inside
        if self.from_parts:
            known = known._replace(response=_mixed(known.prefill, known.decode, prefill_share))
        return Widths(*(with_other_kernels(one, outside - OUTSIDE) for one in known)) if outside > OUTSIDE else known

    def extremes(self, phase: str, untimed: bool = False) -> tuple[float, float]:
        """The smallest and the largest half-width of a phase that any prediction may have, on `untimed` kernels too."""
        names = ("prefill", "decode") if phase == "response" and self.from_parts else (phase,)
        some = [getattr(self._inside, name) for name in names], [getattr(self._outside, name) for name in names]
        return min(some[0]), with_other_kernels(max(some[1]), 1.0) if untimed else max(some[1])

    @property
    def widest(self) -> float:
        """The largest half-width of any phase outside the measured range; NaN where one of them cannot be had."""
        return self.largest(extrapolated=True)

    def largest(self, *, extrapolated: bool) -> float:
        """The same, inside the measured range or outside."""
        known = self._outside if extrapolated else self._inside
        widths = known[:2] if self.from_parts else known
        return math.nan if any(map(math.isnan, widths)) else max(widths)

    def attainable(self, phase: str) -> float:
        """The highest level at which as many residuals as there are can hold: n / (n + 1)."""
        if phase == "response" and self.from_parts:
            return min(self.attainable("prefill"), self.attainable("decode"))
        count = self._counts.get(phase, 0)
        return count / (count + 1.0)

    @property
    def notes(self) -> list[str]:
        """That an interval cannot be had, or not at the level that was given."""
        phases: dict[str, list[str]] = {}
        for phase in PHASES:
            level = self.attainable(phase)
            line = f"with {round(level / (1.0 - level))} errors on unseen rows an interval holds at {level:.0%}"
            line = f"{line}, not {self.level:.0%}"
            if not level:
                line = "no interval, for no error on unseen rows is known"
            if level < self.level:
                phases.setdefault(line.replace("%", " %"), []).append(phase)
        return [f"{', '.join(names)}: {line}" for line, names in phases.items()]


def with_other_kernels(width: Array, share: Array) -> Array:
    """A half-width of a time a share of whose products runs on kernels that nobody timed: in quadrature."""
    if is_array(width) or is_array(share):
        return np.hypot(width, np.log1p(OTHER_KERNELS * share))
    return math.hypot(width, math.log1p(OTHER_KERNELS * share))


def _mixed(prefill: Array, decode: Array, prefill_share: Array) -> Array:
    return decode + (prefill - decode) * prefill_share


def lower_end(own_s: Array, fastest_s: Array, width: Array) -> Array:
    """The lower end of a time whose host may be as fast as to take `fastest_s`, and whose device is off by `width`.

    own · exp(−√(ln²(own / fastest) + width²)): independent parts add up in quadrature. The host's part is what it does
    to this time, nothing where the device alone binds.
    """
    return _end(own_s, minimum(fastest_s, own_s), width, -1.0)


def upper_end(own_s: Array, slowest_s: Array, width: Array) -> Array:
    """The upper end likewise, on the slowest host."""
    return _end(own_s, maximum(slowest_s, own_s), width, 1.0)


def _end(own_s: Array, end_s: Array, width: Array, sign: float) -> Array:
    plain = type(own_s) is float and type(width) is float
    m = np if not plain and (is_array(own_s) or is_array(width)) else math
    return own_s * m.exp(sign * m.hypot(m.log((end_s + TINY_S) / (own_s + TINY_S)), width))


def conformal_quantile(scores: Sequence[float], level: float) -> float:
    """The (n + 1)·level-th smallest score, or the largest where there are too few; NaN for none.

    The k-th smallest of n covers a new one with probability k / (n + 1), whatever their distribution. Between two ranks
    the score is interpolated, which covers at the level but for terms of 1 / n² (Beran and Hall 1993, "Interpolated
    nonparametric prediction intervals and confidence intervals"). The next higher rank would cover more than was said:
    of 15 scores the largest holds at 94 %.
    """
    if not scores:
        return math.nan
    ordered, rank = sorted(scores), (len(scores) + 1) * level
    below = math.floor(rank + 1e-9)
    if below >= len(scores):
        return float(ordered[-1])
    return float(ordered[below - 1] + max(rank - below, 0.0) * (ordered[below] - ordered[below - 1]))
