"""Which cases to measure next: one after another, each the one that narrows the answer's interval most."""

from collections.abc import Sequence

import numpy as np

from ..measure.cases import Case
from ..observations.record import Observation
from .belief import Belief, Vector, slopes

WORTH = 1e-3  # of the answer's variance: a case that takes less away is not worth its time


def rows_of(case: Case, gpu: str, *, replay: bool) -> list[Observation]:
    """What a case will tell: its wall time, and its kernels alone where the device can replay them."""
    wall = case.observation(gpu, "loop" if case.part == "model" and case.phase == "decode" else "wall", 1.0, 0.0, ())
    if not (replay and case.part == "blocks"):
        return [wall]
    return [wall, case.observation(gpu, "device", 1.0, 0.0, ())]


def chosen(
    known: Belief,
    answer: Observation,
    candidates: Sequence[Case],
    count: int,
    noise: float,
    *,
    replay: bool = False,
) -> list[Case]:
    """The cases to measure next, the most telling first; fewer where the others would tell nothing of the answer.

    Args:
        known: of the coefficients, before.
        answer: what is to be known better.
        candidates: cases that were not measured yet.
        count: cases at most.
        noise: expected noise of a case (log units); the formulas' own error is added.
        replay: whether the device tells the time of kernels alone.
    """
    rows = [rows_of(case, answer.gpu, replay=replay) for case in candidates]
    flat = slopes(known, [row for some in rows for row in some]) if candidates else np.zeros((0, len(known.names)))
    ends = np.cumsum([len(some) for some in rows])
    each = np.split(flat, ends[:-1]) if candidates else []
    g, covariance = slopes(known, [answer])[0], known.covariance
    scatter, variance = noise**2 + known.law_error**2, float(g @ covariance @ g)
    taken: list[int] = []
    while len(taken) < min(count, len(candidates)):
        gains = [0.0 if i in taken else _gain(g, covariance, j, scatter) for i, j in enumerate(each)]
        best = int(np.argmax(gains))
        if gains[best] <= WORTH * variance:
            break
        taken.append(best)
        covariance = updated(covariance, each[best], scatter)
    return [candidates[i] for i in taken]


def _gain(g: Vector, covariance: Vector, j: Vector, scatter: float) -> float:
    """Variance of the answer that rows with slopes `j` take away."""
    seen = j @ covariance
    told = seen @ g
    return float(told @ np.linalg.solve(seen @ j.T + scatter * np.eye(len(j)), told))


def updated(covariance: Vector, j: Vector, scatter: float) -> Vector:
    """Covariance after rows with slopes `j` and variance `scatter`."""
    seen = j @ covariance
    left = covariance - seen.T @ np.linalg.solve(seen @ j.T + scatter * np.eye(len(j)), seen)
    return np.asarray(0.5 * (left + left.T))
