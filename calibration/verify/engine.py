"""`verify` of an engine that runs whole models: the file written, opened several times, timed, compared."""

import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from latmodel.device.engine_options import EngineOptions
from latmodel.device.machine import cpu_model
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import DTYPE_BYTES, ModelConfig, Workload
from latmodel.predict.predictor import Predictor

from ..devices.host import available_memory
from ..engines.whole.model_folder import model_folder
from ..engines.whole.reference import Reference, level_of
from ..engines.whole.whole_model import Child
from ..measure.session import read_samples
from .whole_models import Drift, Verified, no_drift

LOADS = 3  # where a file lands in memory changes its speed
LEAST_REPEATS = 3
MOST_STEPS = 24  # tokens written a repeat
MARGIN = 64  # positions beyond those that are used
# What a workload without a weight format is in, by its dtype; elsewhere that itself.
UNQUANTISED = {"llama.cpp": dict.fromkeys(DTYPE_BYTES, "f16"), "vllm": {"bfloat16": "bf16", "float16": "f16"}}
ON_GPU = ("vllm",)  # fills a share of the device whatever the model


class Timed(NamedTuple):
    """What one model took: medians over loads, seconds, and half the loads' range relative to it.

    Drift (log) is taken out of all: how much slower than at its calibration the machine was.
    """

    prefill_s: float
    decode_s_per_token: float
    prefill_spread: float
    decode_spread: float
    prefill_drift: float = 0.0
    decode_drift: float = 0.0


def verify_engine(
    predictor: Predictor, config: ModelConfig, workload: Workload, options: EngineOptions, limit_s: float = 2.0,
    profile: Path | None = None,
) -> Verified:  # fmt: skip
    """Run the model and predict it.

    Where the calibration's samples are beside the `profile`, its reference is timed before and after each load, and how
    much slower the machine has become is taken out.

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
    with model_folder() as place:
        drift = drift_of_engine(predictor.runtime, workload, options, profile, place / "reference")
        times = run_engine(predictor.runtime, config, workload, options, limit_s, place / "model", drift)
    return Verified(config, workload, prediction, *times)


def drift_of_engine(
    runtime: str, workload: Workload, options: EngineOptions, profile: Path | None, path: Path
) -> Drift:  # fmt: skip
    """A function that times the reference, written to `path` unless it is there: log(now / at the calibration).

    Gives `no_drift` where the calibration's samples are not kept beside the profile, or are of another processor,
    version of the engine, format or other options.
    """
    weights = weights_of(runtime, workload)
    samples = None if profile is None else profile.with_suffix(f".{runtime}-{weights}.samples.jsonl")
    if samples is None or not samples.is_file():
        return no_drift
    kept = read_samples(samples)
    with Child(runtime) as child:
        wanted = {"engine": child.version, "weights": weights, "cpu": cpu_model(), **options.model_dump()}
    level_s = level_of(kept.records) if wanted.items() <= kept.header.items() else {}
    return Reference(runtime, weights, options, path, level_s).drift if level_s else no_drift


def run_engine(
    runtime: str, config: ModelConfig, workload: Workload, options: EngineOptions, limit_s: float, path: Path,
    drift: Drift = no_drift,
) -> Timed:  # fmt: skip
    """Time a model, written to `path` unless it is there; each phase is repeated for `limit_s` in each of three loads.

    The drift of a load is the mean of what is told before and after it.

    Decode is timed from the prompt's end for a few tokens: its mean over the response's growing context is taken to
    be that, which is off by the cache that later tokens read.

    Raises:
        UsageError: a batch of several sequences, logits of a whole prompt, or a format that the engine lacks.
        LatmodelError: the engine failed.
    """
    if workload.batch_size != 1 or workload.logits != "last":
        raise UsageError(f"{runtime} is verified with one sequence and its last logits: leave out --batch and --logits")
    prompt, steps = workload.prompt_tokens, max(1, min(workload.new_tokens, MOST_STEPS))
    times: dict[str, list[float]] = {"prefill": [], "decode": []}
    drifts = [drift()]
    for _ in range(LOADS):
        with Child(runtime) as child:
            if not path.exists():
                child.write_whole(path, config, weights_of(runtime, workload))
            child.open(path, options, prompt + steps + MARGIN)
            child.prefill(prompt)  # warm
            times["prefill"].append(_repeated(lambda: child.prefill(prompt), limit_s))  # called at once
            times["decode"].append(_repeated(lambda: child.decode(prompt, steps), limit_s))
        drifts.append(drift())
    of_load = {phase: [0.5 * (a[phase] + b[phase]) for a, b in pairwise(drifts)] for phase in times}
    clean = {
        phase: [one * math.exp(-shift) for one, shift in zip(times[phase], of_load[phase], strict=True)]
        for phase in times
    }
    middle, spread = ([of(clean[phase]) for phase in ("prefill", "decode")] for of in (statistics.median, _spread))
    return Timed(*middle, *spread, *(statistics.median(of_load[phase]) for phase in ("prefill", "decode")))


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
