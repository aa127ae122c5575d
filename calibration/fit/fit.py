"""Observations → coefficients ± error: one robust likelihood for every kind of observation, with data-sheet priors.

Log-coefficients are fitted to log-times by least squares; each prior is one more residual. Data residuals pass
through a pseudo-Huber loss, so that an outlier pulls with a bounded force and a prior keeps its full one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from latmodel.device.profile import Coefficient
from latmodel.errors import LatmodelError
from latmodel.laws.coefficients import Device, RuntimeCoefficients, Sheet, coefficient_values, device_coefficients
from latmodel.laws.priors import Prior
from latmodel.model.implementation import Implementation
from latmodel.predict.forward import Target

from ..observations.evidence import Evidence

Vector = NDArray[np.float64]

HUBER = 2.0  # residuals beyond two standard deviations of the noise count linearly
FLOOR_NOISE = 0.01  # no formula is exact: below 1 % of noise its own error rules
STEP = 1e-6  # of the forward differences, in log-coefficients
UNDETERMINED = 0.7  # posterior spread over prior spread above which the data said next to nothing


@dataclass(frozen=True)
class Setup:
    """A device with its runtimes: where a fit starts and what it returns."""

    sheet: Sheet
    device: Device
    runtimes: Mapping[str, tuple[RuntimeCoefficients, Implementation]]

    def target(self, runtime: str) -> Target:
        """What formulas take."""
        coefficients, implementation = self.runtimes[runtime]
        return Target(self.sheet, self.device, coefficients, implementation)

    def moved(self, values: Mapping[str, float]) -> "Setup":
        """The same with some coefficients replaced: `device.NAME` or `runtime.RUNTIME.NAME`."""
        device: dict[str, float] = {}
        runtimes: dict[str, dict[str, float]] = {name: {} for name in self.runtimes}
        for key, value in values.items():
            owner, rest = key.split(".", 1)
            if owner == "device":
                device[rest] = value
            else:
                runtime, name = rest.rsplit(".", 1)
                runtimes[runtime][name] = value
        moved = {
            name: (c._replace(**runtimes[name]), implementation) for name, (c, implementation) in self.runtimes.items()
        }
        return Setup(self.sheet, device_coefficients({**coefficient_values(self.device), **device}), moved)


@dataclass(frozen=True)
class Fitted:
    """The outcome of a fit: the setup it ended at, each free coefficient with its error, residuals by row."""

    setup: Setup
    coefficients: dict[str, Coefficient]
    priors: dict[str, Prior]
    residuals: dict[int, float]  # log(predicted / measured) by index of the observation
    cost: float


def fit(
    pieces: Sequence[Evidence], start: Setup, free: Mapping[str, Prior], begin: Mapping[str, float] | None = None
) -> Fitted:
    """Find the free coefficients that explain the evidence best, near their priors.

    Args:
        pieces: what was measured, with the formula that predicts it.
        start: coefficients that are not in `free` stay as they are here.
        free: prior of each coefficient to find, by `device.NAME` or `runtime.RUNTIME.NAME`.
        begin: values to start the search from (a fit to nearly the same rows); the priors' if None.

    Raises:
        LatmodelError: the solver failed; its message is in the error.
    """
    names = list(free)
    means = np.log([free[name].value for name in names])
    spreads = np.array([free[name].spread for name in names])
    low = np.log([free[name].low for name in names])
    high = np.log([free[name].high for name in names])

    def residuals(logs: Vector) -> Vector:
        setup = start.moved(dict(zip(names, np.exp(logs).tolist(), strict=True)))
        data = [_pseudo_huber(_standardised(piece, setup)) for piece in pieces]
        return np.concatenate([*data, (logs - means) / spreads])

    def jacobian(logs: Vector) -> Vector:
        # All forward differences in one call: coefficients as columns broadcast against the rows of the evidence.
        moved = logs + STEP * np.eye(len(names))
        columns = {name: np.exp(moved[:, [i]]) for i, name in enumerate(names)}
        setup = start.moved(columns)  # type: ignore[arg-type]
        here = residuals(logs)[: -len(names)]
        there = [
            np.broadcast_to(_pseudo_huber(_standardised(piece, setup)), (len(names), len(piece.seconds)))
            for piece in pieces
        ]
        slopes = (np.concatenate(there, axis=1) - here) / STEP  # [coefficients, rows]
        return np.concatenate([slopes.T, np.diag(1.0 / spreads)])

    first = means if begin is None else np.log([begin[name] for name in names])
    first = np.clip(first, low + 1e-6, high - 1e-6)
    result = least_squares(
        residuals,
        first,
        jacobian,
        bounds=(low, high),
        method="trf",
        x_scale=spreads,
        ftol=1e-7,
        xtol=1e-6,
        max_nfev=200,
    )
    if result.status < 0 or not np.all(np.isfinite(result.x)):
        raise LatmodelError(f"the fit failed: {result.message}; check the observations for rows that cannot be")
    setup = start.moved(dict(zip(names, np.exp(result.x).tolist(), strict=True)))
    errors = _standard_errors(result.jac, result.fun, len(names))
    coefficients = {
        name: Coefficient(
            value=float(np.exp(x)), stderr_log=float(error), status=_status(error, free[name], at_low or at_high)
        )
        for name, x, error, at_low, at_high in zip(
            names, result.x, errors, result.x - low < 1e-3, high - result.x < 1e-3, strict=True
        )
    }
    return Fitted(setup, coefficients, dict(free), _log_residuals(pieces, setup), float(result.cost))


def _standardised(piece: Evidence, setup: Setup) -> Vector:
    predicted = np.asarray(piece.predict(setup.target(piece.runtime)), dtype=np.float64)
    noise = np.maximum(piece.noise, FLOOR_NOISE)
    standardised: Vector = np.log(predicted / piece.seconds) / noise
    return standardised


def _pseudo_huber(residual: Vector) -> Vector:
    """Residuals whose squares are 2δ²(√(1 + (r/δ)²) − 1): r² near zero, linear in |r| far out."""
    scaled = residual / HUBER
    return np.asarray(np.sign(residual) * HUBER * np.sqrt(2.0 * (np.sqrt(1.0 + scaled * scaled) - 1.0)))


def _standard_errors(jacobian: Vector, residuals: Vector, free: int) -> Vector:
    """Of log-coefficients: the inverse curvature, where the data count less if they scatter more than their noise.

    Priors take up part of the coefficients, so the data lose only the trace of their share of the curvature in degrees
    of freedom; and a prior knows no less because measurements scatter, so it is not scaled.
    """
    data, prior = (rows.T @ rows for rows in (jacobian[:-free], jacobian[-free:]))
    used = np.trace(np.linalg.solve(data + prior, data))
    squares = residuals[:-free] ** 2
    scatter = max(1.0, float(np.sum(squares)) / max(1.0, len(squares) - float(used)))
    return np.sqrt(np.diag(np.linalg.inv(data / scatter + prior)))


def _status(error: float, prior: Prior, at_bound: bool) -> Literal["boundary", "undetermined", "fitted"]:
    if at_bound:
        return "boundary"
    return "undetermined" if error > UNDETERMINED * prior.spread else "fitted"


def _log_residuals(pieces: Sequence[Evidence], setup: Setup) -> dict[int, float]:
    residuals: dict[int, float] = {}
    for piece in pieces:
        logs = np.log(np.asarray(piece.predict(setup.target(piece.runtime))) / piece.seconds)
        residuals.update(zip(piece.index, logs.tolist(), strict=True))
    return residuals
