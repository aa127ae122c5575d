"""`verify` of an engine that runs whole models: the file written, opened several times, timed, compared."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import DTYPE_BYTES, ModelConfig, Workload
from latmodel.predict.predictor import Predictor

from ..devices.host import available_memory
from ..engines.whole.model_folder import model_folder
from ..engines.whole.whole_model import Child
from .whole_models import Verified

LOADS = 3  # where a file lands in memory changes its speed
LEAST_REPEATS = 3
MOST_STEPS = 24  # tokens written a repeat
MARGIN = 64  # positions beyond those that are used
# What a workload without a weight format is in, by its dtype; elsewhere that itself.
UNQUANTISED = {"llama.cpp": dict.fromkeys(DTYPE_BYTES, "f16"), "vllm": {"bfloat16": "bf16", "float16": "f16"}}
ON_GPU = ("vllm",)  # fills a share of the device whatever the model


class Timed(NamedTuple):
    """What one model took: medians over loads, seconds, and half the loads' range relative to it."""

    prefill_s: float
    decode_s_per_token: float
    prefill_spread: float
    decode_spread: float


def verify_engine(
    predictor: Predictor, config: ModelConfig, workload: Workload, options: EngineOptions, limit_s: float = 2.0
) -> Verified:
    """Run the model and predict it.

    Raises:
        UsageError: what `run_engine` refuses.
        LatmodelError: the engine failed, or there is no memory for the model.
    """
    prediction = predictor.predict(config, workload)  # refuses a workload before anything is built
    free = available_memory()
    if predictor.runtime not in ON_GPU and prediction.peak_memory_bytes > free:
        needed = prediction.peak_memory_bytes
        raise LatmodelError(
            f"the model takes {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free: verify a smaller one"
        )
    with model_folder() as folder:
        times = run_engine(predictor.runtime, config, workload, options, limit_s, folder / "model")
    return Verified(config, workload, prediction, *times)


def run_engine(
    runtime: str, config: ModelConfig, workload: Workload, options: EngineOptions, limit_s: float, path: Path
) -> Timed:
    """Time a model, written to `path` unless it is there; each phase is repeated for `limit_s` in each of three loads.

    Decode is timed from the prompt's end for a few tokens: its mean over the response's growing context is taken to
    be that, which is off by the cache that later tokens read.

    Raises:
        UsageError: a batch of several sequences, logits of a whole prompt, or a format that the engine lacks.
        LatmodelError: the engine failed.
    """
    if workload.batch_size != 1 or workload.logits != "last":
        raise UsageError(f"{runtime} is verified with one sequence and its last logits: leave out --batch and --logits")
    prompt, steps = workload.prompt_tokens, max(1, min(workload.new_tokens, MOST_STEPS))
    prefill, decode = [], []
    for _ in range(LOADS):
        with Child(runtime) as child:
            if not path.exists():
                child.write_whole(path, config, weights_of(runtime, workload))
            child.open(path, options, prompt + steps + MARGIN)
            child.prefill(prompt)  # warm
            prefill.append(_repeated(lambda: child.prefill(prompt), limit_s))  # called at once
            decode.append(_repeated(lambda: child.decode(prompt, steps), limit_s))
    return Timed(statistics.median(prefill), statistics.median(decode), _spread(prefill), _spread(decode))


def weights_of(runtime: str, workload: Workload) -> str:
    """The format that a model of the workload is written in."""
    if isinstance(workload.weights, str):
        return workload.weights
    return UNQUANTISED.get(runtime, {}).get(workload.dtype, workload.dtype)


def _repeated(run: Callable[[], float], limit_s: float) -> float:
    """Median of repeats: three at least, and no more once the time is over."""
    end, times = time.perf_counter() + limit_s, list[float]()
    while len(times) < LEAST_REPEATS or time.perf_counter() < end:
        times.append(run())
    return float(statistics.median(times))


def _spread(times: list[float]) -> float:
    """Half the range of the loads' medians, relative to their median."""
    return (max(times) - min(times)) / 2.0 / statistics.median(times)
