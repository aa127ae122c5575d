"""A fit of laws so small that optimum, errors and correlations have closed forms."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fit_toy import Plain, huber, objective, prior, rows, times

pytest.importorskip("scipy")

from calibration.fit import fit as module
from calibration.fit.fit import (
    Fitted,
    Stop,
    _correlated,
    _status,
    covariance_of,
    fit,
    fitted_at,
    log_ratios,
    used_by,
)
from latmodel.errors import LatmodelError
from latmodel.laws.priors import Prior

OFF = [0.02, -0.01, 0.03, 0.0]  # log(measured / the prior's) of some rows


def fitted(pieces: list[Any], begin: dict[str, float] | None = None, **priors: Prior) -> Fitted:
    start = Plain(dict.fromkeys(priors, 1.0))
    return fit(pieces, start, priors, begin)  # type: ignore[arg-type]


def test_a_mean_and_its_error() -> None:
    """Residuals of a tenth of the noise are square: the mean of four rows with variance 0.2², the prior's with 0.3²."""
    found = fitted([rows(times("a"), np.exp(OFF).tolist(), 0.2)], a=prior(1.1, 0.3))
    weight, prior_weight = 4 / 0.2**2, 1 / 0.3**2
    mean = (weight * 0.01 + prior_weight * math.log(1.1)) / (weight + prior_weight)
    assert math.log(found.coefficients["a"].value) == pytest.approx(mean, abs=1e-4)
    assert found.coefficients["a"].stderr_log == pytest.approx((weight + prior_weight) ** -0.5, rel=1e-2)
    assert found.covariance[0, 0] == pytest.approx(found.coefficients["a"].stderr_log ** 2)
    assert found.coefficients["a"].status == "fitted" and found.priors["a"].value == 1.1


def test_what_is_told_of_the_end() -> None:
    """Residuals by row, cost as by the objective, and the noise of the rows for comparing laws' own errors."""
    pieces = [rows(times("a"), np.exp(OFF).tolist(), [0.2, 0.2, 0.2, 0.001]), rows(times("b"), [2.0], 0.3, first=4)]
    found = fitted(pieces, a=prior(), b=prior(2.0, 0.1))
    a = math.log(found.coefficients["a"].value)
    assert found.residuals == pytest.approx({i: a - off for i, off in enumerate([*OFF])} | {4: 0.0}, abs=1e-6)
    one = objective(pieces, a=prior(), b=prior(2.0, 0.1))
    assert found.cost == pytest.approx(one.cost(np.array([a, math.log(2.0)])), rel=1e-6)
    assert found.stop.optimality < 1e-2 and "termination" in found.stop.message and found.law_error == 0.0
    noise = 3 * math.log(0.2) + math.log(0.01) + math.log(0.3)
    assert found.log_noise == pytest.approx(noise) and found.misfit == pytest.approx(found.cost + noise)


def test_a_far_start_ends_where_the_priors_start_does() -> None:
    """Two coefficients of a curved law: sizes 1, 4 and 16 of a · size + b."""
    sizes = np.array([1.0, 4.0, 16.0, 64.0])
    law = lambda target: target["a"] * sizes + target["b"]  # noqa: E731
    pieces = [rows(law, (2.0 * sizes + 30.0).tolist(), 0.05)]
    for begin in (None, {"a": 0.01, "b": 900.0}, {"a": 900.0, "b": 0.01}):
        found = fitted(pieces, begin, a=prior(1.0, 50.0), b=prior(1.0, 50.0)).coefficients
        assert found["a"].value == pytest.approx(2.0, rel=1e-3) and found["b"].value == pytest.approx(30.0, rel=1e-3)


def test_what_stays_is_not_moved() -> None:
    start = Plain({"a": 1.0, "fixed": 5.0})
    law = lambda target: target["a"] * target["fixed"] * np.ones(3)  # noqa: E731
    found = fit([rows(law, [10.0] * 3, 0.01)], start, {"a": prior(1.0, 9.0)})  # type: ignore[arg-type]
    assert found.coefficients["a"].value == pytest.approx(2.0, rel=1e-4) and found.setup.values["fixed"] == 5.0  # type: ignore[attr-defined]
    assert set(found.coefficients) == {"a"}


@pytest.mark.parametrize(("low", "high", "end"), [(0.5, 1.2, 1.2), (2.5, 9.0, 2.5)])
def test_a_coefficient_at_its_bound_is_named(low: float, high: float, end: float) -> None:
    found = fitted([rows(times("a"), [2.0] * 4, 0.02)], a=prior(max(1.0, low), 9.0, low, high)).coefficients["a"]
    assert found.status == "boundary" and found.value == pytest.approx(end, rel=1e-3)


