"""Fits of kernels in pieces: what is fitted twice, which choice wins, noise of clusters, splits that are held out."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy import SHEET

pytest.importorskip("scipy")

from calibration.fit import kernels
from calibration.fit.kernels import (
    Kernels,
    family_priors,
    features_of,
    fit_law,
    grid_of,
    held_out_trial,
    law_noise,
    log_residuals,
    start_at,
    values_of,
    with_correction,
)
from calibration.fit.residual import DECODE_GRID, PREFILL_GRID, gemm_grid
from calibration.observations.operators import OperatorObservation
from latmodel.laws.correction import Correction, Table
from latmodel.laws.float8 import FLOAT8_PRIORS
from latmodel.laws.priors import DEVICE_PRIORS, Prior

START = start_at(SHEET, "torch-eager")


def product(m: int = 64, n: int = 512, k: int = 512, **more: Any) -> OperatorObservation:
    return OperatorObservation(**{"op": "gemm", "gpu": "toy", "runtime": "torch-eager", "seconds": 1e-5, "m": m, "n": n,
                                  "k": k, "noise": 0.01, **more})  # fmt: skip


def attention(tokens: int, window: int = 0, **more: Any) -> OperatorObservation:
    return OperatorObservation(**{"op": "attention", "gpu": "toy", "runtime": "torch-eager", "seconds": 1e-5, "m": 4,
                                  "heads": 8, "kv_heads": 2, "head_dim": 64, "tokens": tokens, "context": 256,
                                  "window": window, **more})  # fmt: skip


LAW = Kernels("gemm", START, {})


def test_a_correction_multiplies_the_law() -> None:
    """Constant, of 20 %, over the measured range; it can be left out."""
    knots = tuple(np.array([0.0, 20.0]) for _ in "mnk")
    constant = Correction(
        (Table(("m", "n", "k"), knots, np.full((2, 2, 2), math.log(1.2))),),
        dict.fromkeys("mnk", 0.0), dict.fromkeys("mnk", 20.0),
    )  # fmt: skip
    rows, corrected = [product(), product(512)], Kernels("gemm", START, {}, constant)
    plain = LAW.seconds(rows)
    assert corrected.seconds(rows) == pytest.approx(1.2 * plain, rel=1e-3)
    assert corrected.seconds(rows, corrected=False) == pytest.approx(plain)
    measured = [row.model_copy(update={"seconds": 2.0 * float(s)}) for row, s in zip(rows, plain, strict=True)]
    assert log_residuals(LAW, measured) == pytest.approx([-math.log(2.0)] * 2)
    assert log_residuals(corrected, measured) == pytest.approx([math.log(0.6)] * 2, abs=1e-3)
    assert log_residuals(corrected, measured, corrected=False) == pytest.approx([-math.log(2.0)] * 2)


def test_rows_keep_their_places_hot_or_cold() -> None:
    rows = [product(hot=True), product(512), product(64)]
    alone = [float(LAW.seconds([row])[0]) for row in rows]
    assert LAW.seconds(rows) == pytest.approx(alone) and alone[0] < alone[2]


def test_priors_of_a_family() -> None:
    """Of products of 8-bit floats they have a table of their own; what only hot loops show is free in hot rows."""
    assert family_priors("gemm8", hot=False) == {
        f"device.float8.{name}": prior for name, prior in FLOAT8_PRIORS.items()
    }
    cold = {name for name in DEVICE_PRIORS if name.startswith("gemm.") and ".cache_" not in name}
    assert family_priors("gemm", hot=False).keys() == {f"device.{name}" for name in cold}
    assert family_priors("gemm", hot=True).keys() - family_priors("gemm", hot=False).keys() == {
        f"device.gemm.cache_{what}" for what in ("rate", "share", "width")
    }  # fmt: skip
    assert all(name.startswith("device.decode.") for name in family_priors("decode", hot=True))


class Fits:
    """In the place of `fit`: records its calls, ends at costs given by `window_whole`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs: dict[float, float] | None = None) -> None:
        self.starts: list[float] = []
        self.noises: list[list[float]] = []
        self.free: list[set[str]] = []
        self._costs = costs or {}
        monkeypatch.setattr(kernels, "fit", self)

    def __call__(self, pieces: Any, start: Any, free: Any) -> Any:
        choice = Kernels("decode", start, {}).window_whole
        self.starts.append(choice)
        self.free.append(set(free))
        self.noises.append([float(noise) for piece in pieces for noise in piece.noise])
        return SimpleNamespace(setup=start, coefficients={}, cost=self._costs.get(choice, 1.0))


