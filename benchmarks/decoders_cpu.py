"""Experts, windows, hybrids, latent attention, unlike layers on this CPU: `calibrate --like`, then `verify` the whole.

    python benchmarks/decoders_cpu.py --out build/decoders

For each small Transformers model its configuration is written to a file, and the two commands that a user would type
are run: `latmodel calibrate --gpu cpu --threads 1 --dtype float32 --effort quick --like FILE`, which measures stacks of
its kinds of layers, and, several times, `latmodel verify --config FILE`, which builds the model as a whole with random
weights and runs it. The medians of what the verifications measured are compared with the predictions. With
`--reuse` a profile that is there is not made again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from transformers import CONFIG_MAPPING

from latmodel.report.text import table

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
CONVOLUTIONS = {
    "num_hidden_layers": 8, "intermediate_size": 1408, "layer_types": ["conv", "conv", "full_attention", "conv"] * 2,
    "block_auto_adjust_ff_dim": False, "conv_L_cache": 3,
}  # fmt: skip
LATENT = {
    "num_hidden_layers": 6, "intermediate_size": 1408, "first_k_dense_replace": 6, "moe_intermediate_size": 192,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
    "q_lora_rank": 256, "kv_lora_rank": 128, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64,
    "num_key_value_heads": 8, "head_dim": 32,
}  # fmt: skip
UNLIKE = {
    "num_hidden_layers": 6, "intermediate_size": [1024, 1024, 1408, 1408, 2048, 2048],
    "hidden_size_per_layer_input": 64, "vocab_size_per_layer_input": 8192, "num_kv_shared_layers": 0,
    "activation_sparsity_pattern": [0.0] * 6, "laurel_rank": 16, "sliding_window": 64,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
}  # fmt: skip
# The first is plain, to compare with.
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
    "LFM2, short convolutions": ("lfm2", CONVOLUTIONS),
    "DeepSeek-V3, latent attention": ("deepseek_v3", LATENT),
    "Gemma 3n, FFNs by layer": ("gemma3n_text", UNLIKE),
}


class Outcome(NamedTuple):
    """Medians over verifications of one phase, seconds, and their spread; what was predicted, and the interval."""

    measured_s: float
    spread: float
    predicted_s: float
    low_s: float
    high_s: float

    @property
    def error(self) -> float:
        """(predicted − measured) / measured."""
        return self.predicted_s / self.measured_s - 1.0

    def cells(self) -> list[str]:
        """As text."""
        times = [f"{1e3 * self.measured_s:.1f} ±{100 * self.spread:.0f} %", f"{1e3 * self.predicted_s:.1f}"]
        inside = "yes" if self.low_s <= self.measured_s <= self.high_s else "no"
        return [*times, f"{100 * self.error:+.1f} %", inside]


def command(*words: str) -> str:
    """Run `latmodel` with these words; its output.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run([sys.executable, "-m", "latmodel", *words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def measured(name: str, folder: Path, rounds: int, reuse: bool) -> tuple[Outcome, Outcome]:
    """Calibrate like a model and verify it; prefill and decode."""
    family, settings = MODELS[name]
    config, profile = folder / f"{family}.config.json", folder / f"{family}.json"
    config.write_text(CONFIG_MAPPING[family](**(ALIKE | settings)).to_json_string())
    cpu = ["--threads", "1", "--dtype", "float32"]
    if not (reuse and profile.is_file()):
        like = ["--like", str(config), "--out", str(profile)]
        command("calibrate", "--gpu", "cpu", *cpu, "--effort", "quick", "--no-resume", "--max-noise", "0.5", *like)
    work = ["--prompt", str(PROMPT), "--generate", str(NEW), "--tolerance", "100", "--format", "json"]
    real = ["verify", "--profile", str(profile), "--config", str(config)]
    rows: list[dict[str, Any]] = [json.loads(command(*real, *cpu, *work)) for _ in range(rounds)]
    return outcome(rows, "prefill_s"), outcome(rows, "decode_s_per_token")


def outcome(rows: list[dict[str, Any]], what: str) -> Outcome:
    """One phase of some verifications of the same model."""
    times, first = [row[f"measured_{what}"] for row in rows], rows[0]
    spread = max(times) / min(times) - 1.0
    return Outcome(statistics.median(times), spread, first[what], first[f"{what}_low"], first[f"{what}_high"])


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/decoders"), help="where profiles are written")
    parser.add_argument("--rounds", type=int, default=3, help="verifications of each model")
    parser.add_argument("--reuse", action="store_true", help="use the profiles that are there")
    families = [family for family, _ in MODELS.values()]
    parser.add_argument("--only", choices=families, nargs="+", default=families, help="these families alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = {
        name: measured(name, options.out, options.rounds, options.reuse)
        for name in MODELS
        if MODELS[name][0] in options.only
    }
    headings = ["model"]
    for phase in ("prefill", "decode"):
        headings += [f"{phase} ms", "predicted", "error", "inside"]
    print(table(headings, [[name, *prefill.cells(), *decode.cells()] for name, (prefill, decode) in found.items()]))
    worst = max(abs(one.error) for pair in found.values() for one in pair)
    print(f"largest error {100 * worst:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