@pytest.mark.parametrize(("value", "status"), [(1.0 + 2e-3, "fitted"), (1.0 + 5e-4, "boundary")])
def test_a_thousandth_away_from_a_bound_is_at_it(value: float, status: str) -> None:
    """Below and above."""
    one = objective([rows(times("a"), [value] * 4, 0.02)], a=prior(1.0, 9.0, 1.0, 4.0))
    two = objective([rows(times("a"), [1.0 / value] * 4, 0.02)], a=prior(1.0, 9.0, 0.25, 1.0))
    for each, log in ((one, math.log(value)), (two, -math.log(value))):
        at = np.array([log])
        end = fitted_at(each, at, each.jacobian(at, 1e-6), each.residuals(at), Stop(0.0, 0.0, ""))
        assert end.coefficients["a"].status == status


@pytest.mark.parametrize(("error", "status"), [(0.139, "fitted"), (0.141, "undetermined")])
def test_an_error_of_seven_tenths_of_the_prior_s_says_nothing(error: float, status: str) -> None:
    assert _status(error, prior(1.0, 0.2), at_bound=False) == status
    assert _status(error, prior(1.0, 0.2), at_bound=True) == "boundary"


def test_pairs_are_named_from_a_correlation_of_nine_tenths() -> None:
    matrix = np.array([[1.0, 0.91, -0.2], [0.91, 1.0, -0.95], [-0.2, -0.95, 1.0]])
    assert _correlated("abc", matrix) == (("a", "b", 0.91), ("b", "c", -0.95))
    assert _correlated("abc", np.array([[1.0, 0.89, 0.0], [0.89, 1.0, 0.0], [0.0, 0.0, 1.0]])) == ()


def test_coefficients_of_which_only_the_product_is_seen_are_correlated() -> None:
    """With the data's precision p and equal priors of 1 the correlation is −p / (p + 1): −4/0.05² / (4/0.05² + 1)."""
    law = lambda target: target["a"] * target["b"] * np.ones(4)  # noqa: E731
    ((first, second, found),) = fitted([rows(law, np.exp(OFF).tolist(), 0.05)], a=prior(), b=prior()).correlated
    assert (first, second) == ("a", "b") and found == pytest.approx(-1600.0 / 1601.0, abs=1e-4)


