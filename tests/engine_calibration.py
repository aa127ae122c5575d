"""A calibration of an engine by tiny models, as a process of its own: `python engine_calibration.py ENGINE FORMAT OUT`.

It measures what `calibrate` would, in small: two widths at two depths, one load.
"""

import sys
from pathlib import Path

from calibration.verbs.engines import cases as engine_cases
from calibration.verbs.engines.cpu import EngineRequest, calibrate_engine

SHAPES = ((256, 512, 4, 4, (2, 4)), (512, 1024, 8, 2, (2, 4)))
RUNS = (
    ("prefill", 0, 16), ("prefill", 0, 64), ("decode", 48, 4), ("decode", 8, 4),
    ("step", 8, 2), ("step", 8, 4), ("step", 8, 8),
)  # fmt: skip


def make_small() -> None:
    """Replace what is measured."""
    engine_cases.SHAPES, engine_cases.RUNS = SHAPES, RUNS
    engine_cases.VOCABULARY, engine_cases.CONTEXT = 512, 128
    engine_cases.LOADS["quick"], engine_cases.LONG_WIDTHS = 1, ()
    engine_cases.REPEATS = {"prefill": 1, "step": 1, "decode": 1}


def main(engine: str, weights: str, out: Path) -> None:
    """Calibrate, and say every warning."""
    make_small()
    calibrate_engine(EngineRequest(engine, weights, out=out), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
