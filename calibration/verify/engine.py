"""`verify` of an engine that runs whole models: the file written, opened several times, timed, compared."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

from ..engines.whole_model import Child
from .whole_models import Verified

LOADS = 3  # where a file lands in memory changes its speed
LEAST_REPEATS = 3
MOST_STEPS = 24  # tokens written a repeat
SIXTEEN_BITS = "f16"


def verify_engine(
    predictor: Predictor, config: ModelConfig, workload: Workload, threads: int = 1, limit_s: float = 2.0
) -> Verified:
    """Run the model and predict it; each phase is repeated for `limit_s` in each of three loads.

    Decode is timed from the prompt's end for a few tokens: its mean over the response's growing context is taken to
    be that, which is off by the cache that later tokens read.

    Raises:
        UsageError: a batch of several sequences, or a format that the engine lacks.
        LatmodelError: the engine failed.
    """
    if workload.batch_size != 1:
        raise UsageError(f"{predictor.runtime} is verified with one sequence at a time: leave out --batch")
    weights = workload.weights if isinstance(workload.weights, str) else SIXTEEN_BITS
    prompt, steps = workload.prompt_tokens, max(1, min(workload.new_tokens, MOST_STEPS))
    prefill, decode = [], []
    with tempfile.TemporaryDirectory(prefix="latmodel-") as folder:
        path = Path(folder) / "model.gguf"
        for load in range(LOADS):
            with Child(predictor.runtime) as child:
                if load == 0:
                    child.write(path, config, weights, 0)
                child.open(path, threads, prompt + steps + 64)
                child.prefill(prompt)  # warm
                prefill.append(_repeated(lambda: child.prefill(prompt), limit_s))  # called at once
                decode.append(_repeated(lambda: child.decode(prompt, steps), limit_s))
    return Verified(
        config, workload, predictor.predict(config, workload), statistics.median(prefill), statistics.median(decode),
        _spread(prefill), _spread(decode),
    )  # fmt: skip


def _repeated(run: Callable[[], float], limit_s: float) -> float:
    """Median of repeats: three at least, and no more once the time is over."""
    end, times = time.perf_counter() + limit_s, list[float]()
    while len(times) < LEAST_REPEATS or time.perf_counter() < end:
        times.append(run())
    return float(statistics.median(times))


def _spread(times: list[float]) -> float:
    """Half the range of the loads' medians, relative to their median."""
    return (max(times) - min(times)) / 2.0 / statistics.median(times)
