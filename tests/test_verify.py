"""Verification against a simulated device, and what `--update` does."""

import math
from pathlib import Path

import pytest
from calibration_support import task
from test_calibrate_simulated import ABOUT, RUNTIME, sheet_part

from calibration.fit.make import device_table, runtime_part
from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.observations.record import append_record
from calibration.verify.whole_models import (
    as_observations,
    coverage,
    drift_of_model,
    kept_observations,
    mape_percent,
    verify,
)
from latmodel.device.profile import DevicePart, Profile, Provenance, Quality
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

CONFIG = ModelConfig(
    num_hidden_layers=6, hidden_size=256, intermediate_size=768, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=1000,
)  # fmt: skip
WORK = Workload(prompt_tokens=48, new_tokens=5)


@pytest.fixture
def predictor() -> Predictor:
    """Of the toy CPU at its priors, with intervals of ±10 % in log time."""
    found = task("cpu").start
    from calibration.fit.fit import Fitted, Stop

    fitted = Fitted(found, {}, {}, {}, Stop(0.0, 0.0, ""))
    part = runtime_part(
        fitted, RUNTIME, host="toy", conformal_scores={phase: [0.1] for phase in ("prefill", "decode", "response")}
    )
    profile = Profile(
        schema_version=2, name="toy", gpu=ABOUT.gpu, title="Toy",
        device=DevicePart(sheet=sheet_part("cpu"), coefficients={"bfloat16": device_table(fitted)}),
        runtimes={RUNTIME: part}, quality=Quality(kind="calibrated"),
        provenance=Provenance(source="toy", date="2025-01-01", rows="0", made_by="test"),
    )  # fmt: skip
    return Predictor(profile, RUNTIME)


def lab(factor: float = 1.0, **more: object) -> SimulatedLab:
    """The toy CPU, `factor` slower than its profile says."""
    quiet = Disturbance(noise=0.0, jitter=0.0, throttled=((0.0, math.inf),), throttle_factor=factor)
    return SimulatedLab(task("cpu").start.target(RUNTIME), disturbance=quiet, replay=False, **more)  # type: ignore[arg-type]


def test_a_device_that_is_as_its_profile_says(predictor: Predictor) -> None:
    row = verify(lab(), predictor, CONFIG, WORK)
    assert row.worst < 1e-4  # coefficients are kept to five figures
    assert row.inside("prefill") and row.inside("decode")
    assert coverage([row]) == (2, 2)


def test_a_slower_device_is_off_by_as_much(predictor: Predictor) -> None:
    row = verify(lab(1.25), predictor, CONFIG, WORK)
    assert row.error("prefill") == pytest.approx(1 / 1.25 - 1, abs=1e-3)
    assert row.error("decode") == pytest.approx(-0.2, abs=1e-3)
    assert coverage([row]) == (0, 2)
    assert mape_percent([row], "decode") == pytest.approx(20.0, abs=0.1)


def test_drift_since_the_calibration_is_taken_out(predictor: Predictor) -> None:
    drifted = {phase: math.log(1.25) for phase in ("prefill", "decode")}
    assert verify(lab(1.25), predictor, CONFIG, WORK, drift=lambda: drifted).worst < 1e-3


def test_a_model_that_does_not_fit_is_one_line(predictor: Predictor) -> None:
    with pytest.raises(LatmodelError, match="does not fit"):
        verify(lab(memory_bytes=1e6), predictor, CONFIG, WORK)


def test_a_model_that_hangs_is_given_up(predictor: Predictor) -> None:
    stuck = lab()
    stuck.disturbance.hangs = frozenset({"verify-prefill"})
    with pytest.raises(LatmodelError, match="did not come back"):
        verify(stuck, predictor, CONFIG, WORK)


def test_runs_become_observations_of_the_whole_model(predictor: Predictor) -> None:
    prefill, decode = as_observations(verify(lab(), predictor, CONFIG, WORK), RUNTIME, "toy")
    assert (prefill.part, prefill.phase, prefill.timing, prefill.new_tokens) == ("model", "prefill", "wall", 0)
    assert (decode.part, decode.phase, decode.timing, decode.new_tokens) == ("model", "decode", "loop", 5)
    assert decode.num_hidden_layers == 6


def test_observations_kept_beside_a_profile(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "toy.observations.jsonl"
    with pytest.raises(UsageError, match="--update"):
        kept_observations(path)
    rows = as_observations(verify(lab(), predictor, CONFIG, WORK), RUNTIME, "toy")
    for row in rows:
        append_record(path, row.model_dump(mode="json"))
    assert kept_observations(path) == rows
    path.write_text('{"phase": "prefill"}\n')
    with pytest.raises(UsageError, match="record 1"):
        kept_observations(path)


def test_drift_that_comes_and_goes_is_taken_out_of_each_sample(predictor: Predictor) -> None:
    """The device is a quarter slower every other look, and the reference says so."""
    slow = lab()
    looks = iter([0.0, math.log(1.25)] * 40)

    def drift() -> dict[str, float]:
        now = next(looks)
        slow.disturbance.throttled = ((0.0, math.inf),) if now else ()
        slow.disturbance.throttle_factor = 1.25
        return {"prefill": now, "decode": now}

    row = verify(slow, predictor, CONFIG, WORK, drift=drift)
    assert row.prefill_drift == pytest.approx(0.5 * math.log(1.25))
    assert row.worst < 0.13  # half of it: within a sample the reference looks before and after alone
    assert verify(lab(), predictor, CONFIG, WORK).prefill_drift == 0.0


def test_on_a_gpu_a_slower_host_shows_where_the_model_waits_for_it() -> None:
    eager = Predictor.load("3090", runtime="transformers-eager")
    deep = CONFIG.model_copy(update={"num_hidden_layers": 40})  # waits for the host
    wide = CONFIG.model_copy(update={"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 2})
    wide = wide.model_copy(update={"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128})
    work = Workload(prompt_tokens=4096, new_tokens=5)
    slower = {"prefill": math.log(1.5), "prefill_device": 0.0, "decode": math.log(1.5), "decode_device": 0.0}
    assert drift_of_model(slower, "decode", eager, deep, WORK) == pytest.approx(math.log(1.5), rel=0.02)
    assert 0.0 <= drift_of_model(slower, "prefill", eager, wide, work) < 0.02
    hot = {name: math.log(1.2) for name in slower}  # all of it, kernels too
    assert drift_of_model(hot, "prefill", eager, wide, work) == pytest.approx(math.log(1.2))
    with pytest.raises(UsageError, match="positive factor"):
        eager.with_slower_host(0.0)
