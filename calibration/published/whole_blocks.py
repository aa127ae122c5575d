"""How far off a whole block is, from how far off its kernels are: scores of models that nobody timed.

A block is a handful of kernels whose errors cancel in part. Blocks are put together at random from residuals of kernels
that no fit saw: four products of as many rows, weighed by the seconds of a Llama block's, and one attention.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latmodel.device.profile import Phase

# Seconds of a block's products, read from memory: those of Llama-3-8B's weights (queries with keys and values, output,
# gate with up, down).
WEIGHED = np.array([25.2, 16.8, 117.4, 58.7]) / 218.1
MOST_ATTENTION = 0.5  # attention takes none to this share of a block
# Standard deviations of what no kernel's own residual shows, in log units: another board of the type
# (`fit.make.BOARD_SPREAD`), and there another framework's kernels (3 to 8 % on the same shapes, docs/accuracy.md).
BOARDS_APART = 0.03
FRAMEWORKS_APART = math.hypot(BOARDS_APART, 0.055)
DRAWS = 300
FEW = 64  # rows of a product below which it is a decode step's
BLOCK_PHASES: tuple[Phase, ...] = ("prefill", "decode")

Vector = NDArray[np.float64]
Residuals = Mapping[int, Sequence[float]]  # log(predicted / measured) of products, by log2 of their rows


def block_residuals(products: Residuals, attention: Sequence[float], seed: int = 0) -> Vector:
    """log(predicted / measured) of `DRAWS` random blocks, as the kernels alone have it.

    log((1 − a) · Σ wᵢ · exp(rᵢ) + a · exp(r)): residuals rᵢ of products of as many rows, r of an attention,
    its share a uniform. Each number of rows weighs the same.
    """
    draw = np.random.default_rng(seed)
    tables = [np.exp(np.asarray(some)) for _, some in sorted(products.items()) if len(some)]
    found = np.zeros(DRAWS)
    for i in range(DRAWS):
        ratio = float(WEIGHED @ draw.choice(tables[int(draw.integers(len(tables)))], len(WEIGHED)))
        share = MOST_ATTENTION * draw.random() if len(attention) else 0.0
        if share:
            ratio = (1.0 - share) * ratio + share * math.exp(float(draw.choice(np.asarray(attention))))
        found[i] = math.log(ratio)
    return found


def block_scores(residuals: Vector, apart: float, seed: int = 1) -> list[float]:
    """|residual + apart · z|, rising; z is normal."""
    noise = apart * np.random.default_rng(seed).standard_normal(len(residuals))
    return [float(f"{score:.4g}") for score in np.sort(np.abs(residuals + noise)).tolist()]


def blocks_by_phase(
    rows: Sequence[float], residuals: Sequence[float], attention: Mapping[Phase, Sequence[float]]
) -> dict[Phase, Vector]:
    """The same of a prompt's blocks and of a decode step's, from residuals of products of so many `rows`."""
    found = {}
    for phase in BLOCK_PHASES:
        table: dict[int, list[float]] = {}
        for count, residual in zip(rows, residuals, strict=True):
            if (count < FEW) == (phase == "decode"):
                table.setdefault(round(math.log2(count)), []).append(float(residual))
        found[phase] = block_residuals(table, attention[phase])
    return found
