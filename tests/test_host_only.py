"""`calibrate --host-only`: a planted host comes back from tiny blocks, the kernels stay the profile's."""

import math

import pytest
from click.testing import CliRunner

pytest.importorskip("scipy")

from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.verbs.host_only import HostFit, fit_host, measure_host
from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.errors import NoisyError
from latmodel.predict.target import Target
from latmodel.runtimes.registry import IMPLEMENTATIONS

RUNTIME = "transformers-eager"
HOST = 1.6  # the planted host takes so many times what the profile's does
SHAPE = ModelConfig(
    num_hidden_layers=32, hidden_size=2048, intermediate_size=5632, num_attention_heads=16, num_key_value_heads=4,
    vocab_size=32000,
)  # fmt: skip
WORK = Workload(prompt_tokens=256, new_tokens=32)


def planted(prior: Profile, runtime: str = RUNTIME) -> Target:
    """The prior's device with a host that is slower by `HOST` in all its terms."""
    c = prior.runtime_coefficients(runtime)
    names = ("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s")
    slow = c._replace(**{name: HOST * getattr(c, name) for name in names})
    implementation = IMPLEMENTATIONS[prior.runtimes[runtime].implementation]
    return Target(prior.sheet("bfloat16"), prior.device_coefficients("bfloat16")[0], slow, implementation)


def measured(prior: Profile) -> HostFit:
    lab = SimulatedLab(planted(prior), 3, Disturbance(noise=0.01))
    rows = measure_host(lab, RUNTIME, "bfloat16", prior.gpu, 0.15)
    assert lab.now() < 60.0  # of the simulated clock
    return fit_host(prior, RUNTIME, rows, "a planted host")


@pytest.mark.parametrize("gpu", ["h200", "3090", "rtx-4070"])
def test_a_planted_host_comes_back_and_kernels_stay(gpu: str) -> None:
    prior = load_profile(gpu)
    done = measured(prior)
    found, truth = done.profile.runtime_coefficients(RUNTIME), planted(prior).runtime
    per_block = [30.0 * c.launch_s + c.block_s for c in (found, truth)]
    assert per_block[0] == pytest.approx(per_block[1], rel=0.03)
    assert done.profile.device == prior.device
    others = {name: part for name, part in done.profile.runtimes.items() if name != RUNTIME}
    assert others == {name: part for name, part in prior.runtimes.items() if name != RUNTIME}
    assert found.gap_s == prior.runtime_coefficients(RUNTIME).gap_s


def test_predictions_follow_the_host_and_say_where_it_was_measured() -> None:
    prior = load_profile("h200")
    done = measured(prior)
    assert Profile.model_validate_json(done.profile.model_dump_json()) == done.profile
    before, after = (Predictor(profile, RUNTIME) for profile in (prior, done.profile))
    slower = after.predict(SHAPE, WORK).decode_s_per_token / before.predict(SHAPE, WORK).decode_s_per_token
    assert slower == pytest.approx(HOST, rel=0.05)  # a batch of one: the host binds
    assert any("a planted host" in note for note in after.notes)


def test_a_measured_host_narrows_what_was_the_spread_over_hosts() -> None:
    prior = load_profile("h200")

    def width(profile: Profile) -> float:
        p = Predictor(profile, RUNTIME).predict(SHAPE, WORK)
        return math.log(p.response_s_high / p.response_s_low)

    assert width(measured(prior).profile) < 0.7 * width(prior)
    part = prior.runtimes[RUNTIME].model_copy(update={"host_range": (0.4, 2.0)})  # as few rows given to `fit` leave it
    open_ = prior.model_copy(update={"runtimes": {**prior.runtimes, RUNTIME: part}})
    assert width(measured(open_).profile) == pytest.approx(width(measured(prior).profile))
    ours = load_profile("3090")  # its interval was measured on whole models, and stays
    assert measured(ours).profile.runtimes[RUNTIME].conformal_scores == ours.runtimes[RUNTIME].conformal_scores


def test_noise_is_refused() -> None:
    lab = SimulatedLab(planted(load_profile("h200")), 3, Disturbance(noise=0.4))
    with pytest.raises(NoisyError, match="max-noise"):
        measure_host(lab, RUNTIME, "bfloat16", "h200", 0.15)


@pytest.mark.parametrize(("arguments", "code"), [(("--gpu", "cpu"), 2), (("--gpu", "h200", "--device", "cpu"), 2)])
def test_a_cpu_is_told_what_to_do_instead(arguments: tuple[str, ...], code: int) -> None:
    pytest.importorskip("torch")
    done = CliRunner().invoke(group, ["calibrate", "--host-only", *arguments])
    assert done.exception is not None
    assert getattr(done.exception, "exit_code", done.exit_code) == code
    assert "one thread both dispatches and computes" in str(done.exception)
    assert "latmodel fit" in str(done.exception)
