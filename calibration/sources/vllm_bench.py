"""What `vllm bench serve --max-concurrency 1 --save-result` writes (vLLM 0.33, `vllm/benchmarks/serve.py`).

One request at a time, so that the time to the first token is a prompt read and the time of each further one a decode
step; both with the server's own path through HTTP. Medians over the requests, whose lengths enter by their means.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from latmodel.errors import UsageError
from latmodel.model.config import DType, ModelConfig

from ..observations.record import Observation
from .tool_json import ToolPart, load_tool_json, parsed

TOOL = "vllm bench serve --save-result"
RUNTIME = "vllm"
NOISE = 0.03  # of a median over requests; the file's own spread is of lengths as much as of times

Milliseconds = Annotated[float, Field(gt=0, le=1e8, allow_inf_nan=False)]
Total = Annotated[int, Field(ge=1, le=10**12)]


class ServeResult(ToolPart):
    """The fields that are read."""

    model_id: Annotated[str, Field(max_length=500)]
    completed: Total
    failed: int = 0  # absent before vLLM 0.11
    max_concurrency: int | None
    total_input_tokens: Total
    total_output_tokens: Total
    median_ttft_ms: Milliseconds
    median_tpot_ms: Milliseconds
    spec_decode_acceptance_rate: float | None = None


def read_vllm_bench(path: Path, config: ModelConfig, gpu: str, dtype: DType) -> list[Observation]:
    """A prefill and a decode step of the model of these dimensions, in 16-bit weights.

    Raises:
        UsageError: another tool's file, or runs that tell no single request's time.
    """
    data = load_tool_json(path, TOOL)
    if isinstance(data, dict) and "avg_latency" in data:
        raise UsageError(f"{path}: vllm bench latency states no lengths; run `{TOOL} --max-concurrency 1`")
    found = parsed(data, ServeResult, path, TOOL)
    if found.max_concurrency != 1:
        raise UsageError(
            f"{path}: requests ran side by side and waited for each other: run it with --max-concurrency 1"
        )
    if found.failed:
        raise UsageError(f"{path}: {found.failed} requests failed; run it again")
    if found.spec_decode_acceptance_rate is not None:
        raise UsageError(f"{path}: tokens were drafted, so that no decode step was timed; run it without a draft")
    prompt, new = (round(total / found.completed) for total in (found.total_input_tokens, found.total_output_tokens))
    if new < 2:
        raise UsageError(f"{path}: one token a request times no decode step; ask for more")
    common = {
        **config.model_dump(), "gpu": gpu, "runtime": RUNTIME, "dtype": dtype, "noise": NOISE,
        "prompt_tokens": prompt, "source": f"vllm bench serve, {found.model_id}"[:200],
    }  # fmt: skip
    return [
        Observation(phase="prefill", timing="wall", seconds=found.median_ttft_ms * 1e-3, **common),
        Observation(
            phase="decode", timing="loop", seconds=found.median_tpot_ms * 1e-3, new_tokens=new - 1, **common
        ),
    ]  # fmt: skip
