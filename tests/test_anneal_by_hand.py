"""The annealed fit in pieces: the law's own error, softened stages, jumps and when they end."""

import math
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from fit_toy import Plain, huber, objective, prior, rows, times

pytest.importorskip("scipy")

from calibration.fit import anneal
from calibration.fit.anneal import AGAIN, POLISH, SHARP, SOFT, Stage, annealed_fit, estimated_law_error
from calibration.fit.objective import Objective
from latmodel.errors import LatmodelError


def alternating(count: int, off: float, noise: float = 0.01) -> Objective:
    """Rows that a law without a coefficient misses by ± `off`."""
    measured = [math.exp(off * (-1) ** i) for i in range(count)]
    return objective([rows(lambda target: np.ones(count), measured, noise)], a=prior(1.0, 0.3))


@pytest.mark.parametrize("off", [0.03, 0.2])
def test_the_law_s_error_makes_rows_scatter_as_their_noise(off: float) -> None:
    """Squares of 8 (√(1 + r² / 4) − 1) sum to the rows where each is 1: r = 2 √(1.125² − 1)."""
    total = off / (2.0 * math.sqrt(1.125**2 - 1.0))
    expected = math.sqrt(total**2 - 0.01**2)
    assert estimated_law_error(alternating(20, off), np.zeros(1)) == pytest.approx(expected, abs=2e-5)
    # A noise below its floor counts as the floor.
    assert estimated_law_error(alternating(20, off, 0.002), np.zeros(1)) == pytest.approx(expected, abs=2e-5)


def test_rows_that_scatter_less_than_they_say_show_no_error() -> None:
    assert estimated_law_error(alternating(20, 0.009), np.zeros(1)) == 0.0
    assert estimated_law_error(alternating(20, 0.01033), np.zeros(1)) > 0.0


def test_the_error_is_half_at_most() -> None:
    assert estimated_law_error(alternating(20, 5.0), np.zeros(1)) == 0.5


def test_eight_rows_beyond_the_coefficients_are_needed() -> None:
    assert estimated_law_error(alternating(7, 0.1), np.zeros(1)) == 0.0
    assert estimated_law_error(alternating(8, 0.1), np.zeros(1)) > 0.05
    measured = [math.exp(0.1 * (-1) ** i) for i in range(8)]
    seen = objective([rows(times("a"), measured, 0.01)], a=prior(1.0, 0.3))  # one of the eight rows gives a
    assert estimated_law_error(seen, np.zeros(1)) == 0.0


def test_rows_less_what_they_determine_are_what_is_expected() -> None:
    """Twenty rows of one coefficient leave 19: each residual's square is 19/20."""
    measured = [math.exp(0.1 * (-1) ** i) for i in range(20)]
    seen = objective([rows(times("a"), measured, 0.01)], a=prior(1.0, 9.0))
    total = 0.1 / (2.0 * math.sqrt((1.0 + 0.95 / 8.0) ** 2 - 1.0))
    expected = math.sqrt(total**2 - 0.01**2)
    assert estimated_law_error(seen, np.zeros(1)) == pytest.approx(expected, abs=3e-5)


@pytest.mark.parametrize("softness", [1.0, 5.0])
def test_soft_data_count_for_less_against_the_prior(softness: float) -> None:
    """Nine rows 0.02 above the prior with noise 0.1, divided by the softness; the prior's spread is 0.05."""
    one = objective([rows(times("a"), [math.exp(0.02)] * 9, 0.1)], a=prior(1.0, 0.05))
    weight = 9 / (0.1 * softness) ** 2
    found = anneal._descend(one, np.zeros(1), [Stage(0.01, softness)])
    assert found[0] == pytest.approx(0.02 * weight / (weight + 1 / 0.05**2), rel=5e-3)


def test_stages_lead_on_from_each_other() -> None:
    """Two steep stages of a curved law end nearer than one of few evaluations."""
    one = objective([rows(times("a"), [50.0] * 5, 0.05)], a=prior(1.0, 30.0))
    end = anneal._descend(one, np.zeros(1), SHARP)
    assert end[0] == pytest.approx(math.log(50.0), rel=1e-4)


