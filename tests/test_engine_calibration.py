"""Whole calibrations of both engines for real, on tiny models: killed and resumed, with models that fail, verified."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import engine_calibration
import fake_engine
import pytest

from calibration.engines.whole import reference
from calibration.engines.whole.whole_model import Child
from calibration.engines.whole.whole_models import WHOLE_MODEL_ENGINES
from calibration.measure.session import SampleFile, read_samples
from calibration.verbs.engines import cases as engine_cases
from calibration.verbs.engines.cpu import EngineRequest, calibrate_engine, loads_of
from calibration.verify.engine import drift_of_engine, run_engine, verify_engine
from latmodel import ModelConfig, Predictor, Workload
from latmodel.device.engine_options import EngineOptions
from latmodel.device.machine import cpu_model
from latmodel.device.profile_file import read_profile
from latmodel.errors import LatmodelError, ProfileError, UsageError

SAMPLES = 2 * 2 * 7  # widths, depths, runs
MODEL = ModelConfig(
    num_hidden_layers=3, hidden_size=512, intermediate_size=1024, num_attention_heads=8, num_key_value_heads=2,
    vocab_size=512, tie_word_embeddings=False,
)  # fmt: skip


def start(engine: str, weights: str, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, engine_calibration.__file__, engine, weights, str(out)]
    root = str(Path(engine_calibration.__file__).parent.parent)
    # Its lock apart from others'.
    environment = {**os.environ, "TMPDIR": str(out.parent), "PYTHONPATH": root}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_it_loses_the_sample_in_flight_alone_and_leaves_no_process(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    out, kept = tmp_path / "cpu.json", tmp_path / "cpu.llama.cpp-q8_0.samples.jsonl"
    with start("llama.cpp", "q8_0", out) as killed:
        while lines(kept) < 6 and killed.poll() is None:
            time.sleep(0.005)
        engines = children(killed.pid)
        killed.send_signal(signal.SIGKILL)
    assert engines
    end = time.monotonic() + 20.0
    while any(map(is_running, engines)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, engines))
    before = read_samples(kept).records
    assert 5 <= len(before) < SAMPLES
    with start("llama.cpp", "q8_0", out) as resumed:
        assert resumed.stdout is not None
        told = resumed.stdout.read()
    assert resumed.returncode == 0
    assert told == f"resuming: {len(before)} samples are in {kept}\n"
    after = read_samples(kept)
    assert list(after.records)[: len(before)] == list(before)
    assert len({record["case"] for record in after.records}) == len(after.records) == SAMPLES
    assert after.ended
    assert not list(tmp_path.glob("*.models"))
    assert set(read_profile(out).runtimes["llama.cpp"].formats) == {"q8_0"}


@pytest.mark.parametrize(("engine", "weights"), [("llama.cpp", "q4_k_m"), ("onnxruntime", "int4")])
def test_a_calibration_for_real_predicts_and_is_verified(tmp_path: Path, engine: str, weights: str) -> None:
    pytest.importorskip({"llama.cpp": "xllamacpp", "onnxruntime": "onnxruntime_genai"}[engine])
    out = tmp_path / "cpu.json"
    with start(engine, weights, out) as run:
        assert run.stdout is not None
        assert run.stdout.read() == ""
    assert run.returncode == 0
    predictor = Predictor(read_profile(out), engine)
    dtype = "float32" if engine == "onnxruntime" else "bfloat16"
    work = Workload(prompt_tokens=48, new_tokens=4, weights=weights, dtype=dtype)
    row = verify_engine(predictor, MODEL, work, EngineOptions(), limit_s=0.0)
    assert (row.prediction.extrapolated_because, row.prediction.extrapolated) == ((), False)  # it was measured so
    # Tiny models on a busy machine: of the right size is all that can be asked.
    assert 0.2 < row.prediction.prefill_s / row.prefill_s < 5.0
    assert 0.2 < row.prediction.decode_s_per_token / row.decode_s_per_token < 5.0
    with pytest.raises(UsageError, match="leave out --batch"):
        verify_engine(predictor, MODEL, work.model_copy(update={"batch_size": 2}), EngineOptions())
    with pytest.raises(ProfileError, match="--kv-cache|no cache in q8_0"):
        predictor.predict(MODEL, work.model_copy(update={"kv_cache": "q8_0"}))


def test_passes_of_a_few_tokens_are_measured_where_the_law_knows_of_the_kernels() -> None:
    plain, all_ = engine_cases.cases(few_rows=False), engine_cases.cases()
    assert [case for case in all_ if case.phase != "step"] == plain
    assert {case.tokens for case in all_ if case.phase == "step"} >= {2, 4, 8, 16}
    knows = {name: engine.few_rows for name, engine in WHOLE_MODEL_ENGINES.items()}
    assert knows == {"llama.cpp": True, "onnxruntime": False, "vllm": False}


def test_a_model_that_crashes_is_tried_twice_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cases, "Child", partial(Child, command=(sys.executable, fake_engine.__file__)))
    monkeypatch.setattr(engine_cases, "SHAPES", engine_calibration.SHAPES)
    runs = (("prefill", 0, 64), ("prefill", 0, fake_engine.CRASH), ("decode", 8, 4))
    monkeypatch.setattr(engine_cases, "RUNS", runs)
    said: list[str] = []
    log = SampleFile(tmp_path / "samples", [])
    engine_cases.measure_engine("fake", "f16", EngineOptions(), 1, log, said.append, tmp_path, engine_cases.cases())
    # What came before the crash is kept; so is every model.
    assert [record["case"] for record in log.records] == [
        f"{layers}x{hidden}-prefill-0+64" for hidden in (256, 512) for layers in (2, 4)
    ]
    assert len(said) == 8
    assert said[0].startswith("warning: 2x256-prefill-0+13: fake ended in prefill")
    assert [line.rpartition("; ")[2] for line in said] == ["once more", "skipped"] * 4
    assert len((tmp_path / "samples").read_text().splitlines()) == 4


def test_a_model_without_room_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cases, "Child", partial(Child, command=(sys.executable, fake_engine.__file__)))
    monkeypatch.setattr(engine_cases, "SHAPES", engine_calibration.SHAPES)
    monkeypatch.setattr(engine_cases, "available_memory", lambda: 2.0**20)
    said: list[str] = []
    log = SampleFile(tmp_path / "samples", [])
    engine_cases.measure_engine("fake", "f16", EngineOptions(), 1, log, said.append, tmp_path, engine_cases.cases())
    assert not log.records
    assert "needs" in said[0]
    assert "1 MiB are free" in said[0]


def test_samples_are_bound_to_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setattr("calibration.verbs.engines.cpu.device_lock", lambda _: nullcontext())
    out = tmp_path / "cpu.json"
    kept = out.with_suffix(".llama.cpp-q8_0.samples.jsonl")
    kept.write_text(json.dumps({"kind": "header", "format": 2, "engine": "xllamacpp 1"}) + "\n")
    with pytest.raises(UsageError, match="measurements with engine 'xllamacpp 1'"):
        calibrate_engine(EngineRequest("llama.cpp", "q8_0", EngineOptions(micro_batch=64), out=out), print)


def test_a_model_that_memory_does_not_hold_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibration.verify.engine.available_memory", lambda: 2.0**20)
    predictor = Predictor.load("3090", "llama.cpp")
    with pytest.raises(LatmodelError, match="1 MiB are free: verify a smaller one"):
        verify_engine(predictor, MODEL, Workload(weights="q8_0"), EngineOptions())


def test_a_machine_that_became_slower_is_told_by_the_reference_and_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (sys.executable, fake_engine.__file__)
    monkeypatch.setattr("calibration.verify.engine.Child", partial(Child, command=command))
    monkeypatch.setattr("calibration.engines.whole.reference.Child", partial(Child, command=command))
    # The fake reads 1000 tokens a second; at its calibration it was 10 % quicker in prompts and 20 % in tokens.
    prefill, decode = reference.PROMPT * 1e-3 / 1.1, (reference.START + reference.STEPS) * 1e-6 / 1.2
    times = {reference.CASES["prefill"]: [prefill, prefill], reference.CASES["decode"]: [decode]}
    header = {
        "kind": "header", "format": 2, "engine": "fake 1", "weights": "f16", "cpu": cpu_model(),
        **EngineOptions().model_dump(),
    }  # fmt: skip
    samples = [
        {
            "kind": "sample", "case": case, "phase": "prefill", "round": 0, "attempt": 0, "wall_s": seconds,
            "replay_s": None, "flags": [], "before": None, "after": None,
        }
        for case, seconds in times.items()
    ]  # fmt: skip
    profile, work = tmp_path / "cpu.json", Workload(prompt_tokens=50, new_tokens=10, weights="f16")
    kept = tmp_path / "cpu.fake-f16.samples.jsonl"
    kept.write_text("".join(json.dumps(record) + "\n" for record in (header, *samples)))
    drift = drift_of_engine("fake", work, EngineOptions(), profile, tmp_path / "reference")
    found = run_engine("fake", MODEL, work, EngineOptions(), 0.0, tmp_path / "model", drift)
    assert found.prefill_drift == pytest.approx(math.log(1.1))
    assert found.decode_drift == pytest.approx(math.log(1.2))
    assert found.prefill_s == pytest.approx(0.05 / 1.1)
    assert found.decode_s_per_token == pytest.approx(60e-6 / 1.2)
    # Of other threads nothing is known: what was measured stays.
    other = drift_of_engine("fake", work, EngineOptions(threads=2), profile, tmp_path / "reference")
    assert run_engine("fake", MODEL, work, EngineOptions(), 0.0, tmp_path / "model", other).prefill_s == 0.05


def test_every_calibration_times_the_reference_of_its_drift() -> None:
    for few_rows in (True, False):
        plan = {case.name: case.config for case in engine_cases.cases(few_rows)}
        assert {plan[name] for name in reference.CASES.values()} == {reference.MODEL}


def test_the_interval_of_an_engine_is_of_single_loads() -> None:
    log = SampleFile(Path("none"), [
        {"kind": "sample", "case": "a", "phase": "prefill", "round": load, "wall_s": [seconds, seconds]}
        for load, seconds in enumerate((1.0, 2.0, 4.0))
    ])  # fmt: skip
    assert loads_of(log) == {"a": pytest.approx([-math.log(2.0), 0.0, math.log(2.0)])}


def test_the_reference_is_a_model_that_every_calibration_times() -> None:
    for few_rows in (True, False):
        plan = {case.name: case.config for case in engine_cases.cases(few_rows)}
        assert {plan[name] for name in reference.CASES.values()} == {reference.MODEL}
