"""`latmodel fit --from vllm-bench` and `--from optimum-benchmark`: small files of each tool's own layout."""

import json
from pathlib import Path
from typing import Any

import pytest
from shapes import LLAMA_7B

pytest.importorskip("scipy")

from calibration.sources.optimum_benchmark import read_optimum_benchmark
from calibration.sources.vllm_bench import read_vllm_bench
from calibration.verbs.fit_tool import fit_tool
from latmodel import Predictor, Workload
from latmodel.device.profile_file import read_profile
from latmodel.errors import UsageError

# The fields that vLLM 0.33 writes, of 20 requests of 512 + 128 tokens.
SERVE: dict[str, Any] = {
    "date": "20261101-120000", "endpoint_type": "openai", "backend": "openai", "label": None,
    "model_id": "meta-llama/Llama-2-7b-hf", "tokenizer_id": "meta-llama/Llama-2-7b-hf", "num_prompts": 20,
    "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 1, "duration": 30.0, "completed": 20, "failed": 0,
    "total_input_tokens": 10240, "total_output_tokens": 2560, "request_throughput": 0.67, "request_goodput": None,
    "output_throughput": 85.0, "total_token_throughput": 427.0, "mean_ttft_ms": 41.0, "median_ttft_ms": 40.0,
    "std_ttft_ms": 1.0, "p99_ttft_ms": 45.0, "mean_tpot_ms": 12.1, "median_tpot_ms": 12.0, "std_tpot_ms": 0.1,
}  # fmt: skip
LATENCY = {"model_id": "x", "avg_latency": 1.0, "latencies": [1.0], "percentiles": {"50": 1.0}}


def _target(seconds: float) -> dict[str, Any]:
    latency = {
        "unit": "s", "values": [seconds] * 3, "count": 3, "total": 3 * seconds, "mean": seconds, "p50": seconds,
        "p90": seconds, "p95": seconds, "p99": seconds, "stdev": 0.0, "stdev_": 0.0,
    }  # fmt: skip
    return {"memory": None, "latency": latency, "throughput": None, "energy": None, "efficiency": None}


def _optimum(backend: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "config": {
            "name": "mine",
            "backend": {
                "name": "pytorch", "version": "2.9.0", "_target_": "…", "model": "x", "device": "cuda",
                "torch_dtype": "bfloat16", "torch_compile": False, "quantization_scheme": None,
                "attn_implementation": None, **(backend or {}),
            },
            "scenario": {
                "name": "inference", "_target_": "…", "iterations": 10,
                "input_shapes": {"batch_size": 1, "sequence_length": 512},
                "generate_kwargs": {"max_new_tokens": 101, "min_new_tokens": 101},
            },
            "launcher": {"name": "process"}, "environment": {"gpu": ["NVIDIA GeForce RTX 3090"]},
        },
        "report": {"load_model": _target(3.0), "prefill": _target(0.2), "decode": _target(4.0)},
    }  # fmt: skip


def _written(folder: Path, data: Any) -> Path:
    path = folder / "results.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_vllm_bench_tells_a_prompt_and_a_step(tmp_path: Path) -> None:
    prompt, step = read_vllm_bench(_written(tmp_path, SERVE), LLAMA_7B, "nvidia-h100-80gb-hbm3", "bfloat16")
    # 10240 and 2560 tokens of 20 requests; the first of 128 tokens comes with the prompt.
    assert (prompt.phase, prompt.prompt_tokens, prompt.seconds) == ("prefill", 512, 0.04)
    assert (step.phase, step.prompt_tokens, step.new_tokens, step.seconds) == ("decode", 512, 127, 0.012)
    assert {prompt.runtime, step.runtime} == {"vllm"}


