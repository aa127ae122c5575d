"""What a fit makes small: residuals of the evidence through a robust loss, and those of the coefficients from priors.

Log-coefficients are fitted to log-times by least squares; each prior is one more residual. Data residuals pass through
a pseudo-Huber loss, so that an outlier pulls with a bounded force and a prior keeps its full one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from latmodel.laws.priors import Prior

from ..observations.evidence import Evidence
from .setup import Setup

Vector = NDArray[np.float64]

HUBER = 2.0  # residuals beyond two standard deviations of the noise count linearly
FLOOR_NOISE = 0.01  # no formula is exact: below 1 % of noise its own error rules


@dataclass(frozen=True)
class Objective:
    """Residuals as functions of log-coefficients, many points at once: `cost` is half of their sum of squares."""

    pieces: Sequence[Evidence]
    start: Setup
    free: Mapping[str, Prior]
    names: tuple[str, ...] = field(init=False)
    means: Vector = field(init=False)  # of log-coefficients, a prior each
    spreads: Vector = field(init=False)
    low: Vector = field(init=False)
    high: Vector = field(init=False)

    def __post_init__(self) -> None:
        priors = list(self.free.values())
        for name, value in (
            ("names", tuple(self.free)),
            ("means", np.log([prior.value for prior in priors])),
            ("spreads", np.array([prior.spread for prior in priors])),
            ("low", np.log([prior.low for prior in priors])),
            ("high", np.log([prior.high for prior in priors])),
        ):
            object.__setattr__(self, name, value)

    def setup(self, logs: Vector) -> Setup:
        """The start with these log-coefficients."""
        return self.start.moved(dict(zip(self.names, np.exp(logs).tolist(), strict=True)))

    def residuals(self, logs: Vector) -> Vector:
        """[rows + coefficients]: of the data at one point, then of the priors."""
        setup = self.setup(logs)
        data = [pseudo_huber(standardised(piece, setup)) for piece in self.pieces]
        return np.concatenate([*data, (logs - self.means) / self.spreads])

    def data_at(self, points: Vector) -> Vector:
        """[points, rows]: the data residuals of many points [points, coefficients] in one call."""
        # Coefficients as columns broadcast against the rows of the evidence.
        columns = {name: np.exp(points[:, [i]]) for i, name in enumerate(self.names)}
        setup = self.start.moved(columns)  # type: ignore[arg-type]
        each = [
            np.broadcast_to(pseudo_huber(standardised(piece, setup)), (len(points), len(piece.seconds)))
            for piece in self.pieces
        ]
        return np.concatenate(each, axis=1)

    def jacobian(self, logs: Vector, step: float) -> Vector:
        """[rows + coefficients, coefficients], by forward differences of `step`."""
        here = self.residuals(logs)[: -len(self.names)]
        slopes = (self.data_at(logs + step * np.eye(len(self.names))) - here) / step
        return np.concatenate([slopes.T, np.diag(1.0 / self.spreads)])

    def mean_jacobian(self, logs: Vector, step: float) -> Vector:
        """The same by central differences: the mean slope over ± `step`, which sees past kinks nearer than that."""
        count = len(self.names)
        both = self.data_at(np.concatenate([logs + step * np.eye(count), logs - step * np.eye(count)]))
        slopes = (both[:count] - both[count:]) / (2.0 * step)
        return np.concatenate([slopes.T, np.diag(1.0 / self.spreads)])

    def cost(self, logs: Vector) -> float:
        """Half of the sum of squared residuals."""
        residuals = self.residuals(logs)
        return 0.5 * float(residuals @ residuals)

    def costs(self, points: Vector) -> Vector:
        """The same of many points [points, coefficients]."""
        data, prior = self.data_at(points), (points - self.means) / self.spreads
        return np.asarray(0.5 * (np.sum(data * data, axis=1) + np.sum(prior * prior, axis=1)))

    def within(self, logs: Vector, margin: float = 1e-6) -> Vector:
        """The point, moved inside the bounds."""
        return np.clip(logs, self.low + margin, self.high - margin)

    def blurred(self, law_error: float) -> "Objective":
        """The same where every row's noise holds the law's own error too (log units)."""
        if law_error == 0.0:
            return self
        pieces = [replace(piece, noise=np.hypot(floored(piece.noise), law_error)) for piece in self.pieces]
        return Objective(pieces, self.start, self.free)


def floored(noise: Vector) -> Vector:
    """Noise of rows, `FLOOR_NOISE` at least."""
    return np.maximum(noise, FLOOR_NOISE)


def standardised(piece: Evidence, setup: Setup) -> Vector:
    """log(predicted / measured) over the noise."""
    predicted = np.asarray(piece.predict(setup.target(piece.runtime)), dtype=np.float64)
    residuals: Vector = np.log(predicted / piece.seconds) / floored(piece.noise)
    return residuals


def pseudo_huber(residual: Vector) -> Vector:
    """Residuals whose squares are 2δ²(√(1 + (r/δ)²) − 1): r² near zero, linear in |r| far out."""
    scaled = residual / HUBER
    return np.asarray(np.sign(residual) * HUBER * np.sqrt(2.0 * (np.sqrt(1.0 + scaled * scaled) - 1.0)))
