"""Per-layer search of 80 layers with 100 choices each: seconds and proven gap, `python benchmarks/search_layers.py`.

Two runtimes of one device (the host binds, or the device), budgets of time alone and of time with memory, and two kinds
of scores: each layer its own, or all layers the same (where choices that tie are many).
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from latmodel import Predictor
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.search.per_layer.layers import search_layers

LAYERS = 80
HIDDEN, VOCAB = 1024, 32000
# Shares of the time and of the memory of 80 of the largest block.
BUDGETS = ((0.2, 2.0), (0.5, 2.0), (0.9, 2.0), (0.5, 0.55), (0.9, 0.4))


def choices() -> list[Block]:
    """97 whole blocks, an attention alone, an FFN alone, and none."""
    grid = itertools.product((4, 8, 12, 16), (1, 4), range(512, 6657, 512))
    whole = [
        Block(Attention(float(heads), float(heads // group), 64.0), FeedForward(float(ffn)))
        for heads, group, ffn in itertools.islice(grid, 97)
    ]
    attention = Block(Attention(16.0, 4.0, 64.0), None, norms=1)
    return [*whole, attention, Block(None, FeedForward(4096.0), norms=1), Block(None, None, norms=0)]


def scores(blocks: list[Block], seed: int) -> dict[str, Any]:
    """By the size of a block: with a weight and noise of each layer's own, and the same for all layers."""
    rng = np.random.default_rng(seed)
    size = np.array([
        getattr(b.attention, "heads", 0.0) * 128.0 + getattr(b.feed_forward, "intermediate_size", 0.0) for b in blocks
    ])  # fmt: skip
    own = np.sqrt(size) * rng.uniform(0.5, 1.5, (LAYERS, 1)) + rng.normal(0.0, 2.0, (LAYERS, len(blocks)))
    return {"own": own, "the same": np.tile(np.sqrt(size), (LAYERS, 1))}


def runs(gpu: str, seed: int) -> Iterator[str]:
    """A row of the table for each search."""
    blocks = choices()
    largest = blocks[96]
    for runtime, (kind, table) in itertools.product(("transformers-eager", "cuda-graph"), scores(blocks, seed).items()):
        predictor = Predictor.load(gpu, runtime=runtime)
        whole = predictor.predict(Architecture((Group(float(LAYERS), largest),), float(HIDDEN), float(VOCAB), 1.0))
        for of_time, of_memory in BUDGETS:
            start = time.process_time()
            found = search_layers(
                predictor, blocks, table, hidden_size=HIDDEN, vocab_size=VOCAB, budget_s=of_time * whole.response_s,
                memory_bytes=of_memory * whole.peak_memory_bytes, time_limit_s=np.inf,
            )  # fmt: skip
            seconds = time.process_time() - start
            kept = sum(blocks[choice].norms > 0 for choice in found.choices)
            yield f"| {runtime} | {kind} | {of_time} | {of_memory} | {kept} | {found.gap:.1e} | {seconds:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="3090")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        "| runtime | scores | of the time | of the memory | kept | gap | CPU seconds |\n|---|---|---|---|---|---|---|"
    )
    for row in runs(options.gpu, options.seed):
        print(row, flush=True)


if __name__ == "__main__":
    main()
