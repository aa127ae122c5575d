"""Speed, in process and as whole commands: `python benchmarks/speed.py`. One core; best of several short runs.

On a shared machine a long run measures the neighbours: the best of many short ones is the code's own speed. Whole
commands are timed by the clock on the wall, calls in this process by the processor time that they take of one core.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from latmodel import ModelConfig, Predictor, Workload
from latmodel.report.text import table

ROWS = 65_536


def best_seconds(function: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.process_time) -> float:
    """The shortest of some runs."""
    found = []
    for _ in range(repeats):
        start = clock()
        function()
        found.append(clock() - start)
    return min(found)


def children_seconds() -> float:
    """Processor time of the processes that this one has run."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def random_shapes(rows: int) -> dict[str, Any]:
    """Shapes as a search has them: every row another one."""
    rng = np.random.default_rng(0)
    kv_heads = rng.integers(1, 9, rows)
    return {
        "num_hidden_layers": rng.integers(4, 128, rows),
        "hidden_size": rng.integers(4, 256, rows) * 64,
        "intermediate_size": rng.integers(4, 512, rows) * 64,
        "num_attention_heads": kv_heads * rng.integers(1, 9, rows),
        "num_key_value_heads": kv_heads,
        "head_dim": np.where(rng.random(rows) < 0.5, 64, 128),
        "vocab_size": 65_536,
    }


def in_process() -> list[list[str]]:
    """predict_many and predict; what a configuration takes to read is `benchmarks/reader.py`'s."""
    predictor, shapes = Predictor.load("3090"), random_shapes(ROWS)
    cells = []
    for gpu, runtime, goal in (
        ("3090", "transformers-eager", "2 M/s"), ("h100", "transformers-eager", "1 M/s"), ("h100", "vllm", "1 M/s"),
    ):  # fmt: skip
        priced = Predictor.load(gpu, runtime=runtime)
        seconds = best_seconds(lambda p=priced: p.predict_many(shapes), 25)  # type: ignore[misc]
        learned = ", learned correction on" if priced.target("bfloat16").corrector else ""
        cells.append(
            [
                f"predict_many, {gpu} {runtime}{learned}", f"{ROWS / seconds / 1e6:.2f} M/s", goal,
                f"{1e9 * seconds / ROWS:.0f} ns a shape",
            ]
        )  # fmt: skip
    model = ModelConfig(
        num_hidden_layers=80, hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=65_536,
    )  # fmt: skip
    work = Workload()
    seconds = best_seconds(lambda: [predictor.predict(model, work) for _ in range(20)], 200) / 20
    cells.append(["one predict", f"{1e6 * seconds:.0f} µs", "200 µs", ""])
    return cells


COMMANDS = {
    "--help": (["--help"], 0.2),
    "predict": (["predict", "--layers", "80", "--hidden", "576"], 0.5),
    "frontier, default space": (["frontier", "--budget", "5.5s"], 1.0),
}


def commands() -> list[list[str]]:
    """Whole processes, start to end."""
    cells = []
    for name, (arguments, limit) in COMMANDS.items():
        command = [sys.executable, "-m", "latmodel", *arguments]
        run = partial(subprocess.run, command, check=True, capture_output=True)
        seconds, busy = best_seconds(run, 7, time.perf_counter), best_seconds(run, 7, children_seconds)
        cells.append([f"latmodel {name}", f"{seconds:.2f} s", f"{limit} s", f"whole process; {busy:.2f} s of one core"])
    return cells


def main() -> None:
    """Print every figure beside its target."""
    from search_speed import search_speed

    print(table(["what", "measured", "target", ""], [*in_process(), *commands()]))
    for result in search_speed():
        print(result.line())


if __name__ == "__main__":
    main()