def test_optimum_benchmark_tells_a_prompt_and_a_step(tmp_path: Path) -> None:
    prompt, step = read_optimum_benchmark(
        _written(tmp_path, _optimum()), LLAMA_7B, "nvidia-geforce-rtx-3090", "float16"
    )
    # 4 s for the 100 tokens after the first.
    assert (prompt.phase, prompt.prompt_tokens, prompt.seconds) == ("prefill", 512, 0.2)
    assert (step.phase, step.new_tokens, step.seconds) == ("decode", 100, pytest.approx(0.04))
    assert {prompt.runtime, step.runtime} == {"transformers-eager"}
    assert {prompt.dtype, step.dtype} == {"bfloat16"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_optimum(), "is no output of vllm bench serve"),
        (LATENCY, "states no lengths"),
        ({**SERVE, "max_concurrency": 8}, "--max-concurrency 1"),
        ({**SERVE, "max_concurrency": None}, "--max-concurrency 1"),
        ({**SERVE, "failed": 2}, "2 requests failed"),
        ({**SERVE, "median_tpot_ms": "12"}, "median_tpot_ms"),
        ({**SERVE, "median_ttft_ms": -1.0}, "median_ttft_ms"),
        ({**SERVE, "total_output_tokens": 20}, "times no decode step"),
        ({**SERVE, "spec_decode_acceptance_rate": 0.7}, "drafted"),
        ('{"completed": NaN}', "NaN is not a number"),
        ("[[[", "give the JSON that"),
    ],
)
def test_vllm_bench_refuses_what_tells_no_single_request(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_vllm_bench(_written(tmp_path, data), LLAMA_7B, "nvidia-h100-80gb-hbm3", "bfloat16")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SERVE, "is no output of optimum-benchmark"),
        (_optimum()["report"], "give benchmark.json"),
        (_optimum({"name": "openvino"}), "backend 'openvino' is not modelled"),
        (_optimum({"torch_compile": True}), "torch_compile is True"),
        (_optimum({"quantization_scheme": "bnb"}), "quantization_scheme is bnb"),
        (_optimum({"attn_implementation": "eager"}), "attention is 'eager'"),
        (_optimum({"torch_dtype": "float64"}), "dtype 'float64' is not modelled"),
    ],
)
def test_optimum_benchmark_refuses_what_no_runtime_stands_for(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_optimum_benchmark(_written(tmp_path, data), LLAMA_7B, "nvidia-geforce-rtx-3090", "bfloat16")


def test_a_run_moves_the_device_and_says_how_the_interval_changed(tmp_path: Path) -> None:
    work = Workload(prompt_tokens=512, new_tokens=127)
    was = Predictor.load("h100", "vllm").predict(LLAMA_7B, work)
    slower = {
        **SERVE, "median_ttft_ms": 1.3e3 * was.prefill_s, "median_tpot_ms": 1.3e3 * was.decode_s_per_token,
    }  # fmt: skip
    out = tmp_path / "mine.json"
    lines = list(fit_tool("vllm-bench", "h100", [_written(tmp_path, slower)], LLAMA_7B, None, out))
    now = Predictor(read_profile(out), "vllm").predict(LLAMA_7B, work)
    assert now.decode_s_per_token / was.decode_s_per_token == pytest.approx(1.3, rel=0.05)
    assert now.prefill_s / was.prefill_s == pytest.approx(1.3, rel=0.15)
    assert [line.split(":")[0] for line in lines[-2:]] == ["prefill", "decode"]
    assert all("before" in line and "now" in line for line in lines[-2:])


def test_the_interval_narrows_from_any_host_to_the_one_that_ran(tmp_path: Path) -> None:
    work = Workload(prompt_tokens=512, new_tokens=100)
    was = Predictor.load("3090", "transformers-eager").predict(LLAMA_7B, work)
    run = _optimum()
    run["report"] = {"prefill": _target(1.1 * was.prefill_s), "decode": _target(1.1 * 100 * was.decode_s_per_token)}
    out = tmp_path / "mine.json"
    list(fit_tool("optimum-benchmark", "3090", [_written(tmp_path, run)], LLAMA_7B, None, out))
    now = Predictor(read_profile(out), "transformers-eager").predict(LLAMA_7B, work)
    assert now.response_s_high / now.response_s_low < 0.8 * was.response_s_high / was.response_s_low


def test_a_runtime_that_the_profile_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no runtime vllm"):
        list(fit_tool("vllm-bench", "3090", [_written(tmp_path, SERVE)], LLAMA_7B, None, tmp_path / "o.json"))
    with pytest.raises(UsageError, match="give --config"):
        list(fit_tool("vllm-bench", "h100", [_written(tmp_path, SERVE)], None, None, tmp_path / "o.json"))
