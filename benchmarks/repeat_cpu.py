"""Do two calibrations of one machine agree? `python benchmarks/repeat_cpu.py FIRST.json SECOND.json [--dtype float32]`.

Predicts ten shapes that no plan measures from both profiles and prints how far the second is from the first.
"""

import argparse

import numpy as np

from latmodel import ModelConfig, Predictor, Workload
from latmodel.report.text import table


def shapes(count: int) -> list[tuple[ModelConfig, Workload]]:
    """Shapes unlike the plans': odd depths, FFN sizes that are no multiple of 64, prompts and groups at random."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(count):
        heads = int(rng.integers(2, 14))
        groups = [divisor for divisor in range(1, heads + 1) if heads % divisor == 0]
        config = ModelConfig(
            num_hidden_layers=int(rng.integers(4, 80)), hidden_size=64 * heads,
            intermediate_size=int(64 * heads * rng.uniform(2, 5)), num_attention_heads=heads,
            num_key_value_heads=int(rng.choice(groups)), vocab_size=8192,
        )  # fmt: skip
        found.append((config, Workload(prompt_tokens=int(rng.integers(40, 400)), new_tokens=20)))
    return found


def main() -> None:
    """Print both predictions of each shape and their differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    first, second = (Predictor.load(path) for path in (options.first, options.second))
    cells, gaps = [], []
    for config, plain in shapes(10):
        work = plain.model_copy(update={"dtype": options.dtype})
        a, b = first.predict(config, work), second.predict(config, work)
        gap = (b.prefill_s / a.prefill_s - 1.0, b.decode_s_per_token / a.decode_s_per_token - 1.0)
        gaps.append(gap)
        heads = f"{config.num_attention_heads}/{config.num_key_value_heads}"
        name = f"{config.num_hidden_layers} × {config.hidden_size}, {heads}"
        cells.append([name, f"{1e3 * a.prefill_s:.1f}", f"{100 * gap[0]:+.1f} %",
                      f"{1e3 * a.decode_s_per_token:.2f}", f"{100 * gap[1]:+.1f} %"])  # fmt: skip
    print(table(["shape", "prefill ms", "second", "decode ms", "second"], cells))
    size = 100.0 * np.abs(np.array(gaps))
    for what, column in zip(("prefill", "decode"), size.T, strict=True):
        print(f"{what}: {column.mean():.1f} % apart on average, {column.max():.1f} % at most")


if __name__ == "__main__":
    main()
