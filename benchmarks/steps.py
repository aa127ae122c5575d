"""Attention of several queries over a cache against published kernels: `python benchmarks/steps.py DATA`.

DATA holds `operators/llmservingsim_v1_attention_bf16_rtx4090.csv` (github casys-kaist/LLMServingSim @ 5daddb2). The
rows are among those that the RTX 4090's profile was fitted to: this tells how well one law describes them.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from calibration.observations.operators import cost_of
from calibration.sources import llmservingsim
from latmodel import Predictor
from latmodel.device.datasheets import datasheet
from latmodel.laws.dispatch import op_seconds


def main(data: Path) -> None:
    """Print the error for each number of queries, over all lengths of the cache."""
    target = Predictor.load("4090", "vllm").target("bfloat16")
    rows = [row for row in llmservingsim.read(data, datasheet("4090"))["prefill"][0] if row.context > row.tokens]
    cost = cost_of("attention", rows, target.implementation)
    priced = op_seconds(cost, target.sheet, target.device, 0.0, corrector=target.corrector).seconds
    errors = defaultdict(list)
    for row, seconds in zip(rows, priced, strict=True):
        errors[row.tokens].append(100.0 * (seconds / row.seconds - 1.0))
    for tokens, some in sorted(errors.items()):
        print(f"{tokens:5} queries: {np.mean(np.abs(some)):5.1f} % off, {min(some):+.0f} to {max(some):+.0f} %")
    every = np.abs(np.concatenate(list(errors.values())))
    print(f"{len(rows)} rows: {np.mean(every):.1f} % off, at most {np.max(every):.0f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