@pytest.mark.parametrize(
    ("status", "x", "fails"), [(-1, 0.0, True), (0, 0.0, True), (1, math.nan, True), (1, 0.0, False)]
)
def test_a_solver_that_failed_is_an_error(status: int, x: float, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message is told. One that ran out of evaluations is nowhere in particular, and its errors mean nothing."""
    end = SimpleNamespace(
        status=status, x=np.array([x]), message="no luck", cost=1.0, optimality=0.1, jac=np.ones((2, 1)), fun=np.zeros(2)
    )  # fmt: skip
    monkeypatch.setattr(module, "least_squares", lambda *_, **__: end)
    if fails:
        with pytest.raises(LatmodelError, match="the fit failed: no luck"):
            fitted([rows(times("a"), [1.0], 0.1)], a=prior())
    else:
        assert fitted([rows(times("a"), [1.0], 0.1)], a=prior()).stop == Stop(1.0, 0.1, "no luck")


def problem(shapes: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Slopes and residuals at the optimum of a linear problem with three coefficients and their priors."""
    random = np.random.default_rng(seed)
    count = shapes * each
    slopes = np.concatenate([random.normal(size=(count, 3)), np.diag([2.0, 1.0, 0.5])])
    target = np.concatenate([random.normal(size=count), np.zeros(3)])
    best = np.linalg.lstsq(slopes, target, rcond=None)[0]
    return slopes, slopes @ best - target, [f"s{i}" for i in range(shapes) for _ in range(each)]


def optimum(slopes: np.ndarray, residuals: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Where the optimum moves without some rows: a fit anew."""
    kept = ~without
    return np.asarray(np.linalg.lstsq(slopes[kept], -residuals[kept], rcond=None)[0])


def test_errors_by_noise_are_the_inverse_curvature_where_rows_scatter_as_they_say() -> None:
    slopes, residuals, _ = problem(8, 3)
    quiet = 0.1 * residuals
    expected = np.linalg.inv(slopes.T @ slopes)
    assert covariance_of(slopes, quiet, [""] * 24) == pytest.approx(expected)


def test_rows_that_scatter_more_count_less_and_priors_as_much() -> None:
    """χ² over the rows less the trace of the data's share of the curvature."""
    slopes, residuals, _ = problem(8, 3)
    loud = 5.0 * residuals
    data, by_prior = slopes[:24].T @ slopes[:24], np.diag([4.0, 1.0, 0.25])
    freedom = 24 - np.trace(np.linalg.inv(data + by_prior) @ data)
    assert used_by(data, by_prior) == pytest.approx(24 - freedom) and 2.0 < 24 - freedom < 3.0
    scatter = float(loud[:24] @ loud[:24]) / freedom
    assert scatter > 2.0
    assert covariance_of(slopes, loud, [""] * 24) == pytest.approx(np.linalg.inv(data / scatter + by_prior))


def test_more_coefficients_than_rows_leave_one_degree_of_freedom() -> None:
    slopes = np.concatenate([np.ones((2, 1)) * 1e3, np.eye(1) * 1e-6])
    residuals = np.array([3.0, -3.0, 0.0])
    assert covariance_of(slopes, residuals, ["", ""])[0, 0] == pytest.approx(18.0 / 2e6, rel=1e-6)
    # One row, one coefficient: no freedom is left, and one stands in for it.
    alone = covariance_of(slopes[1:], residuals[1:], [""])[0, 0]
    assert alone == pytest.approx(9.0 / 1e6, rel=1e-6)


@pytest.mark.parametrize("each", [1, 3])
def test_the_jackknife_is_that_of_fits_anew_without_each_shape(each: int) -> None:
    """For a linear problem one Newton step is the whole way: Σ δδ' (G − 1) / G and the priors' own part."""
    shapes = 12
    slopes, residuals, names = problem(shapes, each)
    rows_of = np.array([*names, "", "", ""])
    moves = np.array([optimum(slopes, residuals, rows_of == one) for one in sorted({*names})])
    inverse = np.linalg.inv(slopes.T @ slopes)
    by_shapes = moves.T @ moves * (shapes - 1) / shapes + inverse @ np.diag([4.0, 1.0, 0.25]) @ inverse
    by_noise = covariance_of(slopes, residuals, [""] * len(names))
    assert covariance_of(slopes, residuals, names) == pytest.approx(0.5 * (by_noise + by_shapes), rel=1e-9)


def test_nine_shapes_are_enough_for_it() -> None:
    for shapes, is_mean in ((8, False), (9, True)):
        slopes, residuals, names = problem(shapes, 2)
        alone = covariance_of(slopes, residuals, [""] * len(names))
        found = covariance_of(slopes, residuals, names)
        assert np.allclose(found, alone) is not is_mean
        mixed = covariance_of(slopes, residuals, ["", *names[1:]])
        assert np.allclose(mixed, alone)


def test_shapes_are_those_of_all_pieces() -> None:
    """Pieces that name no shapes have none: the noise of the rows stands alone."""
    off = 3.0 * np.random.default_rng(1).normal(size=24)
    named = rows(times("a"), np.exp(0.05 * off[:20]).tolist(), 0.05, [f"s{i // 2}" for i in range(20)])
    other = rows(times("a"), np.exp(0.05 * off[20:]).tolist(), 0.05, first=20)
    also = rows(times("a"), np.exp(0.05 * off[20:]).tolist(), 0.05, ["s10", "s11", "s10", "s11"], first=20)
    alone, both = (fitted([named, one], a=prior(1.0, 9.0)) for one in (other, also))
    mean = math.log(alone.coefficients["a"].value)
    slope = (huber(20.0 * (mean - 0.05 * off + 1e-6)) - huber(20.0 * (mean - 0.05 * off - 1e-6))) / 2e-6
    squares = float(np.sum(huber(20.0 * (mean - 0.05 * off)) ** 2))
    curvature = float(slope @ slope)
    expected = 1.0 / (curvature / (squares / (24 - curvature / (curvature + 1 / 81))) + 1 / 81)
    assert alone.covariance[0, 0] == pytest.approx(expected, rel=1e-3)
    assert abs(both.covariance[0, 0] / alone.covariance[0, 0] - 1.0) > 0.01


def test_log_ratios_are_predicted_over_measured() -> None:
    piece = rows(times("a", [1.0, 4.0]), [2.0, 2.0], 0.1)
    assert log_ratios(piece, Plain({"a": 1.0})) == pytest.approx([-math.log(2.0), math.log(2.0)])  # type: ignore[arg-type]


def test_an_outcome_made_by_hand_has_no_error_of_the_law() -> None:
    bare = Fitted(Plain({}), {}, {}, {}, Stop(2.0, 0.0, ""))  # type: ignore[arg-type]
    assert (bare.law_error, bare.cost, bare.misfit) == (0.0, 2.0, 2.0)
    assert bare.correlated == () and bare.covariance.shape == (0, 0)
