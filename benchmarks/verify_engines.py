"""Five models that were never measured, predicted from a calibration of small ones under llama.cpp on this CPU.

    latmodel calibrate --gpu cpu --runtime llama.cpp --weights q4_0 --effort quick
    python benchmarks/verify_engines.py --weights q4_0

Each model is written with random weights, loaded three times, and each phase repeated; the spread is half the range of
the loads' medians. With one thread the clock is the processor's, so that other processes cost little but cache.
"""

import argparse
import statistics
from pathlib import Path

from calibration.verify.engine import verify_engine
from latmodel.device.profile_file import read_profile
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor
from latmodel.runtimes.llama_cpp import LLAMA_CPP

SHAPES = ((24, 1280), (28, 1536), (16, 2048), (40, 768), (32, 1024))
VOCABULARY = 8192
PROMPT, NEW = 128, 64


def model(layers: int, hidden: int) -> ModelConfig:
    """Heads of 64, four queries a key, FFN ratio 3 in multiples of 256."""
    heads = hidden // 64
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=3 * hidden // 256 * 256,
        num_attention_heads=heads, num_key_value_heads=heads // 4, vocab_size=VOCABULARY, tie_word_embeddings=False,
    )  # fmt: skip


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="q4_0")
    parser.add_argument("--profile", type=Path, default=Path("profiles/cpu.json"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    predictor = Predictor(read_profile(options.profile), LLAMA_CPP.name)
    workload = Workload(prompt_tokens=PROMPT, new_tokens=NEW, weights=options.weights)
    errors: dict[str, list[float]] = {"prefill": [], "decode": []}
    inside = 0
    for layers, hidden in SHAPES:
        row = verify_engine(predictor, model(layers, hidden), workload, options.threads)
        told = []
        for phase, spread in (("prefill", row.prefill_spread), ("decode", row.decode_spread)):
            error = row.error(phase)  # type: ignore[arg-type]
            errors[phase].append(abs(error))
            inside += row.inside(phase)  # type: ignore[arg-type]
            told.append(f"{phase} {100 * error:+6.1f} % (spread of the measured {100 * spread:.1f} %)")
        print(f"{layers:3} × {hidden:<5} {'   '.join(told)}", flush=True)
    means = ", ".join(f"{phase} {100 * statistics.fmean(values):.1f} %" for phase, values in errors.items())
    print(f"mean absolute error: {means}; {inside} of {2 * len(SHAPES)} inside 90 %")


if __name__ == "__main__":
    main()
