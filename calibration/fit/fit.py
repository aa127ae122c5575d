"""Observations → coefficients ± error: one robust likelihood for every kind of observation, with data-sheet priors.

`fit` goes downhill from one place. Near the optimum of a law with steps and kinks that ends wherever the first kink
holds it; `anneal.annealed_fit` does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from latmodel.device.profile import Coefficient
from latmodel.errors import LatmodelError
from latmodel.laws.priors import Prior

from ..observations.evidence import Evidence
from .objective import Objective, Vector, floored
from .setup import Setup

MOST_EVALUATIONS = 200
STEP = 1e-6  # of the forward differences, in log-coefficients
UNDETERMINED = 0.7  # posterior spread over prior spread above which the data said next to nothing
FEWEST_SHAPES = 9  # from which their scatter says something of standard errors
CORRELATED = 0.9  # two coefficients whose errors are correlated beyond this are not told apart


class Stop(NamedTuple):
    """How the solver ended: cost, the largest scaled slope that was left, its own words."""

    cost: float  # half of the sum of squared residuals, priors included
    optimality: float
    message: str


@dataclass(frozen=True)
class Fitted:
    """The outcome of a fit: the setup it ended at, each free coefficient with its error, residuals by row."""

    setup: Setup
    coefficients: dict[str, Coefficient]
    priors: dict[str, Prior]
    residuals: dict[int, float]  # log(predicted / measured) by index of the observation
    stop: Stop
    law_error: float = 0.0  # of the formulas beyond the noise of the rows, log units, where it was estimated
    correlated: tuple[tuple[str, str, float], ...] = ()  # pairs of coefficients that are not told apart
    covariance: Vector = field(default_factory=lambda: np.zeros((0, 0)))  # of the log-coefficients, in their order
    log_noise: float = 0.0  # sum of log(noise) of the rows, the law's error included

    @property
    def cost(self) -> float:
        """Half of the sum of squared residuals, priors included: comparable where rows have the same noise."""
        return self.stop.cost

    @property
    def misfit(self) -> float:
        """Negative log-likelihood up to a constant: comparable also where the law's error was estimated anew."""
        return self.stop.cost + self.log_noise


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
        LatmodelError: the solver failed or did not come to an end; its message is in the error.
    """
    objective = Objective(pieces, start, free)
    first = objective.means if begin is None else np.log([begin[name] for name in objective.names])
    result = least_squares(
        objective.residuals, objective.within(first), lambda logs: objective.jacobian(logs, STEP),
        bounds=(objective.low, objective.high), method="trf", x_scale=objective.spreads,
        ftol=1e-7, xtol=1e-6, max_nfev=MOST_EVALUATIONS,
    )  # fmt: skip
    if result.status <= 0 or not np.all(np.isfinite(result.x)):
        raise LatmodelError(f"the fit failed: {result.message}; check the observations for rows that cannot be")
    stop = Stop(float(result.cost), float(result.optimality), result.message)
    return fitted_at(objective, result.x, result.jac, result.fun, stop)


def fitted_at(
    objective: Objective, logs: Vector, jacobian: Vector, residuals: Vector, stop: Stop, law_error: float = 0.0
) -> Fitted:
    """The outcome at a point, from the slopes and residuals there."""
    shapes = [shape for piece in objective.pieces for shape in piece.shapes or [""] * len(piece.seconds)]
    covariance = covariance_of(jacobian, residuals, shapes)
    errors = np.sqrt(np.diag(covariance))
    setup = objective.setup(logs)
    coefficients = {
        name: Coefficient(
            value=float(np.exp(x)),
            stderr_log=float(error),
            status=_status(error, objective.free[name], at_low or at_high),
        )
        for name, x, error, at_low, at_high in zip(
            objective.names, logs, errors, logs - objective.low < 1e-3, objective.high - logs < 1e-3, strict=True
        )
    }
    pairs = _correlated(objective.names, covariance / np.outer(errors, errors))
    residual_of = _log_residuals(objective.pieces, setup)
    log_noise = float(sum(np.sum(np.log(floored(piece.noise))) for piece in objective.pieces))
    return Fitted(setup, coefficients, dict(objective.free), residual_of, stop, law_error, pairs, covariance, log_noise)


def covariance_of(jacobian: Vector, residuals: Vector, shapes: Sequence[str]) -> Vector:
    """Of log-coefficients, from slopes and residuals [rows + coefficients] and the shape that each row is of.

    The mean of two estimates. By the noise: the inverse curvature, where the data count less if they scatter more than
    their noise. Priors take up part of the coefficients, so the data lose only the trace of their share of the
    curvature in degrees of freedom; and a prior knows no less because measurements scatter, so it is not scaled. By the
    jackknife over shapes, which sees that rows of one shape are off together, and that some are off by more than
    others: Σ δδ' · (G − 1) / G over G shapes, δ what leaving one out moves (one Newton step; Efron and Stein 1981), and
    the prior's own part. It is the better one where formulas miss whole shapes, but scatters, and knows nothing of a
    coefficient that one shape shows. On an H100 the mean's ratios to a bootstrap are 0.6 to 1.3 for four coefficients
    of five, those of the first alone 0.5 to 1.7 (`benchmarks/fit_optimum.py`). With few shapes, or rows of none, the
    first stands alone.
    """
    count = len(shapes)
    data, prior = (rows.T @ rows for rows in (jacobian[:count], jacobian[count:]))
    squares = residuals[:count] ** 2
    scatter = max(1.0, float(np.sum(squares)) / max(1.0, count - used_by(data, prior)))
    by_noise = np.linalg.inv(data / scatter + prior)
    members = [[i for i, shape in enumerate(shapes) if shape == one] for one in sorted({*shapes} - {""})]
    if len(members) < FEWEST_SHAPES or "" in shapes:
        return np.asarray(by_noise, dtype=np.float64)
    moves = np.array([_without(jacobian[some], residuals[some], data + prior) for some in members])
    inverse = np.linalg.inv(data + prior)
    by_shapes = moves.T @ moves * (1.0 - 1.0 / len(members)) + inverse @ prior @ inverse
    return np.asarray(0.5 * (by_noise + by_shapes), dtype=np.float64)


def _without(slopes: Vector, residuals: Vector, curvature: Vector) -> Vector:
    """How far an optimum moves without some rows: one Newton step."""
    return np.asarray(np.linalg.solve(curvature - slopes.T @ slopes, slopes.T @ residuals), dtype=np.float64)


def used_by(data: Vector, prior: Vector) -> float:
    """Degrees of freedom that the data lose to coefficients: the trace of their share of the curvature."""
    return float(np.trace(np.linalg.solve(data + prior, data)))


def _correlated(names: Sequence[str], correlation: Vector) -> tuple[tuple[str, str, float], ...]:
    pairs = np.argwhere(np.triu(np.abs(correlation) > CORRELATED, 1)).tolist()
    return tuple((names[i], names[j], float(correlation[i, j])) for i, j in pairs)


def _status(error: float, prior: Prior, at_bound: bool) -> Literal["boundary", "undetermined", "fitted"]:
    if at_bound:
        return "boundary"
    return "undetermined" if error > UNDETERMINED * prior.spread else "fitted"


def log_ratios(piece: Evidence, setup: Setup) -> Vector:
    """log(predicted / measured) of the rows of a piece."""
    return np.asarray(np.log(np.asarray(piece.predict(setup.target(piece.runtime))) / piece.seconds))


def _log_residuals(pieces: Sequence[Evidence], setup: Setup) -> dict[int, float]:
    residuals: dict[int, float] = {}
    for piece in pieces:
        residuals.update(zip(piece.index, log_ratios(piece, setup).tolist(), strict=True))
    return residuals
