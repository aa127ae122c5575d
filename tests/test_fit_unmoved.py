"""A fit to what a profile predicts leaves its predictions where they are: nothing is priced that was not before."""

import math

import pytest

pytest.importorskip("scipy")

from click.testing import CliRunner

from calibration.fit.start import refinement, subject
from calibration.observations.record import Observation
from calibration.verbs.fit import KEPT, build
from latmodel.cli import group
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.model.config import CONFIG_FIELDS, ModelConfig, Workload
from latmodel.predict.predictor import Predictor

LARGE = ModelConfig(
    num_hidden_layers=36, hidden_size=2048, intermediate_size=11008, num_attention_heads=16, num_key_value_heads=2,
    vocab_size=65536, tie_word_embeddings=True,
)  # fmt: skip
SMALL = ModelConfig(
    num_hidden_layers=24, hidden_size=896, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2,
    vocab_size=65536, tie_word_embeddings=True,
)  # fmt: skip
WORK = Workload(prompt_tokens=512, new_tokens=64)
CASES = [
    ("3090", "transformers-eager"), ("3090", "cuda-graph"), ("3090", "torch-compile"), ("h100", "cuda-graph"),
    ("h100", "vllm"), ("a100-sxm4-80gb", "transformers-eager"), ("a100-sxm4-80gb", "vllm"), ("l40s", "cuda-graph"),
]  # fmt: skip


def response(profile: Profile, runtime: str, factor: float = 1.0) -> Observation:
    """A response of the larger model that takes `factor` times what the profile says."""
    seconds = factor * Predictor(profile, runtime).predict(LARGE, WORK).response_s
    return Observation(
        part="model", phase="response", timing="loop", seconds=seconds, gpu=profile.gpu, runtime=runtime,
        dtype="bfloat16", batch_size=1, prompt_tokens=WORK.prompt_tokens, new_tokens=WORK.new_tokens,
        **{field: getattr(LARGE, field) for field in CONFIG_FIELDS},
    )  # fmt: skip


@pytest.mark.parametrize(("gpu", "runtime"), CASES)
def test_what_a_profile_predicts_does_not_move_it(gpu: str, runtime: str) -> None:
    before = load_profile(gpu)
    after, _ = build(subject(before.gpu, before), [response(before, runtime)], before, ["rows"])
    for model in (LARGE, SMALL):
        was, now = (Predictor(profile, runtime).predict(model, WORK) for profile in (before, after))
        for name in ("prefill_s", "decode_s_per_token", "response_s"):
            assert math.log(getattr(now, name) / getattr(was, name)) == pytest.approx(0.0, abs=0.002), name
    for name in KEPT:
        assert getattr(after.runtimes[runtime], name) == getattr(before.runtimes[runtime], name)


def test_what_a_profile_holds_fixed_no_fit_moves() -> None:
    """The host of a serving engine launches graphs: of kernels and blocks it has no time to find."""
    card = load_profile("a100-sxm4-80gb")
    fixed = {name for name, one in card.runtimes["vllm"].coefficients.items() if one.status == "fixed"}
    assert {"launch_s", "block_s", "gap_s"} <= fixed
    free = refinement(subject(card.gpu, card), "bfloat16", ["vllm"], card).free
    assert not {f"runtime.vllm.{name}" for name in fixed} & set(free)
    after, _ = build(subject(card.gpu, card), [response(card, "vllm", 1.2)], card, ["rows"])
    for name in fixed:
        assert after.runtimes["vllm"].coefficients[name].value == card.runtimes["vllm"].coefficients[name].value


def test_rows_are_priced_with_the_attention_that_they_had() -> None:
    card = load_profile("a100-sxm4-80gb")
    long = Workload(prompt_tokens=8192, new_tokens=64)
    other = Predictor(card, "transformers-eager", attention="eager").predict(LARGE, long).response_s
    plain = Predictor(card, "transformers-eager").predict(LARGE, long).response_s
    assert other > 1.1 * plain
    row = response(card, "transformers-eager").model_copy(update={"prompt_tokens": 8192, "seconds": other})
    launches = []
    for attention in ("eager", None):
        made, _ = build(subject(card.gpu, card), [row], card, ["rows"], attention)
        launches.append(made.runtimes["transformers-eager"].coefficients["launch_s"].value)
        assert any("--attention eager" in note for note in made.provenance.notes) is (attention == "eager")
    before = card.runtimes["transformers-eager"].coefficients["launch_s"].value
    assert launches[0] == pytest.approx(before, rel=0.01)
    assert launches[1] > 1.1 * before  # taken for a slow host
    with pytest.raises(UsageError, match="--attention paged: this runtime has"):
        refinement(subject(card.gpu, card), "bfloat16", ["transformers-eager"], card, "paged")


@pytest.mark.parametrize("form", ["llama-bench", "vidur"])
def test_attention_goes_with_times_alone(form: str) -> None:
    words = ["fit", "--gpu", "a100", "--from", form, "--attention", "eager"]
    result = CliRunner().invoke(group, words)
    assert result.exit_code != 0 and "--attention does not" in str(result.exception) + result.output
