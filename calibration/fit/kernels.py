"""Fitting the law of one family of kernels (GEMM, prefill or decode attention), and its correction, to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latmodel.device.profile import FLOAT8, Coefficient
from latmodel.laws.attention import shape_of
from latmodel.laws.coefficients import coefficient_values
from latmodel.laws.correction import Correction, decode_features, gemm_features, prefill_features
from latmodel.laws.correction_part import Family
from latmodel.laws.corrector import Corrector
from latmodel.laws.float8 import FLOAT8_PRIORS
from latmodel.laws.priors import PYTORCH_ONLY, Prior
from latmodel.model.implementation import Implementation
from latmodel.predict.intervals import conformal_quantile
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ..observations.operators import OperatorObservation, cost_of, operator_evidence
from . import make
from .fit import fit
from .residual import DECODE_GRID, PREFILL_GRID, Grid, gemm_grid, learn
from .setup import Setup

Vector = NDArray[np.float64]

FAMILIES: tuple[Family, ...] = ("gemm", "prefill", "decode")
PRODUCTS = ("gemm", "gemm8")  # the second of 8-bit floats, fitted as a family of its own
NARROW = 256.0  # GEMMs with fewer outputs or inputs than this get their own knots
SCORED_SHARE = 0.25  # of the rows to fit, set aside to score intervals with
OUTLIER = 0.3  # residuals of a row count as this much at most when a law's own error is estimated
PLAIN: Implementation = IMPLEMENTATIONS["torch"]
FLASH_PACKS = (0.0, 1.0)  # `window_whole`: whether windowed layers keep grouped heads packed is the kernel's choice


@dataclass(frozen=True)
class Kernels:
    """One family's fitted law on one card, and its correction (None: the law alone)."""

    family: str
    setup: Setup
    coefficients: dict[str, Coefficient]
    correction: Correction | None = None

    @property
    def window_whole(self) -> float:
        """How the decode kernel treats windowed layers (`coefficients`)."""
        return coefficient_values(self.setup.device)["decode.window_whole"]

    def seconds(self, rows: Sequence[OperatorObservation], *, corrected: bool = True) -> Vector:
        """Predicted seconds of rows of one family, hot or cold as each says."""
        seconds = np.zeros(len(rows))
        runtime = next(iter(self.setup.runtimes))
        target = self.setup.target(runtime)
        if corrected and self.correction is not None:
            target = target._replace(corrector=Corrector({self.family: self.correction}, self.window_whole))
        for piece in operator_evidence(rows):
            seconds[list(piece.index)] = piece.predict(target)
        return seconds


def start_at(sheet: Any, runtime: str) -> Setup:
    """Where a fit of kernels starts: priors, with plain PyTorch around them (which no kernel depends on)."""
    start = make.setup_at_priors(sheet, {runtime: PLAIN.name}).moved({f"device.{name}": 0.0 for name in PYTORCH_ONLY})
    return start.moved({f"device.{FLOAT8}.{name}": prior.value for name, prior in FLOAT8_PRIORS.items()})


def family_priors(family: str, *, hot: bool) -> dict[str, Prior]:
    """Priors of one family's coefficients; published products of 8-bit floats are all hot."""
    if family == "gemm8":
        return {f"device.{FLOAT8}.{name}": prior for name, prior in FLOAT8_PRIORS.items()}
    every, unseen = make.device_priors(hot=hot), {f"device.{name}" for name in PYTORCH_ONLY}
    return {k: prior for k, prior in every.items() if k.startswith(f"device.{family}.") and k not in unseen}


def fit_law(
    family: str, rows: Sequence[OperatorObservation], start: Setup, priors: dict[str, Prior] | None = None
) -> Kernels:
    """The law's coefficients from rows of one family.

    That of products is fitted twice: the second time no row counts as surer than the law turned out to be
    (`law_noise`), or a law that does not quite fit a card would overrule its priors by the mere number of rows. (Laws
    of attention are off by about the noise that their rows carry; a second fit changes nothing.)
    """
    first = _fit_once(family, rows, start, priors)
    if family != "gemm":
        return first
    noise = law_noise(first, rows)
    if noise <= min(row.noise for row in rows):
        return first
    blurred = [row.model_copy(update={"noise": max(row.noise, noise)}) for row in rows]
    return _fit_once(family, blurred, start, priors)


