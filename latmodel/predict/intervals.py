"""Split-conformal intervals: half-widths in log-time from residuals on rows that the fit did not see."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..arrays import Array
from ..errors import UsageError


class Interval:
    """Half-widths by phase at one level.

    With n held-out |log residuals| the half-width at level p is the ⌈(n + 1)·p⌉-th smallest (Vovk et al. 2005,
    "Algorithmic Learning in a Random World"; Lei et al. 2018): it covers a new row with probability p at least.
    Where n is too small for the level, the largest stands in; outside the measured range it is widened by a factor.
    """

    def __init__(self, scores: Mapping[Any, Sequence[float]], extrapolation_factor: float, level: float = 0.9) -> None:
        if not 0.5 <= level <= 0.99:
            raise UsageError(f"confidence {level} is outside 0.5 to 0.99")
        self.level = level
        self._factor = extrapolation_factor
        self._widths = {phase: conformal_quantile(values, level) for phase, values in scores.items()}
        self._factors: dict[bool, tuple[float, float, float]] = {}

    def width(self, phase: str, extrapolated: Array) -> Array:
        """Half-width in log units; `phase` is prefill, decode or response."""
        return self._widths.get(phase, 0.0) * (1.0 + (self._factor - 1.0) * extrapolated)

    def factors(self, extrapolated: bool) -> tuple[float, float, float]:
        """What one prefill, decode and response may be longer or shorter by; worked out once."""
        if extrapolated not in self._factors:
            prefill, decode, response = (self.width(phase, extrapolated) for phase in ("prefill", "decode", "response"))
            self._factors[extrapolated] = math.exp(prefill), math.exp(decode), math.exp(response)
        return self._factors[extrapolated]


def conformal_quantile(scores: Sequence[float], level: float) -> float:
    """The ⌈(n + 1)·level⌉-th smallest score, or the largest where there are too few; 0 for none."""
    if not scores:
        return 0.0
    rank = min(math.ceil((len(scores) + 1) * level - 1e-9), len(scores))
    return float(sorted(scores)[rank - 1])