def test_a_stage_is_as_exact_as_a_hundred_thousandth() -> None:
    one = objective([rows(times("a"), [1.3] * 5, 0.05)], a=prior(1.0, 0.02))
    end = anneal._descend(one, np.array([0.2]), [Stage(1e-4, 1.0)])
    around = [one.cost(end + shift) for shift in (-2e-4, 0.0, 2e-4)]
    assert min(around) == around[1]


def test_the_schedule_cools() -> None:
    """Data count for a hundredth at first; slopes see a tenth at first; each later stage sees and softens no more."""
    assert SOFT[0].softness ** 2 == 100.0 and SOFT[0].step == 0.1
    stages = [*SOFT, *SHARP]
    assert [one.softness for one in stages] == [10.0, 5.0, 2.5, 1.5, 1.0, 1.0]
    steps = [one.step for one in stages]
    assert sorted(steps, reverse=True) == steps and steps[-1] == 0.001 and steps[2] == 0.1 / 2 and steps[3] == 0.03
    polish = [one.step for one in POLISH]
    assert {one.softness for one in (*POLISH, *AGAIN)} == {1.0}
    assert all(2.9 < wide / fine < 3.4 for wide, fine in pairwise(polish))
    assert (polish[0], polish[-1], anneal.LAST_STEP) == (0.01, 1e-4, 1e-5)
    assert [one.step for one in AGAIN] == [SHARP[0].step, SHARP[-1].step]


def test_jumps_go_along_the_valleys_cheapest_first() -> None:
    """Of a product alone: the data's precision 400, priors of 1. Inverse of [[401, 400], [400, 401]] / 801."""
    law = lambda target: target["a"] * target["b"] * np.ones(4)  # noqa: E731
    one = objective([rows(law, [1.0] * 4, 0.1)], a=prior(), b=prior(1.0, 1.0, 0.99, 40.0))
    covariance = np.array([[401.0, -400.0], [-400.0, 401.0]]) / 801.0
    deviation = math.sqrt(401.0 / 801.0)
    free = [size * row / deviation for size in (1.5, -1.5, 3.0, -3.0) for row in covariance]
    low = math.log(0.99) + 1e-3
    expected = [(a, min(max(b, low), math.log(40.0) - 1e-3)) for a, b in free]
    found = anneal._jumps(one, np.zeros(2))
    assert found.shape == (8, 2)
    assert np.array(sorted(map(tuple, found))) == pytest.approx(np.array(sorted(expected)), rel=2e-3, abs=2e-4)
    costs = [one.cost(point) for point in found]
    assert costs == sorted(costs)


def test_slopes_of_jumps_are_means_over_three_percent() -> None:
    """A step of the law within that is seen: 1 below exp(0.02), 1.5 above."""
    law = lambda target: np.where(np.broadcast_to(target["a"], np.shape(target["a"])) > math.exp(0.02), 1.5, 1.0)  # noqa: E731
    one = objective([rows(lambda target: law(target) * np.ones(1), [1.0], 0.1)], a=prior(1.0, 1.0))
    slope = float(huber(math.log(1.5) / 0.1)) / 0.06
    found = anneal._jumps(one, np.zeros(1))
    assert found.max() == pytest.approx(3.0 / math.sqrt(slope**2 + 1.0), rel=1e-6)


