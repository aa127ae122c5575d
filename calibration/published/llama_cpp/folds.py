"""Devices left out in folds, and what one row of the device's own adds: how far the fit is to be trusted."""

import math
import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from latmodel.predict.intervals import conformal_quantile

from ..pooled import pooled_scores
from .effects import CPU_EFFECTS, CPU_START, EFFECTS, NOISE, OWN_EFFECTS, START, noise_of
from .hierarchy import Fitted, fit_hierarchy
from .law import Problem, Row


class HeldOut(NamedTuple):
    """A row that the fit did not see, and log(measured / predicted)."""

    row: Row
    log_ratio: float


def fit_rows(rows: Sequence[Row]) -> Fitted:
    """The hierarchy over these rows, all of GPUs or all of CPUs."""
    problem = Problem(rows)
    cpu = rows[0].device.backend == "CPU"
    start, effects = (CPU_START, CPU_EFFECTS) if cpu else (START, EFFECTS)
    return fit_hierarchy(rows, problem.predict, problem.seconds, start, effects, noise_of(rows))


def with_own_rows(fitted: Fitted, own: Sequence[Row], rows: Sequence[Row]) -> list[float]:
    """log(measured / predicted) of `rows` once `own` rows have moved their device, and nothing else."""
    problem, before = Problem(own), fitted.coefficients(own)
    moved = fit_hierarchy(own, problem.predict, problem.seconds, before, OWN_EFFECTS, np.full(len(own), NOISE))
    return log_ratios(Fitted(fitted.coefficients(rows), OWN_EFFECTS, moved.values), rows)


def log_ratios(fitted: Fitted, rows: Sequence[Row]) -> list[float]:
    """log(measured / predicted) of rows."""
    problem = Problem(rows)
    predicted = problem.predict(fitted.coefficients(rows))
    return [float(value) for value in np.log(problem.seconds / predicted)]


def chips_in_folds(rows: Sequence[Row], folds: int, seed: int = 0) -> list[set[str]]:
    """Chips split at random; variants of one chip, and one device under several backends, stay together."""
    chips = sorted({row.device.chip for row in rows})
    random.Random(seed).shuffle(chips)
    return [set(chips[start::folds]) for start in range(folds)]


class Folds(NamedTuple):
    """Rows predicted from other devices alone, and with one row of the device's own."""

    unseen: list[HeldOut]
    one_own_row: list[HeldOut]  # a row for each other row of its device, setup and phase that was given


def leave_devices_out(rows: Sequence[Row], folds: int = 10) -> Folds:
    """Every row predicted by a fit that saw nothing of its chip; then again with each single row of its device."""
    unseen, one_own_row = [], []
    for fold in chips_in_folds(rows, folds):
        fitted = fit_rows([row for row in rows if row.device.chip not in fold])
        own = [row for row in rows if row.device.chip in fold]
        unseen += [HeldOut(row, ratio) for row, ratio in zip(own, log_ratios(fitted, own), strict=True)]
        one_own_row += with_each_own_row(fitted, own)
    return Folds(unseen, one_own_row)


def with_each_own_row(fitted: Fitted, rows: Sequence[Row]) -> list[HeldOut]:
    """Every row predicted with each single other one of its device, setup and phase.

    A run of another person, driver or build is not a run of one's own: the same device differs by more between those
    than between models (`setups_apart`).
    """
    found = []
    for group in _alike(rows):
        for given in group[:MOST_GIVEN]:
            others = [row for row in group if row is not given]
            ratios = with_own_rows(fitted, [given], others)
            found += [HeldOut(row, ratio) for row, ratio in zip(others, ratios, strict=True)]
    return found


MOST_GIVEN = 20  # rows of one setup that are tried as the one that is given


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Groups of two rows and more of one device under one backend and setup, and of one phase; in a random order."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.device.title, row.device.backend, row.test.setup, row.test.phase), []).append(row)
    found = [group for group in groups.values() if len(group) > 1]
    for group in found:
        random.Random(0).shuffle(group)
    return found


def setups_apart(rows: Sequence[Row]) -> dict[str, float]:
    """By device, the median |log ratio| of one test in two setups: what no model of the device alone can explain."""
    tests: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        test = row.test
        alike = (row.device.title, row.device.backend, test.model, test.weights, test.flash_attention)
        tests.setdefault((*alike, test.phase, test.depth, test.tokens), []).append(row)
    apart: dict[str, list[float]] = {}
    for some in tests.values():
        for one, other in combinations(some, 2):
            if one.test.setup != other.test.setup:
                ratio = abs(math.log(one.test.seconds / other.test.seconds))
                apart.setdefault(one.device.title, []).append(ratio)
    return {title: float(np.median(ratios)) for title, ratios in apart.items()}


def by_device(some: Sequence[HeldOut]) -> dict[str, list[float]]:
    """Logarithms of the ratios, by device."""
    found: dict[str, list[float]] = {}
    for one in some:
        found.setdefault(one.row.device.title, []).append(one.log_ratio)
    return found


def median_error(some: Sequence[HeldOut]) -> float:
    """Median over rows of |predicted / measured - 1|."""
    return float(np.median([abs(np.expm1(-one.log_ratio)) for one in some]))


def median_error_by_device(some: Sequence[HeldOut]) -> float:
    """Median over devices of each one's median error: many rows of one device count once."""
    return float(np.median([np.median(np.abs(np.expm1(-np.array(logs)))) for logs in by_device(some).values()]))


def scores(some: Sequence[HeldOut]) -> list[float]:
    """|log ratio| for a conformal interval of a random row of the next device (`pooled.pooled_scores`)."""
    return pooled_scores(list(by_device(some).values()))


def coverage(some: Sequence[HeldOut], level: float = 0.9) -> float:
    """Share of rows, each device counting once, inside the interval that all other devices' scores give."""
    inside = []
    for device, logs in by_device(some).items():
        width = conformal_quantile(scores([one for one in some if one.row.device.title != device]), level)
        inside.append(float(np.mean(np.abs(logs) <= width)))
    return float(np.mean(inside))
