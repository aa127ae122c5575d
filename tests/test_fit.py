"""The fit on simulated measurements: planted coefficients come back, and what the data do not say is named."""

from typing import Any

import numpy as np
import pytest

from calibration.fit import make
from calibration.fit.fit import Fitted, fit
from calibration.fit.setup import Setup
from calibration.observations.evidence import evidence
from calibration.observations.record import Observation, observation
from latmodel.device.datasheets import datasheet
from latmodel.errors import LatmodelError
from latmodel.laws.priors import DEVICE_PRIORS, RUNTIME_PRIORS, Prior

CARD = datasheet("3090")
RUNTIME = "transformers-eager"
START = make.setup_at_priors(make.sheet_of(CARD, "bfloat16"), {RUNTIME: "transformers"})
PLANTED = {
    "device.gemm.bandwidth_efficiency": 0.70,
    "device.gemm.compute_efficiency": 0.62,
    f"runtime.{RUNTIME}.launch_s": 1.8e-5,
    f"runtime.{RUNTIME}.pass_s": 9e-4,
    f"runtime.{RUNTIME}.token_s": 3e-4,
}
SHAPES = [(4, 512), (12, 768), (24, 1024), (8, 2048), (16, 4096), (4, 8192), (60, 256), (2, 5120)]


def prior(name: str) -> Prior:
    owner, rest = name.split(".", 1)
    return DEVICE_PRIORS[rest] if owner == "device" else RUNTIME_PRIORS[rest.rsplit(".", 1)[1]]


def free(*more: str) -> dict[str, Prior]:
    return {name: prior(name) for name in (*PLANTED, *more)}


def row(layers: int, hidden: int, seconds: float = 1.0, **work: Any) -> Observation:
    shape = {
        "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": 4 * hidden, "head_dim": 64,
        "num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128, "vocab_size": 32000,
    }  # fmt: skip
    found = {**shape, "gpu": CARD.name, "runtime": RUNTIME, "seconds": seconds, "noise": 0.01, **work}
    return observation({**found, "name": f"{layers}x{hidden}"}, "simulated")


def simulated(truth: Setup, noise: float = 0.01, seed: int = 0) -> list[Observation]:
    """Every shape in prefill, decode and response, with lognormal noise."""
    rows = [
        row(layers, hidden, phase=phase, timing=timing, prompt_tokens=512, new_tokens=new)
        for layers, hidden in SHAPES
        for phase, timing, new in (("prefill", "wall", 0), ("decode", "wall", 50), ("response", "loop", 100))
    ]
    generator = np.random.default_rng(seed)
    timed = list(rows)
    for piece in evidence(rows):
        for index, seconds in zip(piece.index, np.asarray(piece.predict(truth.target(piece.runtime))), strict=True):
            measured = float(seconds * np.exp(noise * generator.normal()))
            timed[index] = rows[index].model_copy(update={"seconds": measured})
    return timed


def fitted_to(rows: list[Observation], priors: dict[str, Prior]) -> Fitted:
    return fit(evidence(rows), START, priors)


def test_planted_coefficients_come_back() -> None:
    found = fitted_to(simulated(START.moved(PLANTED)), free()).coefficients
    for name, truth in PLANTED.items():
        assert abs(np.log(found[name].value / truth)) < max(4 * found[name].stderr_log, 0.02), name
        assert found[name].status == "fitted", name
    assert found["device.gemm.bandwidth_efficiency"].value == pytest.approx(0.70, rel=0.03)
    assert found[f"runtime.{RUNTIME}.launch_s"].value == pytest.approx(1.8e-5, rel=0.03)


def test_a_solver_that_ran_out_is_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibration.fit.fit.MOST_EVALUATIONS", 2)
    with pytest.raises(LatmodelError, match="the fit failed: The maximum number of function evaluations is exceeded"):
        fitted_to(simulated(START.moved(PLANTED)), free())


def test_errors_shrink_with_the_noise() -> None:
    quiet, loud = (simulated(START.moved(PLANTED), noise) for noise in (0.01, 0.10))
    loud = [one.model_copy(update={"noise": 0.10}) for one in loud]
    small, large = (fitted_to(rows, free()).coefficients for rows in (quiet, loud))
    for name in PLANTED:
        assert small[name].stderr_log < large[name].stderr_log, name


