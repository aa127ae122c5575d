"""Experts, windows and hybrids on this CPU, measured against predicted.

    python benchmarks/decoders_cpu.py --profile PATH

The profile is one that `latmodel calibrate --device cpu --dtype float32` wrote on this machine: it has seen plain
blocks alone. Small Transformers models with random weights run in turns with a plain Llama; CPU seconds of the one
thread are taken, so that other processes' turns do not count. The Llama's deviation from its prediction (the machine's
drift since the calibration) is taken out of the errors under "drift out", prefill and decode apart.
"""

import argparse
import statistics
import sys
import time
import warnings
from typing import Any, NamedTuple

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache

from latmodel.config import Workload
from latmodel.huggingface import read_decoder
from latmodel.predict import Predictor
from latmodel.prediction import Prediction
from latmodel.report import table

PROMPT, NEW = 128, 16
ALIKE: dict[str, Any] = {
    "vocab_size": 8192, "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64,
    "pad_token_id": 0, "tie_word_embeddings": True,
}  # fmt: skip
HYBRID = {
    "layers_block_type": ["linear_attention", "mlp"] * 5 + ["full_attention", "mlp"], "intermediate_size": 1408,
    "mamba_num_heads": 16, "mamba_head_dim": 64, "n_groups": 2, "ssm_state_size": 64, "chunk_size": 128,
}  # fmt: skip
DELTA = {
    "num_hidden_layers": 8, "intermediate_size": 1408, "moe_intermediate_size": 192, "num_experts": 8,
    "num_experts_per_tok": 2, "shared_expert_intermediate_size": 192, "linear_num_key_heads": 4,
    "linear_num_value_heads": 8, "linear_key_head_dim": 64, "linear_value_head_dim": 64,
}  # fmt: skip
EXPERTS = {"num_hidden_layers": 8, "intermediate_size": 896, "num_local_experts": 8, "num_experts_per_tok": 2}
FINE_EXPERTS = {
    "num_hidden_layers": 8, "intermediate_size": 896, "moe_intermediate_size": 192, "num_experts": 32,
    "num_experts_per_tok": 4,
}  # fmt: skip
# The first is the plain model that drift is taken from.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama (reference)": ("llama", {"num_hidden_layers": 12, "intermediate_size": 1408}),
    "Mixtral, 2 of 8 experts": ("mixtral", EXPERTS),
    "Qwen3-MoE, 4 of 32 experts": ("qwen3_moe", FINE_EXPERTS),
    "Gemma 3, windows of 64": (
        "gemma3_text",
        {"num_hidden_layers": 12, "intermediate_size": 1408, "sliding_window": 64},
    ),
    "Nemotron-H, Mamba-2 hybrid": ("nemotron_h", HYBRID),
    "Qwen3-Next, gated delta hybrid": ("qwen3_next", DELTA),
}


class Times(NamedTuple):
    """CPU seconds of a prefill, and the median of the decode steps after it."""

    prefill_s: float
    decode_s: float


def build(family: str, settings: dict[str, Any]) -> Any:
    """The real model with random weights."""
    config = CONFIG_MAPPING[family](**(ALIKE | settings))
    factory: Any = AutoModelForCausalLM
    model = factory.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@torch.no_grad()
def run(model: Any) -> Times:
    """One response, each pass timed."""
    cache = DynamicCache(config=model.config)
    start = time.process_time()
    logits = model(torch.randint(0, 8000, (1, PROMPT)), past_key_values=cache, logits_to_keep=1).logits
    prefill = time.process_time() - start
    steps = []
    for _ in range(NEW):
        start = time.process_time()
        logits = model(logits[:, -1:].argmax(-1), past_key_values=cache).logits
        steps.append(time.process_time() - start)
    return Times(prefill, statistics.median(steps))


def measured(models: dict[str, Any], rounds: int) -> dict[str, Times]:
    """Medians over rounds in which every model runs once; the first round warms up."""
    seen: dict[str, list[Times]] = {name: [] for name in models}
    for index in range(rounds + 1):
        for name, model in models.items():
            times = run(model)
            seen[name] += [times] if index else []
    return {name: Times(*map(statistics.median, zip(*some, strict=True))) for name, some in seen.items()}


def line(name: str, seen: Times, predicted: Prediction, drift: Times) -> list[str]:
    """Measured, predicted, error, and error with the drift taken out; of prefill and decode."""
    cells = [name]
    pairs = zip(seen, (predicted.prefill_s, predicted.decode_s_per_token), drift, strict=True)
    for real, ours, factor in pairs:
        plain, corrected = ours / real - 1.0, ours * factor / real - 1.0
        cells += [f"{1e3 * real:.1f}", f"{1e3 * ours:.1f}", f"{plain:+.0%}", f"{corrected:+.0%}"]
    return cells


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", required=True, help="a profile that calibrate wrote on this CPU, float32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor.load(options.profile, "transformers-eager")
    workload = Workload(prompt_tokens=PROMPT, new_tokens=NEW, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fallbacks of layers without kernels: they are what is measured
        models = {name: build(*settings) for name, settings in MODELS.items()}
        seen = measured(models, options.rounds)
    predicted = {
        name: predictor.predict(read_decoder(model.config).architecture, workload) for name, model in models.items()
    }
    reference = next(iter(MODELS))
    first = predicted[reference]
    drift = Times(seen[reference].prefill_s / first.prefill_s, seen[reference].decode_s / first.decode_s_per_token)
    headings = [
        "model",
        "prefill ms",
        "predicted",
        "error",
        "drift out",
        "decode ms",
        "predicted",
        "error",
        "drift out",
    ]
    print(table(headings, [line(name, seen[name], predicted[name], drift) for name in models]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