class Scripted:
    """Descents that reach the given costs in turn, the last for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs: Sequence[float]) -> None:
        self.descents, self.listed, self._costs = 0, 0, list(costs)
        monkeypatch.setattr(anneal, "_descend", self._descend)
        monkeypatch.setattr(anneal, "_jumps", self._jumps)

    def _jumps(self, _: object, logs: np.ndarray) -> np.ndarray:
        self.listed += 1
        return np.tile(logs, (6, 1))

    def _descend(self, objective: object, logs: np.ndarray, stages: Sequence[Stage]) -> np.ndarray:
        assert stages is AGAIN
        self.descents += 1
        return np.array([self._costs.pop(0) if len(self._costs) > 1 else self._costs[0]])

    def cost(self, logs: np.ndarray) -> float:
        return float(logs[0])

    def run(self, begin: float = 100.0) -> float:
        return float(anneal._jumped(self, np.array([begin]))[0])  # type: ignore[arg-type]


def test_five_jumps_in_vain_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(monkeypatch, [100.0])
    assert script.run() == 100.0 and (script.descents, script.listed) == (5, 1)


def test_a_fall_of_less_than_a_thousandth_is_kept_and_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(monkeypatch, [99.95, 120.0])
    assert script.run() == 99.95 and (script.descents, script.listed) == (5, 1)


def test_a_fall_makes_new_valleys_and_starts_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """99.8 at the third jump: five more, from a new list of six."""
    script = Scripted(monkeypatch, [110.0, 100.0, 99.8, 99.9])
    assert script.run() == 99.8 and (script.descents, script.listed) == (3 + 5, 2)


def test_there_are_24_jumps_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(monkeypatch, [100.0 * 0.9**i for i in range(1, 40)])
    assert script.run() == pytest.approx(100.0 * 0.9**24) and script.descents == script.listed == 24


def test_a_list_that_ran_out_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anneal, "PATIENCE", 9)
    script = Scripted(monkeypatch, [100.0])
    assert script.run() == 100.0 and (script.descents, script.listed) == (9, 2)


def test_a_whole_fit_of_a_mean() -> None:
    """Rows off by ± 0.1 about 0.3: the mean, the law's error and a standard error that holds it."""
    measured = [math.exp(0.3 + 0.1 * (-1) ** i) for i in range(20)]
    start = Plain({"a": 1.0})
    found = annealed_fit([rows(times("a"), measured, 0.01)], start, {"a": prior(1.0, 9.0)})  # type: ignore[arg-type]
    assert math.log(found.coefficients["a"].value) == pytest.approx(0.3, abs=1e-4)
    assert 0.08 < found.law_error < 0.11
    # The slope of the loss is not 1 where it bends: within 15 % of the textbook's σ / √n.
    assert found.coefficients["a"].stderr_log == pytest.approx(0.1 / math.sqrt(20.0), rel=0.15)
    assert found.log_noise == pytest.approx(20 * math.log(math.hypot(0.01, found.law_error)))
    given = annealed_fit([rows(times("a"), measured, 0.01)], start, {"a": prior(1.0, 9.0)}, {"a": 7.0}, 0.2)  # type: ignore[arg-type]
    assert given.law_error == 0.2 and math.log(given.coefficients["a"].value) == pytest.approx(0.3, abs=1e-4)


def test_the_end_is_exact_to_a_millionth() -> None:
    """Of a · size + b with rows ± 2 % off: the slope of the cost that is left, scaled by the room to the bounds."""
    sizes = np.array([1.0, 4.0, 16.0, 64.0] * 3)
    measured = (2.0 * sizes + 30.0) * np.exp(0.02 * (-1.0) ** np.arange(12))
    piece = rows(lambda target: target["a"] * sizes + target["b"], measured.tolist(), 0.05)
    free = {"a": prior(1.0, 50.0), "b": prior(1.0, 50.0)}
    end = annealed_fit([piece], Plain({"a": 1.0, "b": 1.0}), free, law_error=0.0)  # type: ignore[arg-type]
    assert end.stop.optimality < 1e-6 and end.coefficients["a"].value == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(("status", "x", "fails"), [(0, 0.0, True), (1, math.nan, True), (1, 0.0, False)])
def test_a_last_descent_that_ran_out_or_away_is_an_error(
    status: int, x: float, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = objective([rows(times("a"), [1.0], 0.1)], a=prior())
    end = SimpleNamespace(
        status=status, x=np.array([x]), message="no luck", cost=1.0, optimality=0.1, jac=np.ones((2, 1)), fun=np.zeros(2)
    )  # fmt: skip
    monkeypatch.setattr(anneal, "least_squares", lambda *_, **__: end)
    if fails:
        with pytest.raises(LatmodelError, match="the fit failed: no luck"):
            anneal._finished(one, np.zeros(1), 0.0)
    else:
        assert anneal._finished(one, np.zeros(1), 0.25).law_error == 0.25
