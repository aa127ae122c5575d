"""Partial pooling: coefficients whose logarithms are sums of effects of groups, groups within groups.

log c = log c₀ + Σ effects of the groups that a row belongs to, each with a normal prior around 0. A group with many
rows gets its own value; one with few stays near the groups it lies in (Gelman and Hill 2007, chapter 12). Rows scatter
by Student's t, so that single wild rows do not decide; so do the groups of effects that say so. The mode is found by
Gauss–Newton with reweighting; the posterior's covariance is that of the linearised problem.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

Floats = NDArray[np.float64]
STEP = 1e-5  # of the numerical derivative, in log units
DEGREES = 4.0  # of freedom of Student's t
MAX_ITERATIONS = 100
LONGEST_STEP = 1.0  # log units an iteration may move an effect
LARGE = 100_000  # entries of a matrix from which its sparse form is quicker
ENOUGH = 0.05  # an iteration that gains less in the logarithm of the posterior is the last


class Effect(NamedTuple):
    """Effects of one coefficient by group: the group of a row (None: it has none), their prior spread, and a slope."""

    coefficient: str
    name: str
    group: Callable[[Any], Hashable | None]
    spread: float
    slope: Callable[[Any], float] | None = None  # the effect is multiplied by this; None stands for 1
    wild: bool = False  # its groups scatter by Student's t: a few lie far off, and must not pull the groups around them


Key = tuple[str, str, Hashable]
Start = float | Floats  # of all rows, or of each


@dataclass(frozen=True)
class Fitted:
    """The mode: effects by (coefficient, name, group), and what is needed to evaluate them for any row."""

    start: Mapping[str, Start]
    effects: Sequence[Effect]
    values: Mapping[Key, float]

    def coefficients(self, rows: Sequence[Any]) -> dict[str, Floats]:
        """The coefficients of rows; groups that were never seen have no effect of their own."""
        logs = {name: np.zeros(len(rows)) + np.log(value) for name, value in self.start.items()}
        for effect in self.effects:
            logs[effect.coefficient] += [self._one(effect, row) for row in rows]
        return {name: np.exp(value) for name, value in logs.items()}

    def _one(self, effect: Effect, row: Any) -> float:
        value = self.values.get((effect.coefficient, effect.name, effect.group(row)), 0.0)
        return value * effect.slope(row) if effect.slope else value


def fit_hierarchy(
    rows: Sequence[Any],
    seconds: Callable[[dict[str, Floats]], Floats],
    observed: Floats,
    start: Mapping[str, Start],
    effects: Sequence[Effect],
    noise: Floats,
) -> Fitted:
    """The most probable effects.

    `start` gives every coefficient's value without effects. `seconds` takes the coefficients of all rows and gives
    their times; `noise` is each row's scatter in log units.

    Raises:
        ValueError: it did not converge.
    """
    keys, spreads, designs = _design(rows, effects, start)
    names = {(effect.coefficient, effect.name) for effect in effects if effect.wild}
    wild = np.array([key[:2] in names for key in keys])
    logs = np.log(observed)

    def cost(at: Floats) -> float:
        left = logs - _log_seconds(_coefficients(at, start, designs), seconds)
        likelihood = 0.5 * (DEGREES + 1.0) * np.log1p((left / noise) ** 2 / DEGREES).sum()
        scaled = (at / spreads) ** 2
        prior = np.where(wild, 0.5 * (DEGREES + 1.0) * np.log1p(scaled / DEGREES), 0.5 * scaled)
        return float(likelihood + prior.sum())

    theta = np.zeros(len(keys))
    best = cost(theta)
    for _ in range(MAX_ITERATIONS):
        predicted, jacobian = _linearised(theta, seconds, start, designs)
        left = logs - predicted
        weight = (DEGREES + 1.0) / (DEGREES + (left / noise) ** 2) / noise**2
        held = np.where(wild, (DEGREES + 1.0) / (DEGREES + (theta / spreads) ** 2), 1.0) / spreads**2
        matrix = _squared(_scaled(jacobian, np.sqrt(weight))) + np.diag(held)
        step = linalg.cho_solve(linalg.cho_factor(matrix), jacobian.T @ (weight * left) - theta * held)
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        gained, moved = best - cost(theta + step), step
        while gained < 0.0 and np.abs(moved).max() > STEP:
            moved = 0.5 * moved
            gained = best - cost(theta + moved)
        if gained < ENOUGH:
            return Fitted(start, effects, dict(zip(keys, theta.tolist(), strict=True)))
        theta, best = theta + moved, best - gained
    raise ValueError(f"no convergence in {MAX_ITERATIONS} iterations; the last one gained {gained:.2g}")


def _scaled(matrix: Any, by: Floats) -> Any:
    """Each row of a matrix, sparse or not, times its factor."""
    return sparse.diags(by) @ matrix if sparse.issparse(matrix) else by[:, None] * matrix


def _squared(matrix: Any) -> Floats:
    """matrixᵀ · matrix."""
    square = matrix.T @ matrix
    return np.asarray(square.toarray() if sparse.issparse(square) else square)


def _design(
    rows: Sequence[Any], effects: Sequence[Effect], start: Mapping[str, Start]
) -> tuple[list[Key], Floats, dict[str, Any]]:
    """Effects there are, their spreads, and for each coefficient the matrix from effects to the rows' logs.

    A large matrix is sparse: a row belongs to a few groups of thousands.
    """
    keys: dict[Key, int] = {}
    spreads: list[float] = []
    entries: list[tuple[str, int, int, float]] = []
    for effect in effects:
        for index, row in enumerate(rows):
            group = effect.group(row)
            if group is None:
                continue
            key = (effect.coefficient, effect.name, group)
            if key not in keys:
                keys[key] = len(keys)
                spreads.append(effect.spread)
            entries.append((effect.coefficient, index, keys[key], effect.slope(row) if effect.slope else 1.0))
    designs: dict[str, Any] = {name: np.zeros((len(rows), len(keys))) for name in start}
    for coefficient, index, column, value in entries:
        designs[coefficient][index, column] = value
    if len(rows) * len(keys) >= LARGE:
        designs = {name: sparse.csr_matrix(matrix) for name, matrix in designs.items()}
    return list(keys), np.array(spreads), designs


def _coefficients(theta: Floats, start: Mapping[str, Start], designs: Mapping[str, Any]) -> dict[str, Floats]:
    """Logarithms of the coefficients of every row."""
    return {name: np.log(value) + designs[name] @ theta for name, value in start.items()}


def _log_seconds(logs: Mapping[str, Floats], seconds: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """Logarithms of the times for logarithms of the coefficients."""
    return np.asarray(np.log(seconds({name: np.exp(value) for name, value in logs.items()})))


def _linearised(
    theta: Floats,
    seconds: Callable[[dict[str, Floats]], Floats],
    start: Mapping[str, Start],
    designs: Mapping[str, Any],
) -> tuple[Floats, Any]:
    """Logarithms of the times, and their derivatives by the effects."""
    logs = _coefficients(theta, start, designs)
    at = _log_seconds(logs, seconds)
    jacobian: Any = _scaled(next(iter(designs.values())), 0.0 * at)
    for name, value in logs.items():
        slope = (_log_seconds({**logs, name: value + STEP}, seconds) - at) / STEP
        jacobian = _scaled(designs[name], slope) + jacobian
    return at, jacobian
