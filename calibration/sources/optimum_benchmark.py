"""`benchmark.json` of optimum-benchmark (0.6, `optimum_benchmark/benchmark/base.py`): its `config` and its `report`.

Its inference scenario times a prompt (`prefill`) and the rest of a generation (`decode`: all tokens but the first).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from latmodel.errors import UsageError
from latmodel.model.config import DType, ModelConfig

from ..observations.record import Observation
from .tool_json import ToolPart, load_tool_json, parsed

TOOL = "optimum-benchmark"
RUNTIMES = {"pytorch": "transformers-eager", "vllm": "vllm"}  # by the backend's name
DTYPES: dict[str, DType] = {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32"}
DEFAULT_NEW_TOKENS = 100  # TEXT_GENERATION_DEFAULT_KWARGS of its inference scenario
LEAST_NOISE, MOST_NOISE = 0.005, 0.5

Seconds = Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=10**7)]


class Backend(ToolPart):
    """What ran the model."""

    name: Annotated[str, Field(max_length=100)]
    version: str | None = None
    model: Annotated[str, Field(max_length=500)]
    torch_dtype: str | None = None
    torch_compile: bool = False
    quantization_scheme: str | None = None
    attn_implementation: str | None = None
    engine_args: dict[str, Any] = Field(default_factory=dict)


class Shapes(ToolPart):
    """Of the input."""

    batch_size: Size
    sequence_length: Size


class Scenario(ToolPart):
    """What was asked of it."""

    name: Literal["inference"]
    input_shapes: Shapes
    generate_kwargs: dict[str, Any] = Field(default_factory=dict)


class Config(ToolPart):
    """The part that says what ran."""

    backend: Backend
    scenario: Scenario


class Latency(ToolPart):
    """Statistics over repeats."""

    unit: Literal["s"]
    p50: Seconds
    mean: Seconds
    stdev: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Target(ToolPart):
    """One thing that was timed."""

    latency: Latency


class Report(ToolPart):
    """The part that says how long it took."""

    prefill: Target
    decode: Target


class Benchmark(ToolPart):
    """The whole file."""

    config: Config
    report: Report


def read_optimum_benchmark(path: Path, config: ModelConfig, gpu: str, dtype: DType) -> list[Observation]:
    """A prefill and a mean decode step of the model of these dimensions; `dtype` stands where the file names none.

    Raises:
        UsageError: another tool's file, or a run of a backend or in a format that no runtime here stands for.
    """
    data = load_tool_json(path, TOOL)
    if isinstance(data, dict) and "prefill" in data and "config" not in data:
        raise UsageError(f"{path} is the report alone, which says nothing of the run; give benchmark.json")
    found = parsed(data, Benchmark, path, TOOL)
    backend, scenario = found.config.backend, found.config.scenario
    new = _new_tokens(scenario, path)
    common = {
        **config.model_dump(), "gpu": gpu, "runtime": _runtime(backend, path), "dtype": _dtype(backend, dtype, path),
        "batch_size": scenario.input_shapes.batch_size, "prompt_tokens": scenario.input_shapes.sequence_length,
        "source": f"optimum-benchmark, {backend.name} {backend.version or ''}, {backend.model}"[:200],
    }  # fmt: skip
    prefill, decode = found.report.prefill.latency, found.report.decode.latency
    return [
        Observation(phase="prefill", timing="wall", seconds=prefill.p50, noise=_noise(prefill), **common),
        Observation(
            phase="decode", timing="loop", seconds=decode.p50 / (new - 1), noise=_noise(decode), new_tokens=new - 1,
            **common,
        ),
    ]  # fmt: skip


def _new_tokens(scenario: Scenario, path: Path) -> int:
    new = scenario.generate_kwargs.get("max_new_tokens", DEFAULT_NEW_TOKENS)
    if not isinstance(new, int) or not 2 <= new <= 10**7:
        raise UsageError(f"{path}: max_new_tokens is {str(new)[:40]}: two at least, or no decode step was timed")
    return new


def _noise(latency: Latency) -> float:
    return min(max(latency.stdev / latency.mean, LEAST_NOISE), MOST_NOISE)


def _runtime(backend: Backend, path: Path) -> str:
    if backend.name not in RUNTIMES:
        raise UsageError(
            f"{path}: backend {backend.name[:40]!r} is not modelled; runs of {', '.join(RUNTIMES)} are read"
        )
    for what, value in (
        ("torch_compile", backend.torch_compile), ("quantization_scheme", backend.quantization_scheme),
        ("quantization", backend.engine_args.get("quantization")),
    ):  # fmt: skip
        if value:
            raise UsageError(f"{path}: {what} is {value!s:.40}: only plain 16- and 32-bit runs are fitted")
    if backend.attn_implementation not in (None, "sdpa"):
        raise UsageError(f"{path}: attention is {backend.attn_implementation[:40]!r}: only runs with sdpa are fitted")
    return RUNTIMES[backend.name]


def _dtype(backend: Backend, otherwise: DType, path: Path) -> DType:
    named = str(backend.torch_dtype or backend.engine_args.get("dtype") or "auto")
    if named != "auto" and named not in DTYPES:
        raise UsageError(f"{path}: dtype {named[:40]!r} is not modelled: choose from {', '.join(DTYPES)}")
    return DTYPES.get(named, otherwise)
