"""A fit that does not depend on where it starts: smoothed and softened at first, sharp at the end, with jumps.

Laws with tiles, waves and maxima of two timelines have kinks, and a descent stops at the first that holds it (on the
observations of an H100, costs 931 to 1008 from twelve starts). Four things help. The data count for little at first
and more with every stage (deterministic annealing; Rose 1998), so that the priors lead into one basin. Slopes are means
over a step that shrinks, which sees past near kinks. And rows are believed no more than the law fits them: its own
error is estimated from the scatter (`law_error`), for with the noise of the rows alone hundreds of rows that a formula
misses by 3 % outvote every prior and make optima of their own. What is left are optima that differ in one coefficient
and those that make up for it: jumps along these valleys find the better one (`_jumps`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, least_squares

from latmodel.errors import LatmodelError
from latmodel.laws.priors import Prior

from ..observations.evidence import Evidence
from .fit import FEWEST_SHAPES, Fitted, Stop, fitted_at, used_by
from .objective import Objective, Vector, floored, pseudo_huber
from .setup import Setup


class Stage(NamedTuple):
    """Slopes over ± `step` in log-coefficients; data residuals divided by `softness`."""

    step: float
    softness: float


SOFT = (Stage(0.1, 10.0), Stage(0.1, 5.0), Stage(0.05, 2.5))  # the law's error is estimated where these end
SHARP = (Stage(0.03, 1.5), Stage(0.01, 1.0), Stage(0.001, 1.0))
POLISH = tuple(Stage(step, 1.0) for step in (0.01, 0.003, 0.001, 3e-4, 1e-4))
AGAIN = (Stage(0.03, 1.0), Stage(0.001, 1.0))  # after a jump
STAGE_EVALUATIONS = 40  # a stage only leads to the next
LAST_STEP, LAST_EVALUATIONS = 1e-5, 500
MOST_LAW_ERROR = 0.5
LEAST_FREEDOM = 8.0  # rows beyond the coefficients that they determine: fewer say nothing of the law
JUMPS, PATIENCE = 24, 5  # jumps at most, and how many in turn may bring nothing
JUMP_SIZES = (1.5, -1.5, 3.0, -3.0)  # standard errors
JUMP_STEP = 0.03  # of the slopes that say which coefficients go together
WORTH = 1e-3  # relative fall of the cost that counts as something


def annealed_fit(
    pieces: Sequence[Evidence],
    start: Setup,
    free: Mapping[str, Prior],
    begin: Mapping[str, float] | None = None,
    law_error: float | None = None,
    known_error: float = 0.0,
) -> Fitted:
    """Find the free coefficients that explain the evidence best, wherever the search begins.

    Args:
        pieces: what was measured, with the formula that predicts it.
        start: coefficients that are not in `free` stay as they are here.
        free: prior of each coefficient to find, by `device.NAME` or `runtime.RUNTIME.NAME`.
        begin: values to start from; the priors' if None.
        law_error: standard deviation of the formulas' own error (log units); estimated if None.
        known_error: what it was in an earlier fit, which stands where the rows are of too few shapes to tell.

    Raises:
        LatmodelError: the solver ran out of evaluations, or failed; its message is in the error.
    """
    objective = Objective(pieces, start, free)
    logs = objective.means if begin is None else np.log([begin[name] for name in objective.names])
    logs = _descend(objective, logs, SOFT)
    least = known_error if _few_shapes(pieces) else 0.0
    error = max(least, estimated_law_error(objective, logs)) if law_error is None else law_error
    logs = _descend(objective.blurred(error), logs, SHARP)
    if law_error is None:  # once more, now that the fit is close
        error = max(least, estimated_law_error(objective, logs))
    blurred = objective.blurred(error)
    return _finished(blurred, _jumped(blurred, logs), error)


def _few_shapes(pieces: Sequence[Evidence]) -> bool:
    """Whether rows are of so few shapes that coefficients may take up what the formulas miss."""
    shapes = {shape for piece in pieces for shape in piece.shapes}
    return 0 < len(shapes) < FEWEST_SHAPES


def estimated_law_error(objective: Objective, logs: Vector) -> float:
    """Log units that, added to the noise of every row, make the data residuals scatter as noise would; 0 if they do.

    Robust residuals with √(noise² + error²) sum in squares to the rows less the coefficients that they determine.
    """
    free = len(objective.names)
    jacobian = objective.mean_jacobian(logs, LAST_STEP)
    data, prior = (rows.T @ rows for rows in (jacobian[:-free], jacobian[-free:]))
    setup = objective.setup(logs)
    noise = np.concatenate([floored(piece.noise) for piece in objective.pieces])
    off = np.concatenate(
        [np.log(np.asarray(p.predict(setup.target(p.runtime)), dtype=float) / p.seconds) for p in objective.pieces]
    )
    expected = len(noise) - used_by(data, prior)
    if expected < LEAST_FREEDOM:
        return 0.0

    def excess(error: float) -> float:
        return float(np.sum(pseudo_huber(off / np.hypot(noise, error)) ** 2)) - expected

    if excess(0.0) <= 0.0:
        return 0.0
    return MOST_LAW_ERROR if excess(MOST_LAW_ERROR) > 0.0 else float(brentq(excess, 0.0, MOST_LAW_ERROR, xtol=1e-5))


def _descend(objective: Objective, logs: Vector, stages: Sequence[Stage]) -> Vector:
    for stage in stages:
        logs = _solve(objective, logs, stage, STAGE_EVALUATIONS, 1e-5).x
    return logs


def _solve(objective: Objective, logs: Vector, stage: Stage, evaluations: int, tolerance: float) -> Any:
    count = len(objective.names)
    weight = np.ones(count + sum(len(piece.seconds) for piece in objective.pieces))
    weight[:-count] /= stage.softness
    return least_squares(
        lambda x: objective.residuals(x) * weight, objective.within(logs),
        lambda x: objective.mean_jacobian(x, stage.step) * weight[:, None],
        bounds=(objective.low, objective.high), method="trf", x_scale=objective.spreads,
        ftol=tolerance, xtol=tolerance, gtol=tolerance, max_nfev=evaluations,
    )  # fmt: skip


def _jumped(objective: Objective, logs: Vector) -> Vector:
    """The best of some descents from the best so far, each from where a jump lands; the most promising jumps first."""
    best, cost, idle, todo = logs, objective.cost(logs), 0, list[Vector]()
    for _ in range(JUMPS):
        todo = todo or list(_jumps(objective, best))
        tried = _descend(objective, todo.pop(0), AGAIN)
        fallen = cost - objective.cost(tried)
        if fallen > 0.0:
            best, cost = tried, cost - fallen
        idle += 1
        if fallen > WORTH * cost:  # the valleys are others now
            idle, todo = 0, []
        if idle == PATIENCE:
            break
    return best


def _jumps(objective: Objective, logs: Vector) -> Vector:
    """Points [jumps, coefficients] to which one coefficient after the other jumps by some of its standard errors, up
    and down, and all others go with it as their errors do (`JUMP_SIZES`); the cheapest first.

    Another optimum lies along such a valley, behind a kink: one coefficient far off, those that it is mistaken for
    making up for it. Were the objective quadratic, all jumps of one size would cost the same; those that cost less led
    to somewhere.
    """
    jacobian = objective.mean_jacobian(logs, JUMP_STEP)
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    valleys = covariance / np.sqrt(np.diag(covariance))[:, None]  # a row each: what one standard error does to all
    points = np.concatenate([logs + size * valleys for size in JUMP_SIZES])
    points = objective.within(points, 1e-3)
    return np.asarray(points[np.argsort(objective.costs(points))])


def _finished(objective: Objective, logs: Vector, law_error: float) -> Fitted:
    logs = _descend(objective, logs, POLISH)
    result = _solve(objective, logs, Stage(LAST_STEP, 1.0), LAST_EVALUATIONS, 1e-6)
    if result.status <= 0 or not np.all(np.isfinite(result.x)):
        raise LatmodelError(f"the fit failed: {result.message}; check the observations for rows that cannot be")
    stop = Stop(float(result.cost), float(result.optimality), result.message)
    return fitted_at(objective, result.x, result.jac, result.fun, stop, law_error)