@pytest.mark.parametrize(
    ("costs", "chosen"), [({0.0: 1.0, 1.0: 2.0}, 0.0), ({0.0: 2.0, 1.0: 1.0}, 1.0), ({0.0: 1.0, 1.0: 1.0}, 0.0)]
)
def test_how_a_decode_kernel_treats_windows_is_tried_both_ways(
    costs: dict[float, float], chosen: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(monkeypatch, costs)
    law = fit_law("decode", [attention(1), attention(1, window=64)], START)
    assert fits.starts == [0.0, 1.0] and law.window_whole == chosen and law.correction is None


@pytest.mark.parametrize(
    ("family", "rows"), [("decode", [attention(1)]), ("prefill", [attention(64, window=64)]), ("gemm8", [product()])]
)
def test_elsewhere_there_is_one_fit(
    family: str, rows: list[OperatorObservation], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(monkeypatch)
    fit_law(family, rows, START)
    assert fits.starts == [DEVICE_PRIORS["decode.window_whole"].value]


def test_one_hot_row_frees_what_hot_loops_show_unless_priors_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, given = Fits(monkeypatch), {"device.prefill.tile_s": Prior(1e-6, 1.0, 1e-9, 1e-2, "")}
    rows = [attention(64), attention(64, hot=True)]
    fit_law("prefill", rows, START)
    fit_law("prefill", rows, START, given)
    fit_law("prefill", rows[:1], START)
    assert [("device.prefill.cache_share" in free) for free in fits.free] == [True, False, False]
    assert fits.free[1] == given.keys()


@pytest.mark.parametrize(
    ("noise", "noises"),
    [(0.05, [[0.01, 0.2], [0.05, 0.2]]), (0.01, [[0.01, 0.2]]), (0.009, [[0.01, 0.2]]), (0.5, [[0.01, 0.2], [0.5, 0.5]])],
)  # fmt: skip
def test_products_are_fitted_again_where_the_law_is_less_sure_than_the_surest_row(
    noise: float, noises: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(monkeypatch)
    monkeypatch.setattr(kernels, "law_noise", lambda *_: noise)
    fit_law("gemm", [product(noise=0.01), product(noise=0.2)], START)
    assert fits.noises == noises


def noise_of(off: list[float], sizes: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(kernels, "log_residuals", lambda *_, corrected: np.array(off) if not corrected else None)
    return law_noise(LAW, [product(*size) for size in sizes])


def test_noise_of_rows_that_are_off_apart_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four rows two are in one octave of all three features: their residuals are added before they are squared."""
    sizes = [(64, 512, 512), (127, 1023, 700), (128, 512, 512), (64, 512, 1024)]
    together = noise_of([0.1, 0.2, 0.1, 0.1], sizes, monkeypatch)
    assert together == pytest.approx(math.sqrt((0.3**2 + 0.1**2 + 0.1**2) / 4))
    # Neighbours that make up for each other say no more than each alone does.
    apart = noise_of([0.2, -0.2, 0.1, 0.1], sizes, monkeypatch)
    assert apart == pytest.approx(math.sqrt((2 * 0.2**2 + 2 * 0.1**2) / 4))
    # 0.3 at most counts.
    assert noise_of([5.0, 0.0, -5.0, 0.0], sizes, monkeypatch) == pytest.approx(math.sqrt(2 * 0.3**2 / 4))


def test_features_are_logs_of_what_the_family_depends_on() -> None:
    found = features_of(LAW, [product(64, 512, 1024), product(1, 2, 4)])
    assert {name: values.tolist() for name, values in found.items()} == {
        "m": [6.0, 0.0],
        "n": [9.0, 1.0],
        "k": [10.0, 2.0],
    }
    assert features_of(Kernels("gemm8", START, {}), [product(dtype="float8")])["n"].tolist() == [9.0]
    prefill = features_of(Kernels("prefill", START, {}), [attention(128), attention(64)])
    assert prefill["tokens"].tolist() == [7.0, 6.0] and prefill["group"].tolist() == [2.0, 2.0]
    decode = features_of(Kernels("decode", START, {}), [attention(1), attention(1)])
    assert decode["length"].tolist() == [8.0, 8.0] and "tokens" not in decode
    assert {len(values) for values in (*prefill.values(), *decode.values())} == {2}


@pytest.mark.parametrize(
    ("n", "k", "narrow"), [(256, 256, False), (255, 256, True), (256, 255, True), (384, 300, False)]
)
def test_grids_that_suit_the_rows(n: int, k: int, narrow: bool) -> None:
    rows = [product(n=1024, k=1024), product(n=n, k=k)]
    assert grid_of("gemm", rows) == gemm_grid(narrow=narrow)
    assert grid_of("gemm8", rows) == gemm_grid(narrow=narrow, float8=True)
    assert grid_of("prefill", rows) is PREFILL_GRID and grid_of("decode", rows) is DECODE_GRID


def test_a_correction_learns_measured_over_law() -> None:
    """Twenty rows that all take 3 % longer than the law: within the ridge's pull it learns just that."""
    rows = [product(m, 512 + 64 * i) for i, m in enumerate((64, 128) * 10)]
    slow = [row.model_copy(update={"seconds": 1.03 * float(s)}) for row, s in zip(rows, LAW.seconds(rows), strict=True)]
    learnt = with_correction(LAW, slow)
    assert np.median(learnt.seconds(rows) / LAW.seconds(rows)) == pytest.approx(1.03, abs=0.005)
    assert (learnt.family, learnt.setup, learnt.coefficients) == ("gemm", START, {})


class Split:
    """In the place of fit and residuals: which rows were fitted, and residuals that are the rows' own numbers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits: list[list[int]] = []
        monkeypatch.setattr(kernels, "fit_kernels", self.fit)
        monkeypatch.setattr(kernels, "log_residuals", self.residuals)

    def fit(self, family: str, rows: Any, start: Any) -> int:
        self.fits.append([row.n for row in rows])
        return len(rows)

    def residuals(self, fitted: int, rows: Any, *, corrected: bool = True) -> np.ndarray:
        sign = (-1.0) ** np.array([row.n for row in rows])
        return sign * np.array([row.n for row in rows]) * (1.0 if corrected else 10.0)


@pytest.mark.parametrize(("share", "count", "kept"), [(0.1, 20, 15), (0.5, 50, 37), (0.4, 40, 30)])
def test_a_trial_fits_a_share_and_scores_a_quarter_of_it(
    share: float, count: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Residuals are 1 … 100: the interval is the ⌈0.9 (n + 1)⌉-th of those set aside, and covers so many of the rest."""
    split, rows = Split(monkeypatch), [product(n=i) for i in range(1, 101)]
    trial = held_out_trial("gemm", rows, START, 3, share) if share != 0.1 else held_out_trial("gemm", rows, START, 3)
    train = [int(i) + 1 for i in np.random.default_rng(3).permutation(100)]
    assert split.fits == [train[:count], train[:kept]]
    assert trial.fitted_rows == count and [i + 1 for i in trial.test] == train[count:]
    assert trial.corrected.tolist() == [(-1) ** n * n for n in train[count:]]
    assert trial.law.tolist() == [10 * (-1) ** n * n for n in train[count:]]
    scored = sorted(train[kept:count])
    width = scored[min(math.ceil(0.9 * (len(scored) + 1)), len(scored)) - 1]
    inside = sum(n <= width for n in train[count:])
    assert trial.covered_percent == pytest.approx(100.0 * inside / (100 - count)) and inside > 0


def test_an_interval_covers_nine_tenths_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 50 that are set aside the 46th."""
    Split(monkeypatch)
    rows = [product(n=i) for i in range(1, 401)]
    order = [int(i) + 1 for i in np.random.default_rng(1).permutation(400)]
    width = sorted(order[150:200])[45]
    expected = 100.0 * sum(n <= width for n in order[200:]) / 200
    assert held_out_trial("gemm", rows, START, 1, 0.5).covered_percent == pytest.approx(expected)


def test_a_lower_level_makes_a_narrower_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    Split(monkeypatch)
    rows = [product(n=i) for i in range(1, 101)]
    levels = [held_out_trial("gemm", rows, START, 0, 0.5, level).covered_percent for level in (0.5, 0.9)]
    assert levels[0] < 70.0 < levels[1]


def test_values_of_a_family_alone() -> None:
    assert {name.split(".")[0] for name in values_of(LAW)} == {"gemm"}
    assert {name.split(".")[0] for name in values_of(Kernels("gemm8", START, {}))} == {"float8"}
    assert values_of(Kernels("decode", START, {}))["decode.window_whole"] == 1.0
