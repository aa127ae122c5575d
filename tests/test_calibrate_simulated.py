"""The whole path on a simulated device: planted coefficients come back, interruptions lose nothing."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from calibration_support import CPU_SHEET, GPU_SHEET, MemoryLog, task

from calibration.fit.make import Problem
from calibration.fit.outcome import About, Calibrated, calibrated, folds
from calibration.measure.plan import CPU, GPU, Plan, make_plan
from calibration.measure.rounds import measure
from calibration.measure.samples import Rules
from calibration.measure.session import open_samples, read_samples
from calibration.measure.simulated import Disturbance, SimulatedLab, true_seconds
from calibration.measure.summary import combine, observations
from calibration.observations.record import Observation, shape_of
from calibration.verify.whole_models import model_cases
from latmodel.device.profile import SheetPart
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

RUNTIME = "transformers-eager"
ABOUT = About("toy", "toy", "Toy", "here", "simulated", (), {RUNTIME: "transformers"})


def sheet_part(kind: str) -> SheetPart:
    sheet = CPU_SHEET if kind == "cpu" else GPU_SHEET
    return SheetPart(
        peak_flops_per_s={"bfloat16": sheet.peak_flops_per_s}, bandwidth_bytes_per_s=sheet.bandwidth_bytes_per_s,
        memory_bytes=1e10, sm_count=sheet.sm_count, cache_bytes=sheet.cache_bytes, source="toy",
    )  # fmt: skip


def planted(kind: str, seed: int, spread: float = 0.5) -> tuple[Problem, dict[str, float]]:
    """Coefficients drawn around the priors, and the problem that starts from those."""
    whole, rng = task(kind), np.random.default_rng(seed)
    one = Problem(
        whole.start, whole.free, whole.solver
    )  # the repacking threshold is known here; choosing it has a test of its own
    truth = {}
    for name, prior in one.free.items():
        value = prior.value * math.exp(spread * prior.spread * rng.normal())
        truth[name] = float(np.clip(value, prior.low * 1.05, prior.high * 0.95))
    return one, truth


def lab_of(one: Problem, truth: dict[str, float], kind: str, seed: int, disturbance: Disturbance) -> SimulatedLab:
    return SimulatedLab(one.start.moved(truth).target(RUNTIME), seed, disturbance, replay=kind != "cpu")


def plan_of(kind: str, effort: str = "quick") -> Plan:
    return make_plan(effort, RUNTIME, "bfloat16", CPU if kind == "cpu" else GPU, 3.2e7)


def run(lab: SimulatedLab, plan: Plan) -> list[Observation]:
    log = MemoryLog()
    measure(lab, plan.cases, plan.references, log, plan.rules)
    return observations(combine(log.records, plan.cases), "toy")


@pytest.fixture(scope="module")
def cpu() -> tuple[SimulatedLab, Calibrated]:
    """A calibration of a simulated CPU with 2 % noise and 5 % outliers."""
    one, truth = planted("cpu", 1)
    lab = lab_of(one, truth, "cpu", 7, Disturbance(noise=0.02, outliers=0.05))
    return lab, calibrated(one, sheet_part("cpu"), run(lab, plan_of("cpu")), ABOUT)


UNSEEN = [
    (80, 576, 1536, 9, 3, 64, 96), (16, 512, 1024, 8, 8, 64, 200), (10, 896, 4480, 14, 1, 64, 64),
    (30, 320, 1120, 5, 5, 64, 128), (24, 768, 2048, 12, 4, 64, 300), (12, 384, 1600, 3, 1, 128, 32),
]  # fmt: skip


def errors_on_unseen(lab: SimulatedLab, done: Calibrated) -> list[float]:
    """log(predicted / true) of prefill and decode of whole models that are not in the plan."""
    predictor, found = Predictor(done.profile, RUNTIME), []
    for layers, hidden, ffn, heads, kv_heads, head_dim, prompt in UNSEEN:
        config = ModelConfig(
            num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
            num_key_value_heads=kv_heads, head_dim=head_dim, vocab_size=16384,
        )  # fmt: skip
        work = Workload(prompt_tokens=prompt, new_tokens=20)
        prefill, decode = (true_seconds(case, lab.target)[0] for case in model_cases(config, work, RUNTIME))
        p = predictor.predict(config, work)
        found += [math.log(p.prefill_s / prefill), math.log(p.decode_s_per_token / decode)]
    return found


def test_unseen_models_are_predicted_within_the_noise(cpu: tuple[SimulatedLab, Calibrated]) -> None:
    errors = np.abs(errors_on_unseen(*cpu))
    assert np.median(errors) < 0.02
    assert errors.max() < 0.05


def test_well_determined_coefficients_come_back(cpu: tuple[SimulatedLab, Calibrated]) -> None:
    _, truth = planted("cpu", 1)
    found = cpu[1].fitted.coefficients
    sure = {name: item for name, item in found.items() if 0 < item.stderr_log < 0.05 and item.status == "fitted"}
    assert len(sure) >= 4
    for name, item in sure.items():
        assert abs(math.log(item.value / truth[name])) < 4.0 * item.stderr_log, name


def test_the_repacking_threshold_is_found() -> None:
    whole = task("cpu")
    lab = SimulatedLab(whole.start.moved({"device.cpu.repack_rows": 2.0}).target(RUNTIME), 1, replay=False)
    cases = tuple(case for case in plan_of("cpu").cases if case.phase == "decode" and case.part == "blocks")
    plan = plan_of("cpu")
    rows = run(lab, Plan(cases, plan.references, plan.rules))
    assert whole.solve(rows).setup.device.repack_rows == 2.0  # type: ignore[union-attr]


def test_what_the_profile_says_of_itself(cpu: tuple[SimulatedLab, Calibrated]) -> None:
    profile = cpu[1].profile
    assert profile.quality.kind == "calibrated"
    splits = {row.split for row in profile.quality.errors}
    assert {"in sample", "held-out shapes"} <= splits and any(split.startswith("cross-validated") for split in splits)
    part = profile.runtimes[RUNTIME]
    assert {"prefill", "decode"} == set(part.conformal_scores)  # a response takes what its parts take
    assert "num_hidden_layers" not in part.ranges
    assert type(profile).model_validate_json(profile.model_dump_json()) == profile


def test_a_fold_never_splits_a_shape(cpu: tuple[SimulatedLab, Calibrated]) -> None:
    rows = list(cpu[1].observations)
    shapes: dict[str, set[str]] = {}
    for row, fold in zip(rows, folds(rows), strict=True):
        shapes.setdefault(shape_of(row), set()).add(fold)
    assert all(len(found) == 1 for found in shapes.values())
    assert len({fold for found in shapes.values() for fold in found}) == 7


def test_drift_and_throttling_are_bridged() -> None:
    one, truth = planted("cpu", 2)
    spoiled = Disturbance(noise=0.01, drift=0.3, drift_period_s=50.0, throttled=((10.0, 20.0), (40.0, 60.0)))
    lab = lab_of(one, truth, "cpu", 3, spoiled)
    done = calibrated(one, sheet_part("cpu"), run(lab, plan_of("cpu")), ABOUT)
    errors = np.array(errors_on_unseen(lab, done))
    assert np.median(np.abs(errors)) < 0.04  # up to 82 % slower than the device is
    assert np.abs(errors).max() < 0.08


def test_host_and_device_are_told_apart_by_the_three_clocks_of_a_gpu() -> None:
    whole = task("cuda")
    names = ("launch_s", "block_s", "pass_s")
    wanted = {
        *(f"runtime.{RUNTIME}.{name}" for name in names), "device.gemm.compute_efficiency",
        "device.gemm.bandwidth_efficiency", "device.pointwise.bandwidth_efficiency",
    }  # fmt: skip
    one = Problem(whole.start, {name: p for name, p in whole.free.items() if name in wanted}, whole.solver)
    truth = {name: prior.value * 1.15 for name, prior in one.free.items()}
    rows = run(lab_of(one, truth, "cuda", 5, Disturbance(noise=0.01)), plan_of("cuda"))
    assert {row.timing for row in rows if row.part == "blocks"} == {"wall", "device"}
    found = one.solve(rows).coefficients
    for name in ("device.gemm.compute_efficiency", "device.gemm.bandwidth_efficiency"):
        assert found[name].value == pytest.approx(truth[name], rel=0.02)
    host = [30.0 * found[f"runtime.{RUNTIME}.launch_s"].value + found[f"runtime.{RUNTIME}.block_s"].value]
    assert host[0] == pytest.approx(1.15 * (30.0 * 1.0e-5 + 1.0e-4), rel=0.03)


def test_a_host_bound_decode_shows_the_host_in_wall_time_alone() -> None:
    one = task("cuda")
    case = min(
        (c for c in plan_of("cuda").cases if c.part == "blocks" and c.phase == "decode"),
        key=lambda c: c.config.hidden_size,
    )
    wall, device = true_seconds(case, one.start.target(RUNTIME))
    assert wall > 3.0 * device


def test_interrupted_anywhere_and_resumed_the_samples_are_the_same(tmp_path: Path) -> None:
    one, truth = planted("cpu", 6)
    plan = plan_of("cpu")
    quiet = Disturbance(noise=0.02, outliers=0.05, reference_noise=0.0, jitter=0.0)
    binding, rules = {"plan": plan.fingerprint}, Rules(rounds=2, sample_s=0.05)
    cases = plan.cases[:4]

    def resumed(path: Path) -> list[dict[str, object]]:
        log = open_samples(path, binding, resume=True)
        lab = lab_of(one, truth, "cpu", 8, quiet)
        lab.opened = [str(record["case"]) for record in log.records]
        measure(lab, cases, plan.references, log, rules)
        return list(read_samples(path).records)

    whole = resumed(tmp_path / "whole.jsonl")
    raw = (tmp_path / "whole.jsonl").read_bytes()
    rng = random.Random(0)
    header_end = raw.index(b"\n") + 1
    for cut in (rng.randrange(header_end, len(raw)) for _ in range(50)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(raw[:cut])
        kept = read_samples(path)
        assert list(kept.records) == whole[: len(kept.records)]  # nothing lost but the one in flight
        assert len(kept.records) >= raw[:cut].count(b"\n") - 1
        assert _timeless(resumed(path)) == _timeless(whole)


def _timeless(records: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return sorted((str(r["case"]), r["round"], r["attempt"], round(float(r["wall_s"]), 12)) for r in records)  # type: ignore[arg-type]
