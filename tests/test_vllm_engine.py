"""The vLLM engine on a `vllm` that only pretends: what it is asked for, and what is made of its times."""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
from separate_runner import separate_runner

from calibration.engines.whole import vllm as engine_file
from calibration.engines.whole.vllm import Vllm
from calibration.engines.whole.whole_models import find_whole_model_engine
from calibration.measure.session import read_samples
from calibration.verbs.engines import gpu
from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.device.engine_options import EngineOptions
from latmodel.device.profile_file import read_profile
from latmodel.device.store import load_profile
from latmodel.errors import LatmodelError, UsageError

SHAPE = ModelConfig(
    num_hidden_layers=4, hidden_size=512, intermediate_size=1408, num_attention_heads=8, num_key_value_heads=2,
    vocab_size=1024, tie_word_embeddings=False,
)  # fmt: skip
TOKEN_S, PROMPT_S = 0.01, 0.0001  # of a token written, and of one read


class Clock:
    """Seconds that pass when the fake engine works."""

    now = 0.0


class Sampling:
    def __init__(self, **options: Any) -> None:
        self.options = options


class FakeLLM:
    """vllm.LLM's surface as far as it is used: time passes by the tokens, an answer has as many as were asked."""

    made: ClassVar[list[dict[str, Any]]] = []
    short = 0  # tokens that it forgets

    def __init__(self, **options: Any) -> None:
        self.made.append(options)

    def generate(self, prompts: list[dict[str, Any]], sampling: Sampling, *, use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        new = sampling.options["max_tokens"]
        Clock.now += PROMPT_S * len(prompts[0]["prompt_token_ids"]) + TOKEN_S * new
        answer = types.SimpleNamespace(token_ids=[0] * (new - self.short))
        return [types.SimpleNamespace(outputs=[answer])]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    fake = types.ModuleType("vllm")
    fake.__version__ = "0.33.0"  # type: ignore[attr-defined]
    fake.LLM, fake.SamplingParams = FakeLLM, Sampling  # type: ignore[attr-defined]
    FakeLLM.made.clear()
    monkeypatch.setattr(FakeLLM, "short", 0)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(engine_file.time, "perf_counter", lambda: Clock.now)
    return fake


@pytest.mark.usefixtures("library")
def test_a_model_is_a_configuration_without_weights_or_tokenizer(tmp_path: Path) -> None:
    engine = Vllm()
    engine.write(tmp_path / "model", SHAPE, "bf16", 3)
    engine.open(tmp_path / "model", EngineOptions(), 640)
    written = json.loads((tmp_path / "model" / "config.json").read_text())
    assert written["architectures"] == ["LlamaForCausalLM"]
    assert {name: written[name] for name in SHAPE.model_dump()} == SHAPE.model_dump()
    (options,) = FakeLLM.made
    assert options["load_format"] == "dummy" and options["skip_tokenizer_init"]
    assert not options["enable_prefix_caching"]
    assert (options["max_model_len"], options["max_num_seqs"], options["seed"]) == (640, 1, 3)
    assert options["dtype"] == "bfloat16"


@pytest.mark.usefixtures("library")
def test_a_step_is_a_difference(tmp_path: Path) -> None:
    engine = Vllm()
    engine.write(tmp_path, SHAPE, "bf16", 0)
    engine.open(tmp_path, EngineOptions(), 640)
    # 100 tokens read at 0.1 ms and one written at 10 ms; a step is 10 ms whatever the prompt.
    assert engine.prefill(100) == pytest.approx(0.02)
    assert engine.decode(100, 8) == pytest.approx(TOKEN_S)


def test_too_few_tokens_an_old_version_and_other_weights_are_refused(
    library: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = Vllm()
    with pytest.raises(LatmodelError, match="no model is open"):
        engine.prefill(8)
    with pytest.raises(UsageError, match="bf16 or f16 weights, not q4_0"):
        engine.write(tmp_path, SHAPE, "q4_0", 0)
    engine.write(tmp_path, SHAPE, "f16", 0)
    engine.open(tmp_path, EngineOptions(), 640)
    monkeypatch.setattr(FakeLLM, "short", 1)
    with pytest.raises(LatmodelError, match="wrote 0 tokens instead of 1"):
        engine.decode(8, 4)
    library.__version__ = "0.5.4"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="too old"):
        engine.version()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UsageError, match="pip install vllm"):
        find_whole_model_engine("vllm").version()


