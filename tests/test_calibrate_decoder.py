"""`calibrate --like` a configuration that is no plain Llama, on a simulated CPU with planted coefficients."""

import math
from typing import Any

import numpy as np
import pytest
from calibration_support import CPU_SHEET, RUNTIME, task
from test_calibrate_simulated import ABOUT, run, sheet_part

from calibration.fit.make import Problem
from calibration.fit.outcome import Calibrated, calibrated, is_scored
from calibration.measure.cases import weight_elements
from calibration.measure.plan import CPU, Plan, active_parameters, make_plan
from calibration.measure.simulated import Disturbance, SimulatedLab, true_seconds
from calibration.observations.decoder_config import DecoderConfig
from calibration.verbs.prepare import expected_seconds
from calibration.verify.whole_models import model_cases, verify
from latmodel.model.config import Workload
from latmodel.model.totals import num_parameters
from latmodel.predict.predictor import Predictor

HYBRID = DecoderConfig.of(
    {"model_type": "qwen3_next", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8, "head_dim": 64,
     "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 4096, "num_experts": 8, "num_experts_per_tok": 2,
     "moe_intermediate_size": 96, "shared_expert_intermediate_size": 96, "linear_num_key_heads": 2,
     "linear_num_value_heads": 4, "linear_key_head_dim": 64, "linear_value_head_dim": 64}
)  # fmt: skip
LAYERS = ("GatedDelta", "Experts")
# What `calibrate` cannot know before: the recurrent layers' coefficients, and some that all layers share.
TRUTH = {
    "device.cpu.scan_bandwidth": 0.2, "device.cpu.conv_call_s": 4e-4, "device.cpu.solve_efficiency": 0.1,
    "device.cpu.weight_bandwidth": 0.6, f"runtime.{RUNTIME}.launch_s": 6e-6,
}  # fmt: skip


def plan_of(like: DecoderConfig = HYBRID) -> Plan:
    return make_plan("quick", RUNTIME, "bfloat16", CPU, CPU_SHEET.cache_bytes, like)


@pytest.fixture(scope="module")
def done() -> tuple[SimulatedLab, Calibrated]:
    whole = task("cpu", implementation="transformers-cpu", layers=LAYERS)
    one = Problem(whole.start, whole.free)
    lab = SimulatedLab(one.start.moved(TRUTH).target(RUNTIME), 3, Disturbance(noise=0.01), replay=False)
    about: Any = ABOUT.__class__(**{**ABOUT.__dict__, "implementations": {RUNTIME: "transformers-cpu"}})
    return lab, calibrated(one, sheet_part("cpu"), run(lab, plan_of()), about)


def test_two_shapes_of_three_are_of_its_kinds_of_layers() -> None:
    cases = plan_of().cases
    own = [case for case in cases if isinstance(case.config, DecoderConfig)]
    plain = [case for case in cases if case.part == "blocks"]
    assert 1.5 * len(plain) < len(own) <= 2 * len(plain)
    assert all(case.part == "model" for case in own)
    kinds = {group.block for group in HYBRID.architecture().groups}
    for case in own:
        assert {group.block for group in case.config.architecture().groups} == kinds
        assert case.config.hidden_size == 256 and case.config.vocab_size == 256
        assert weight_elements(case) >= num_parameters(case.config.architecture())
    assert {case.held_out for case in own} == {True, False}


def test_in_decode_the_weights_that_a_token_reads_exceed_the_cache() -> None:
    for case in plan_of().cases:
        if isinstance(case.config, DecoderConfig) and case.phase == "decode":
            assert 2.0 * active_parameters(case.config.architecture()) >= 3.0 * CPU_SHEET.cache_bytes


def test_of_experts_only_the_chosen_are_active() -> None:
    model = HYBRID.architecture()
    # 6 of 8 experts of 3 · 256 · 96 weights, and their rows in the router, in each of 8 layers are not; nor are the
    # final norm, and embedding and head of 4096 tokens
    inactive = 8 * 6 * (3 * 256 * 96 + 256) + 256 + 2 * 4096 * 256
    assert num_parameters(model) - active_parameters(model) == inactive


def test_every_case_has_an_expected_duration() -> None:
    problem = task("cpu", implementation="transformers-cpu", layers=LAYERS)
    assert all(0 < expected_seconds(case, problem, RUNTIME) < 10 for case in plan_of().cases)


def test_coefficients_of_the_layers_come_back(done: tuple[SimulatedLab, Calibrated]) -> None:
    found = done[1].fitted.coefficients
    for name, value in TRUTH.items():
        item = found[name]
        assert abs(math.log(item.value / value)) < 3.5 * item.stderr_log + 0.02, name
    assert found["device.cpu.scan_bandwidth"].status == "fitted"


def test_the_whole_model_is_predicted_within_the_noise(done: tuple[SimulatedLab, Calibrated]) -> None:
    lab, calibration = done
    predictor = Predictor(calibration.profile, RUNTIME)
    work = Workload(prompt_tokens=150, new_tokens=16)
    errors = []
    for config in (HYBRID, HYBRID.resized(24)):
        prediction = predictor.predict(config.architecture(), work)
        assert not prediction.extrapolated
        truth = [true_seconds(case, lab.target)[0] for case in model_cases(config, work, RUNTIME)]
        errors += [prediction.prefill_s / truth[0] - 1.0, prediction.decode_s_per_token / truth[1] - 1.0]
    assert np.abs(errors).max() < 0.03


def test_verify_takes_a_configuration(done: tuple[SimulatedLab, Calibrated]) -> None:
    lab, calibration = done
    row = verify(lab, Predictor(calibration.profile, RUNTIME), HYBRID, Workload(prompt_tokens=40, new_tokens=4))
    assert row.worst < 0.1
    assert row.as_dict()["model_type"] == "qwen3_next" and row.as_dict()["num_hidden_layers"] == 8


def test_the_profile_says_what_was_measured(done: tuple[SimulatedLab, Calibrated]) -> None:
    _, calibration = done
    part = calibration.profile.runtimes[RUNTIME]
    assert set(part.layers) == HYBRID.architecture().special_layers == {"Experts", "GatedDelta"}
    assert part.ranges["hidden_size"][0] <= 256 <= part.ranges["hidden_size"][1]
    scored = [row for row in calibration.observations if is_scored(row)]
    assert {row.config is None for row in scored} == {True, False}
    assert all(row.part == "blocks" for row in scored if row.config is None)
    latent = {name: value for name, value in HYBRID.fields.items() if not name.startswith(("linear_", "shared_"))}
    unlike = Predictor(calibration.profile, RUNTIME).predict(
        DecoderConfig.of({**latent, "model_type": "deepseek_v3"}).architecture(), Workload()
    )
    assert unlike.extrapolated


def test_what_no_layer_shows_is_not_fitted() -> None:
    plain, hybrid = task("cpu").free, task("cpu", layers=LAYERS).free
    assert {"device.cpu.scan_bandwidth", "device.cpu.conv_call_s"} <= hybrid.keys() - plain.keys()
    assert "device.cpu.solve_efficiency" not in task("cpu", layers=["Mamba2"]).free
