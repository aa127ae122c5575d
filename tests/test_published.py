"""The packaged RTX 3090 profile against the measurements that it was fitted on, where the shared data are at hand."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.fit import make
from calibration.observations.evidence import evidence
from calibration.published import rtx3090
from latmodel import ModelConfig, Predictor, Profile, Workload
from latmodel.device.store import load_profile
from latmodel.predict.inputs import work_of

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
if not DATA.is_dir():
    DATA = ROOT.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not beside the repository")

STUDY = DATA / "rtx3090_depth_width" / "measurements.csv"


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(ROOT / "profiles" / "nvidia-geforce-rtx-3090.json")


def config_of(row: dict[str, str]) -> ModelConfig:
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    sizes: dict[str, Any] = {name: int(row[name]) for name in (*names, "vocab_size")}
    return ModelConfig(**sizes, tie_word_embeddings=row["tie_word_embeddings"] == "True")


def residuals(profile: Profile, rows: list[Any]) -> list[float]:
    """log(predicted / measured) by the fit's own formulas and the profile's coefficients."""
    predictor = Predictor(profile, rtx3090.RUNTIME)
    found = [0.0] * len(rows)
    for piece in evidence(rows):
        logs = np.log(np.asarray(piece.predict(predictor.target("bfloat16"))) / piece.seconds)
        for index, value in zip(piece.index, logs.tolist(), strict=True):
            found[index] = value
    return found


def test_stored_errors_are_those_of_the_stored_coefficients(profile: Profile) -> None:
    """To 0.01 percentage points: coefficients are kept to five figures."""
    rows = rtx3090.models(DATA)
    logs, shown = residuals(profile, rows), rtx3090.headline(rows)
    found = make.error_rows("in sample", [rows[i] for i in shown], [logs[i] for i in shown])
    stored = {(e.phase, e.rows): e.mape_percent for e in profile.quality.errors if e.split == "in sample"}
    assert stored == pytest.approx({(e.phase, e.rows): e.mape_percent for e in found}, abs=0.01)


def test_predicting_and_fitting_are_the_same_formulas(profile: Profile) -> None:
    """Prefill and response of the fit's evidence equal `Predictor.predict` to 1e-6 and better."""
    rows = [row for row in rtx3090.models(DATA) if row.phase != "decode"]
    predictor = Predictor(profile, rtx3090.RUNTIME)
    for row, log in zip(rows, residuals(profile, rows), strict=True):
        names = ModelConfig.model_fields.keys() & type(row).model_fields.keys()
        model = ModelConfig(**{name: getattr(row, name) for name in names})
        found = predictor.predict(model, Workload(prompt_tokens=512, new_tokens=row.new_tokens, logits="all"))
        seconds = found.prefill_s if row.phase == "prefill" else found.response_s
        assert seconds == pytest.approx(row.seconds * np.exp(log), rel=1e-9)


def test_parameters_are_the_published_ones(profile: Profile) -> None:
    with STUDY.open(newline="") as file:
        for row in csv.DictReader(file):
            assert Predictor(profile).predict(config_of(row)).num_parameters == int(row["num_parameters"])


def test_peak_memory_is_within_five_percent(profile: Profile) -> None:
    """The peak is a prefill of 128 tokens at batch 32 while the cache of the run before it (128 + 32) is alive.

    What a process takes beyond tensors is no part of the published figure, nor of this one.
    """
    predictor = Predictor(profile, rtx3090.RUNTIME)
    work = work_of(Workload(prompt_tokens=128, new_tokens=0, batch_size=32, logits="all"))
    errors = []
    with STUDY.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["peak_memory_gib"]:
                found = predictor.memory(config_of(row).architecture(), work, retained=160.0)
                predicted = found.peak_bytes - found.overhead_bytes
                errors.append(abs(predicted / (float(row["peak_memory_gib"]) * 2**30) - 1.0))
    assert len(errors) >= 10
    assert np.mean(errors) <= 0.05


def test_errors_meet_the_target(profile: Profile) -> None:
    """Out of sample: decode ≤ 2.2 %, prefill ≤ 2.5 %, response ≤ 2.5 %, as stored by the script that made the file."""
    limits = {"decode": 2.2, "prefill": 2.5, "response": 2.5}
    stored = {e.phase: e.mape_percent for e in profile.quality.errors if e.split.startswith("out of sample")}
    assert stored.keys() == limits.keys()
    for phase, limit in limits.items():
        assert stored[phase] <= limit


def test_the_host_binds_deep_narrow_models_and_a_graph_frees_them(profile: Profile) -> None:
    """The published story: 80 × 576 is held by the host, 40 × 5120 by the memory, though it has 35 × the parameters."""
    with STUDY.open(newline="") as file:
        shapes = {(row["num_hidden_layers"], row["hidden_size"]): config_of(row) for row in csv.DictReader(file)}
    work = Workload(logits="all")
    eager, graph = (Predictor(profile, name) for name in ("transformers-eager", "cuda-graph"))
    deep, wide = shapes["80", "576"], shapes["40", "5120"]
    assert eager.predict(deep, work).bound == "host"
    assert eager.predict(wide, work).bound == "memory"
    assert eager.predict(wide, work).response_s < eager.predict(deep, work).response_s
    assert graph.predict(deep, work).response_s < eager.predict(deep, work).response_s / 4
    assert graph.predict(wide, work).response_s > graph.predict(deep, work).response_s
