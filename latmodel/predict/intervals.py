"""Split-conformal intervals: half-widths in log-time from residuals on rows that the fit did not see."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..arrays import Array
from ..errors import UsageError

PHASES = ("prefill", "decode", "response")


class Interval:
    """Half-widths by phase at one level.

    With n held-out |log residuals| the half-width at level p is the ⌈(n + 1)·p⌉-th smallest (Vovk et al. 2005,
    "Algorithmic Learning in a Random World"; Lei et al. 2018): it covers a new row with probability p at least.
    Where n is too small for the level, the largest stands in, which holds at level n / (n + 1) (`attainable`); outside
    the measured range it is widened by a factor. Without residuals there is no interval: its half-width is NaN.
    """

    def __init__(self, scores: Mapping[Any, Sequence[float]], extrapolation_factor: float, level: float = 0.9) -> None:
        if not 0.5 <= level <= 0.99:
            raise UsageError(f"confidence {level} is outside 0.5 to 0.99")
        self.level = level
        self._factor = extrapolation_factor
        self._widths = {phase: conformal_quantile(values, level) for phase, values in scores.items()}
        self._counts = {phase: len(values) for phase, values in scores.items()}
        self._factors: dict[bool, tuple[float, float, float]] = {}

    def width(self, phase: str, extrapolated: Array) -> Array:
        """Half-width in log units, NaN where no residual is known; `phase` is prefill, decode or response."""
        return self._widths.get(phase, math.nan) * (1.0 + (self._factor - 1.0) * extrapolated)

    @property
    def widest(self) -> float:
        """The largest half-width of any phase outside the measured range; NaN where one of them cannot be had."""
        widths = [self.width(phase, 1.0) for phase in PHASES]
        return math.nan if any(map(math.isnan, widths)) else max(widths)

    def attainable(self, phase: str) -> float:
        """The highest level at which as many residuals as there are can hold: n / (n + 1)."""
        count = self._counts.get(phase, 0)
        return count / (count + 1.0)

    @property
    def notes(self) -> list[str]:
        """That an interval cannot be had, or not at the level that was given."""
        phases: dict[str, list[str]] = {}
        for phase in PHASES:
            level, count = self.attainable(phase), self._counts.get(phase, 0)
            line = f"with {count} errors on unseen rows an interval holds at {level:.0%}, not {self.level:.0%}"
            if not level:
                line = "no interval, for no error on unseen rows is known"
            if level < self.level:
                phases.setdefault(line.replace("%", " %"), []).append(phase)
        return [f"{', '.join(names)}: {line}" for line, names in phases.items()]

    def factors(self, extrapolated: bool) -> tuple[float, float, float]:
        """What one prefill, decode and response may be longer or shorter by; worked out once."""
        if extrapolated not in self._factors:
            prefill, decode, response = (self.width(phase, extrapolated) for phase in PHASES)
            self._factors[extrapolated] = math.exp(prefill), math.exp(decode), math.exp(response)
        return self._factors[extrapolated]


def conformal_quantile(scores: Sequence[float], level: float) -> float:
    """The ⌈(n + 1)·level⌉-th smallest score, or the largest where there are too few; NaN for none."""
    if not scores:
        return math.nan
    rank = min(math.ceil((len(scores) + 1) * level - 1e-9), len(scores))
    return float(sorted(scores)[rank - 1])
