"""Fits under a profile's learned corrections: what a fit takes its rows for is what the profile predicts of them."""

import math

import pytest

pytest.importorskip("scipy")

from calibration.fit import make
from calibration.fit.start import refinement, subject
from calibration.observations.record import Observation
from calibration.verbs.fit import build
from calibration.verbs.host_only import fit_host
from latmodel.device.store import load_profile
from latmodel.model.config import CONFIG_FIELDS, ModelConfig, Workload
from latmodel.predict.predictor import Predictor

CARD = load_profile("nvidia-a100-sxm4-80gb")
RUNTIME = "vllm"  # all families of its kernels are corrected
MODELS = {
    f"{layers}x{hidden}": ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=3 * hidden, num_attention_heads=hidden // 128,
        num_key_value_heads=4, vocab_size=32000, tie_word_embeddings=False,
    )
    for layers, hidden in ((16, 2048), (24, 3072), (28, 3584), (32, 4096))
}  # fmt: skip
WORK = Workload(prompt_tokens=6144, new_tokens=256)


def row(name: str, seconds: float = 1.0) -> Observation:
    model = MODELS[name]
    return Observation(
        part="model", phase="response", timing="loop", seconds=seconds, gpu=CARD.gpu, runtime=RUNTIME,
        dtype="bfloat16", name=name, batch_size=1, prompt_tokens=WORK.prompt_tokens, new_tokens=WORK.new_tokens,
        **{field: getattr(model, field) for field in CONFIG_FIELDS},
    )  # fmt: skip


def expected_s(name: str, *, corrected: bool = True) -> float:
    return float(Predictor(CARD, RUNTIME, corrected=corrected).predict(MODELS[name], WORK).response_s)


def test_residuals_at_a_profile_are_those_of_its_predictions() -> None:
    start = refinement(subject(CARD.gpu, CARD), "bfloat16", [RUNTIME], CARD).start
    for name, residual in zip(MODELS, make.residuals_at(start, [row(name) for name in MODELS]), strict=True):
        assert residual == pytest.approx(math.log(expected_s(name)), abs=1e-9)
        assert abs(residual - math.log(expected_s(name, corrected=False))) > 1e-3  # the laws alone say something else


def test_a_fitted_profile_keeps_the_corrections_and_predicts_what_the_fit_did() -> None:
    """Times a tenth longer than predicted, so that coefficients move; laws alone are 0.1 to 1.4 % from the corrected."""
    rows = [row(name, 1.1 * expected_s(name)) for name in MODELS]
    made, fitted = build(subject(CARD.gpu, CARD), rows, CARD, ["rows"])
    assert made.device.corrections == CARD.device.corrections
    assert made.runtimes[RUNTIME].corrected == CARD.runtimes[RUNTIME].corrected
    predictor = Predictor(made, RUNTIME)
    for one, residual in zip(rows, fitted.residuals.values(), strict=True):
        predicted = predictor.predict(MODELS[one.name], WORK).response_s
        assert math.log(predicted / one.seconds) == pytest.approx(residual, abs=1e-5)


def test_a_host_is_fitted_under_them_too() -> None:
    made = fit_host(CARD, RUNTIME, [row(name, expected_s(name)) for name in MODELS], "a machine").profile
    for name, model in MODELS.items():
        now = Predictor(made, RUNTIME, host="this").predict(model, WORK).response_s
        assert now == pytest.approx(expected_s(name), rel=2e-3)
