"""What draft shape a device wants: drafts of one size, from one layer to twenty-four, for one target.

    python benchmarks/draft_shapes.py [--gpu 3090]

Every draft has about 150 million parameters outside of its embedding. Under eager PyTorch and under llama.cpp: its
step, the acceptance from which it pays, and what it gains at one acceptance.
"""

import argparse

import numpy as np

from latmodel import ModelConfig, Predictor, Workload
from latmodel.report.text import table
from latmodel.search.drafted.break_even import BreakEven, break_even

TARGET = ModelConfig(
    num_hidden_layers=32, hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, vocab_size=32000
)
SHAPES = ((1, 3584), (2, 2560), (4, 1792), (8, 1280), (16, 896), (24, 704))  # 12 · layers · hidden² ≈ 150 million
ACCEPTANCE = 0.7
RUNS = (("transformers-eager", Workload()), ("cuda-graph", Workload()), ("llama.cpp", Workload(weights="q4_0")))


def rows_of(predictor: Predictor, work: Workload) -> list[BreakEven]:
    """The drafts in the order above."""
    drafts = {
        "num_hidden_layers": np.array([float(layers) for layers, _ in SHAPES]),
        "hidden_size": np.array([float(hidden) for _, hidden in SHAPES]),
        "vocab_size": np.full(len(SHAPES), float(TARGET.vocab_size)),
    }
    rows = break_even(predictor, TARGET.architecture(), ACCEPTANCE, work, drafts=drafts)
    return sorted(rows, key=lambda row: row.draft["num_hidden_layers"])


def main() -> None:
    """Print a table for each runtime."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="3090")
    gpu = parser.parse_args().gpu
    for runtime, work in RUNS:
        predictor = Predictor.load(gpu, runtime)
        plain_s = predictor.predict(TARGET, work).decode_s_per_token
        cells = [
            [
                f"{row.draft['num_hidden_layers']} x {row.draft['hidden_size']}", f"{row.num_parameters / 1e6:.0f}M",
                f"{1e3 * row.draft_step_s:.2f} ms", f"{row.draft_step_s / plain_s:.2f}",
                "never" if row.break_even_acceptance is None else f"{row.break_even_acceptance:.2f}",
                f"{row.speedup:.2f} (lookahead {row.lookahead})",
            ]
            for row in rows_of(predictor, work)
        ]  # fmt: skip
        title = f"{gpu}, {runtime}, 32 x 4096, {work.numbers_name}: {1e3 * plain_s:.1f} ms a token"
        print(
            table(["draft", "params", "a step", "of the target's", "pays from", f"at {ACCEPTANCE}"], cells, title=title)
        )


if __name__ == "__main__":
    main()
