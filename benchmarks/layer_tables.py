"""Rows a second of a table of 1e5 models with each newer kind of layer: `python benchmarks/layer_tables.py`.

The layers are those of `tests/test_new_layers.py`, their dimensions a column; at least 0.5 M rows a second each.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from latmodel import Predictor, Workload
from latmodel.model.architecture import Architecture, Block, FeedForward, Group
from latmodel.predict.columns import keep_freed_memory
from latmodel.predict.ends import costs_on
from latmodel.predict.inputs import work_of
from latmodel.report.text import table

ROWS, CHUNK, REPEATS, LEAST = 100_000, 16_384, 5, 0.5e6


def architecture(layer: Any, by: Any) -> Architecture:
    """Four blocks of the layer as wide as `by` says."""
    return Architecture((Group(4.0, Block(layer, FeedForward(1536.0 * by))),), 512.0 * by, 1000.0)


def seconds(layer: Any, scaled: Any, predictor: Predictor) -> float:
    """Of the fastest of some runs: time, parameters and memory of all rows."""
    work, sizes, fastest = work_of(Workload()), 1.0 + np.arange(ROWS) / ROWS, float("inf")
    priced = predictor._priced("bfloat16", None)
    for _ in range(REPEATS):
        start = time.perf_counter()
        for first in range(0, ROWS, CHUNK):
            by = sizes[first : first + CHUNK]
            model = architecture(scaled(layer, by), by)
            predictor._price(model, work, priced, costs_on(priced.target, model, work))
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def main() -> int:
    """Print; 1 if a kind is slower."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    cases = import_module("test_new_layers")
    keep_freed_memory()
    predictor = Predictor.load("3090")
    rates = {name: ROWS / seconds(layer, cases.scaled, predictor) for name, layer in cases.LAYERS.items()}
    print(table(["layer", "M rows/s"], [[name, f"{rate / 1e6:.2f}"] for name, rate in rates.items()]))
    return int(min(rates.values()) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
