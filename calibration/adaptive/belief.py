"""What is known of the coefficients at some moment, and how sure an answer is that hangs on them.

An answer's variance in log-seconds is g'·C·g, with C the covariance of the log-coefficients and g the slopes of the
answer's log over them; the formulas' own error comes on top. A measured time with slopes j and variance s² takes
(g'·C·j)² / (j'·C·j + s²) of it away (Sherman and Morrison 1950; the c-optimal design of Fedorov 1972, one row at a
time).
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latmodel.device.profile import Coefficient

from ..fit.fit import Fitted, Stop
from ..fit.make import Problem
from ..fit.setup import Setup
from ..observations.evidence import evidence
from ..observations.record import Observation

Vector = NDArray[np.float64]

STEP = 0.02  # of central differences in log-coefficients: wide enough to see past near kinks
LEVEL = 0.9  # of the intervals that are compared


class Belief(NamedTuple):
    """Log-coefficients with their covariance, and the formulas' own error (log units)."""

    setup: Setup
    names: tuple[str, ...]
    logs: Vector
    covariance: Vector
    law_error: float


def at_priors(problem: Problem) -> Fitted:
    """A fit that has seen nothing: every coefficient at its prior, as sure as that is."""
    spreads = np.array([prior.spread for prior in problem.free.values()])
    coefficients = {
        name: Coefficient(value=prior.value, stderr_log=prior.spread, status="undetermined")
        for name, prior in problem.free.items()
    }
    setup = problem.start.moved({name: prior.value for name, prior in problem.free.items()})
    stop = Stop(0.0, 0.0, "nothing was measured")
    return Fitted(setup, coefficients, dict(problem.free), {}, stop, covariance=np.diag(spreads**2))


def belief(fitted: Fitted) -> Belief:
    """What a fit leaves behind."""
    logs = np.log([one.value for one in fitted.coefficients.values()])
    return Belief(fitted.setup, tuple(fitted.coefficients), logs, fitted.covariance, fitted.law_error)


def slopes(known: Belief, rows: Sequence[Observation]) -> Vector:
    """[rows, coefficients]: d log(seconds) / d log(coefficient) of what the rows would take."""
    count = len(known.names)
    points = known.logs + STEP * np.concatenate([np.eye(count), -np.eye(count)])
    moved = known.setup.moved({name: np.exp(points[:, [i]]) for i, name in enumerate(known.names)})  # type: ignore[misc]
    found = np.zeros((len(rows), count))
    for piece in evidence(rows):
        logs = np.log(np.asarray(piece.predict(moved.target(piece.runtime)), dtype=np.float64))
        logs = np.broadcast_to(logs, (2 * count, len(piece.seconds)))
        found[list(piece.index)] = ((logs[:count] - logs[count:]) / (2.0 * STEP)).T
    return found


def half_width(known: Belief, answer: Observation) -> float:
    """Of the 90 % interval of an answer, in log units: what the coefficients leave open, and the formulas' error."""
    g = slopes(known, [answer])[0]
    deviation = math.sqrt(float(g @ known.covariance @ g) + known.law_error**2)
    return NormalDist().inv_cdf(0.5 + LEVEL / 2.0) * deviation


def shares(known: Belief, answer: Observation, most: int = 3) -> list[tuple[str, float]]:
    """The coefficients that the answer's variance hangs on most, each with its share of it.

    What a coefficient would take away if it were known: (C·g)ᵢ² / (Cᵢᵢ · g'·C·g). Correlated ones share theirs.
    """
    g = slopes(known, [answer])[0]
    covered = known.covariance @ g
    each = covered**2 / np.diag(known.covariance) / float(g @ covered)
    ordered = np.argsort(-each)[:most].tolist()
    return [(known.names[i], float(each[i])) for i in ordered]