def _fit_once(
    family: str, rows: Sequence[OperatorObservation], start: Setup, priors: dict[str, Prior] | None
) -> Kernels:
    """For decode the kernel's treatment of windowed layers is chosen by fitting both ways and keeping the better."""
    free = priors if priors is not None else family_priors(family, hot=any(row.hot for row in rows))
    evidence = operator_evidence(rows)
    choices = FLASH_PACKS if family == "decode" and any(row.window for row in rows) else (None,)
    best = None
    for choice in choices:
        begin = start if choice is None else start.moved({"device.decode.window_whole": choice})
        one = fit(evidence, begin, free)
        if best is None or one.cost < best.cost:
            best = one
    assert best is not None, "there is at least one choice"
    return Kernels(family, best.setup, best.coefficients)


def law_noise(law: Kernels, rows: Sequence[OperatorObservation]) -> float:
    """Standard deviation to fit independent rows with, if the law is off by as much as it is here, log units.

    Neighbours are off together and say less than as many independent rows: the variance is that of residuals summed
    over each octave of the features, a row (the design effect of cluster sampling; Kish 1965).
    """
    residuals = np.clip(log_residuals(law, rows, corrected=False), -OUTLIER, OUTLIER)
    octaves = np.floor(np.stack(list(features_of(law, rows).values()), axis=1))
    _, cluster = np.unique(octaves, axis=0, return_inverse=True)
    together = float(np.sum(np.bincount(cluster.ravel(), residuals) ** 2))
    return float(np.sqrt(max(together, float(residuals @ residuals)) / len(rows)))


def with_correction(law: Kernels, rows: Sequence[OperatorObservation]) -> Kernels:
    """The law with a correction learnt from the rows it was fitted to."""
    measured = np.array([row.seconds for row in rows])
    log_ratio = np.log(measured / law.seconds(rows, corrected=False))
    features = features_of(law, rows)
    return Kernels(law.family, law.setup, law.coefficients, learn(features, grid_of(law.family, rows), log_ratio))


def features_of(law: Kernels, rows: Sequence[OperatorObservation]) -> dict[str, Vector]:
    """log2 features of each row."""
    if law.family in PRODUCTS:
        return gemm_features(*(np.array([float(getattr(row, name)) for row in rows]) for name in "mnk"))
    shape = shape_of(cost_of("attention", rows, PLAIN))
    features = prefill_features(shape) if law.family == "prefill" else decode_features(shape, law.window_whole)
    return {name: np.broadcast_to(np.asarray(values, dtype=float), len(rows)) for name, values in features.items()}


def grid_of(family: str, rows: Sequence[OperatorObservation]) -> Sequence[Grid]:
    """The knots that suit the rows."""
    if family in PRODUCTS:
        narrow = any(row.n < NARROW or row.k < NARROW for row in rows)
        return gemm_grid(narrow=narrow, float8=family == "gemm8")
    return PREFILL_GRID if family == "prefill" else DECODE_GRID


def fit_kernels(family: str, rows: Sequence[OperatorObservation], start: Setup) -> Kernels:
    """Law and correction."""
    return with_correction(fit_law(family, rows, start), rows)


@dataclass(frozen=True)
class Trial:
    """What one random split showed: log(predicted / measured) of held-out rows, and how well intervals covered them."""

    fitted_rows: int
    test: list[int]  # index of each held-out row
    law: Vector
    corrected: Vector
    covered_percent: float


def held_out_trial(
    family: str, rows: Sequence[OperatorObservation], start: Setup, seed: int, share: float = 0.1, level: float = 0.9
) -> Trial:
    """Fit to a random `share` of the shapes, predict the rest.

    The interval is split-conformal: a second fit to 75 % of that share, scored on the remaining 25 %.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    count = max(int(share * len(rows)), 20)
    train, test = [rows[i] for i in order[:count]], [rows[i] for i in order[count:]]
    kernels = fit_kernels(family, train, start)
    kept = int((1.0 - SCORED_SHARE) * count)
    partial = fit_kernels(family, train[:kept], start)
    width = conformal_quantile(np.abs(log_residuals(partial, train[kept:])).tolist(), level)
    inside = np.abs(log_residuals(partial, test)) <= width
    return Trial(
        count,
        order[count:].tolist(),
        log_residuals(kernels, test, corrected=False),
        log_residuals(kernels, test),
        100.0 * float(np.mean(inside)),
    )


def log_residuals(kernels: Kernels, rows: Sequence[OperatorObservation], *, corrected: bool = True) -> Vector:
    """log(predicted / measured) by row."""
    measured = np.array([row.seconds for row in rows])
    return np.asarray(np.log(kernels.seconds(rows, corrected=corrected) / measured))


def values_of(kernels: Kernels) -> dict[str, float]:
    """The fitted family's coefficients, `window_whole` included, by `family.name`."""
    values = coefficient_values(kernels.setup.device)
    prefix = f"{FLOAT8}." if kernels.family == "gemm8" else f"{kernels.family}."
    return {name: value for name, value in values.items() if name.startswith(prefix)}