def test_calibrate_and_verify_run_it_and_its_runs_move_the_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, out = Path(__file__).parent, tmp_path / "h100.json"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (root / "fake_packages", root.parent))))
    monkeypatch.setattr(gpu, "SHAPES", ((1024, 2816, 16, 4, (4,)), (2048, 5632, 16, 4, (8,))))
    monkeypatch.setattr(gpu, "RUNS", (("prefill", 0, 512), ("decode", 128, 8)))
    monkeypatch.setitem(gpu.LOADS, "quick", 1)
    command = ["calibrate", "--gpu", "h100", "--runtime", "vllm", "--effort", "quick", "--out", str(out)]
    told = separate_runner().invoke(group, command)
    assert told.exit_code == 0, told.output
    assert f"wrote {out}" in told.output
    shape, work = SHAPE.model_copy(update={"num_hidden_layers": 12, "hidden_size": 1536}), Workload(prompt_tokens=256)
    before, after = (
        Predictor(profile, "vllm").predict(shape, work).decode_s_per_token
        for profile in (load_profile("h100"), read_profile(out))
    )
    # The stand-in takes three times what the packaged profile says.
    assert 2.0 * before < after < 4.5 * before
    assert read_samples(tmp_path / "h100.vllm-bf16.samples.jsonl").ended
    verified = separate_runner().invoke(group, [
        "verify", "8x2048", "--gpu", "h100", "--runtime", "vllm", "--profile", str(out), "--prompt", "256",
        "--generate", "8", "--limit", "1ms", "--tolerance", "1",
    ])  # fmt: skip
    assert verified.exit_code == 0, verified.output
    assert "TTFT" in verified.stdout
    assert "TPOT" in verified.stdout


def test_a_calibration_without_the_package_says_what_to_install(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is here")
    command = ["calibrate", "--gpu", "h100", "--runtime", "vllm", "--out", str(tmp_path / "a.json")]
    told = separate_runner().invoke(group, command)
    assert told.exit_code != 0
    assert "vllm needs a CUDA device and its package: pip install vllm" in str(told.exception)


@pytest.mark.gpu
def test_vllm_itself_is_measured_and_agrees_with_the_profile(tmp_path: Path) -> None:
    """On a CUDA device with vLLM installed: depths differ as their blocks do, and a model takes what is predicted."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("vllm")
    from calibration.engines.whole.whole_model import Child

    shape = SHAPE.model_copy(
        update={"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 8}
    )
    times: dict[int, float] = {}
    for layers in (4, 8, 16):
        with Child("vllm") as child:
            config = shape.model_copy(update={"num_hidden_layers": layers})
            child.write(tmp_path / str(layers), config, "bf16", 0)
            child.open(tmp_path / str(layers), EngineOptions(), 1024)
            child.decode(128, 16)  # warm
            times[layers] = min(child.decode(128, 64) for _ in range(3))
    assert (times[16] - times[8]) / (times[8] - times[4]) == pytest.approx(2.0, rel=0.2)
    predictor = Predictor.load(torch.cuda.get_device_name(0), "vllm")
    p = predictor.predict(config, Workload(prompt_tokens=128, new_tokens=64))
    assert p.decode_s_per_token_low is not None and p.decode_s_per_token_high is not None
    assert p.decode_s_per_token_low <= times[16] <= p.decode_s_per_token_high