def test_what_the_rows_do_not_say_is_undetermined_and_stays_at_its_prior() -> None:
    """Every dimension here is a multiple of 8, so alignment shows nowhere."""
    unseen = "device.gemm.odd_slowdown"
    found = fitted_to(simulated(START.moved(PLANTED)), free(unseen)).coefficients[unseen]
    assert found.status == "undetermined"
    assert found.value == pytest.approx(prior(unseen).value, rel=1e-3)
    assert found.stderr_log == pytest.approx(prior(unseen).spread, rel=0.05)


def test_a_coefficient_pulled_beyond_what_is_plausible_is_named() -> None:
    name = f"runtime.{RUNTIME}.launch_s"
    priors = {**free(), name: prior(name)._replace(value=5e-6, high=9e-6)}
    found = fitted_to(simulated(START.moved(PLANTED)), priors).coefficients[name]
    assert found.status == "boundary"
    assert found.value == pytest.approx(9e-6, rel=2e-3)


def test_outliers_pull_with_bounded_force() -> None:
    rows = simulated(START.moved(PLANTED))
    spoiled = [
        one.model_copy(update={"seconds": 4 * one.seconds}) if i % 11 == 3 else one for i, one in enumerate(rows)
    ]
    found = fitted_to(spoiled, free()).coefficients
    assert found[f"runtime.{RUNTIME}.launch_s"].value == pytest.approx(1.8e-5, rel=0.10)
    assert found["device.gemm.bandwidth_efficiency"].value == pytest.approx(0.70, rel=0.10)


def test_residuals_are_told_by_row() -> None:
    rows = simulated(START.moved(PLANTED), noise=0.0)
    rows[5] = rows[5].model_copy(update={"seconds": 2.0 * rows[5].seconds})
    found = fitted_to(rows, free())
    assert sorted(found.residuals) == list(range(len(rows)))
    assert max(found.residuals, key=lambda index: abs(found.residuals[index])) == 5
    assert make.residuals_of(found, rows) == pytest.approx([found.residuals[i] for i in range(len(rows))])


def test_leaving_out_never_sees_the_row_it_predicts() -> None:
    """A model whose times are twice those of all others: fitted without it, it is missed by log 2."""
    rows = simulated(START.moved(PLANTED), noise=0.0)
    rows = [one.model_copy(update={"seconds": 2 * one.seconds}) if one.name == "12x768" else one for one in rows]
    held_out = make.leave_out(make.Problem(START, free()), rows, [one.name for one in rows])
    for one, residual in zip(rows, held_out, strict=True):
        if one.name == "12x768":
            assert residual == pytest.approx(-np.log(2), abs=0.1)


def test_a_fit_of_nonsense_says_so() -> None:
    rows = simulated(START.moved(PLANTED), noise=0.0)
    broken = [type(piece)(**{**piece.__dict__, "seconds": piece.seconds * np.nan}) for piece in evidence(rows)]
    with pytest.raises((LatmodelError, ValueError)):
        fit(broken, START, free())


def test_a_prior_fit_tightens_the_next_but_trusts_no_host() -> None:
    found = fitted_to(simulated(START.moved(PLANTED)), free()).coefficients
    tight = make.tightened(free(), found, loosen_hosts=True)
    bandwidth, launch = "device.gemm.bandwidth_efficiency", f"runtime.{RUNTIME}.launch_s"
    assert tight[bandwidth].value == found[bandwidth].value
    assert make.BOARD_SPREAD <= tight[bandwidth].spread < prior(bandwidth).spread
    assert tight[launch].spread >= make.HOST_SPREAD


def test_a_replayed_graph_has_no_launches_to_fit() -> None:
    """The host launches one graph a pass; what an eager runtime spends on kernels and blocks is zero and stays so."""
    free = make.runtime_priors("cuda-graph")
    assert {name.rsplit(".", 1)[1] for name in free} == {"pass_s", "token_s", "gap_s", "overlap_loss", "sequence_s"} & {
        name.rsplit(".", 1)[1] for name in make.runtime_priors(RUNTIME)
    }
    start = make.setup_at_priors(make.sheet_of(CARD, "bfloat16"), {"cuda-graph": "torch", RUNTIME: "transformers"})
    graph, eager = (start.runtimes[name][0] for name in ("cuda-graph", RUNTIME))
    assert (graph.launch_s, graph.block_s, graph.prefill_block_s) == (0.0, 0.0, 0.0) and eager.launch_s > 0.0
    assert graph.pass_s == free["runtime.cuda-graph.pass_s"].value
