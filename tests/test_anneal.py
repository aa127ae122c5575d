"""The fit that reaches its optimum wherever it begins, and knows by how much the law is off."""

import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from calibration.fit import anneal
from calibration.fit.fit import Fitted, fit
from calibration.fit.objective import Objective, floored
from calibration.fit.report import _solution
from calibration.fit.start import problem
from calibration.measure.plan import CPU, make_plan
from calibration.measure.simulated import true_seconds
from calibration.observations.evidence import Evidence, evidence
from latmodel.errors import LatmodelError
from latmodel.laws.coefficients import Sheet

RUNTIME = "transformers-eager"
SHEET = Sheet(1e11, 2e10, 1.0, 8e6)
TASK = problem("cpu", SHEET, {RUNTIME: "transformers-cpu"})


def pieces_off_by(share: float, noise: float = 0.01) -> list[Evidence]:
    """True times of a CPU at its priors, two rows `share` too long, two as much too short, and so on."""
    target = TASK.start.target(RUNTIME)
    plan = make_plan("normal", RUNTIME, "float32", CPU, SHEET.cache_bytes)
    cases = [case for case in plan.cases if case.part == "blocks"]
    rows = [
        case.observation("here", "wall", true_seconds(case, target)[0] * math.exp((-1) ** (i // 2) * share), noise, ())
        for i, case in enumerate(cases)
    ]
    return evidence(rows)


def far_starts(count: int) -> list[dict[str, float]]:
    generator = np.random.default_rng(0)
    return [
        {
            name: float(np.clip(p.value * math.exp(generator.normal() * p.spread), 1.01 * p.low, 0.99 * p.high))
            for name, p in TASK.free.items()
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def off() -> tuple[list[Evidence], Fitted]:
    pieces = pieces_off_by(0.05)
    return pieces, anneal.annealed_fit(pieces, TASK.start, TASK.free)


def test_the_law_s_own_error_is_what_was_planted(off: tuple[list[Evidence], Fitted]) -> None:
    """Rows are off by ±5 % and say that their noise is 1 %; coefficients take up some of it, never add to it."""
    assert 0.035 < off[1].law_error < 0.06
    exact = anneal.annealed_fit(pieces_off_by(0.0), TASK.start, TASK.free)
    assert exact.law_error == 0.0 and exact.cost < 1e-3


def test_all_starts_end_at_one_cost(off: tuple[list[Evidence], Fitted]) -> None:
    pieces, first = off
    for begin in far_starts(3):
        end = anneal.annealed_fit(pieces, TASK.start, TASK.free, begin, first.law_error)
        assert end.cost == pytest.approx(first.cost, rel=0.005)


def test_it_is_no_worse_than_one_descent(off: tuple[list[Evidence], Fitted]) -> None:
    """Both under the same noise: that of the rows alone."""
    pieces, _ = off
    plain = fit(pieces, TASK.start, TASK.free)
    assert anneal.annealed_fit(pieces, TASK.start, TASK.free, law_error=0.0).cost <= plain.cost * (1.0 + 1e-4)


def test_the_same_rows_give_one_answer(off: tuple[list[Evidence], Fitted]) -> None:
    pieces, first = off
    again = anneal.annealed_fit(pieces, TASK.start, TASK.free)
    assert again.coefficients == first.coefficients and again.stop == first.stop


def test_a_solver_that_ran_out_is_an_error(off: tuple[list[Evidence], Fitted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anneal, "LAST_EVALUATIONS", 1)
    monkeypatch.setattr(anneal, "SHARP", ())
    monkeypatch.setattr(anneal, "JUMPS", 0)
    with pytest.raises(LatmodelError, match="the fit failed: The maximum number of function evaluations"):
        anneal.annealed_fit(off[0], TASK.start, TASK.free)


def test_the_report_says_how_it_ended(off: tuple[list[Evidence], Fitted]) -> None:
    """Coefficients that only their sum determines are named with the correlation of their errors."""
    lines = _solution(off[1])
    assert lines[0].startswith(f"cost {off[1].cost:.1f}, optimality ")
    assert lines[1] == f"formulas are off by {100 * off[1].law_error:.1f} % beyond the noise of the rows"
    assert all(abs(r) > 0.9 for *_, r in off[1].correlated)
    assert len(lines) == 2 + len(off[1].correlated)


def test_what_the_objective_adds_up() -> None:
    """Without data: a coefficient one spread from its prior has residual 1, and the cost is half of the squares."""
    objective = Objective((), TASK.start, TASK.free)
    logs = objective.means.copy()
    logs[0] += objective.spreads[0]
    logs[2] -= 2.0 * objective.spreads[2]
    assert objective.residuals(logs)[:4] == pytest.approx([1.0, 0.0, -2.0, 0.0])
    assert objective.cost(logs) == pytest.approx(0.5 * (1.0 + 4.0))


def test_noise_of_rows_holds_the_law_s_error_once() -> None:
    """1 % is the floor; 3 % and 4 % make 5 %."""
    objective = Objective(pieces_off_by(0.0, noise=0.03), TASK.start, TASK.free)
    assert objective.blurred(0.04).pieces[0].noise == pytest.approx(0.05)
    low = Objective(pieces_off_by(0.0, noise=0.002), TASK.start, TASK.free)
    assert low.blurred(0.0).pieces[0].noise == pytest.approx(0.002) and floored(low.pieces[0].noise)[0] == 0.01
