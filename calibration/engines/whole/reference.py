"""The reference of an engine: one small model that every calibration times in each load and a verification times again.

What it takes now against what it took then is how much slower the machine has become, the engine and its kernels being
the same. A shared machine's pace changes by several percent in minutes, more than the law is off.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latmodel.device.engine_options import EngineOptions
from latmodel.model.config import ModelConfig

from .whole_model import Child

MODEL = ModelConfig(
    num_hidden_layers=10, hidden_size=1280, intermediate_size=3584, num_attention_heads=20, num_key_value_heads=4,
    vocab_size=8192, tie_word_embeddings=False,
)  # fmt: skip
PROMPT, START, STEPS = 128, 16, 24
CASES = {"prefill": f"10x1280-prefill-0+{PROMPT}", "decode": f"10x1280-decode-{START}+{STEPS}"}  # of a calibration
REPEATS = 3
CONTEXT = 1024


class Reference:
    """The model in a file, and what it took at the calibration: `level_s`, seconds by phase."""

    def __init__(self, engine: str, weights: str, options: EngineOptions, path: Path, level_s: Mapping[str, float]):
        self._engine, self._weights, self._options, self._path = engine, weights, options, path
        self._level_s = level_s

    def drift(self) -> dict[str, float]:
        """log(now / at the calibration) by phase, of a load of its own.

        Raises:
            LatmodelError: the engine failed.
        """
        with Child(self._engine) as child:
            if not self._path.exists():
                child.write_whole(self._path, MODEL, self._weights)
            child.open(self._path, self._options, CONTEXT)
            child.prefill(PROMPT)  # warm
            now = {
                "prefill": statistics.median(child.prefill(PROMPT) for _ in range(REPEATS)),
                "decode": statistics.median(child.decode(START, STEPS) for _ in range(REPEATS)),
            }
        return {phase: math.log(now[phase] / then) for phase, then in self._level_s.items()}


def level_of(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the reference took in a calibration, seconds by phase: medians over loads; empty if it was not timed."""
    found = {}
    for phase, case in CASES.items():
        loads = [statistics.median(r["wall_s"]) for r in records if r.get("kind") == "sample" and r["case"] == case]
        if loads:
            found[phase] = statistics.median(loads)
    return found if len(found) == len(CASES) else {}
