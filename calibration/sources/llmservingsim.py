"""Reader of the RTX 4090 layer timings of LLMServingSim (github casys-kaist/LLMServingSim @ 5daddb2, MIT).

vLLM 0.19 running Llama-3.1-8B in bf16, layerwise profile, mean of three: cold. Of the attention rows, which are mixed
steps, the pure ones are used: one prompt (with or without history), or decodes alone. Single samples swing by 15-25 %.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latmodel.device.datasheets import DataSheet
from latmodel.errors import UsageError

from ..observations.operators import OperatorObservation
from .tables import MICRO, FamilyRows, read_table

COMMIT = "5daddb2"
GPU = "nvidia-geforce-rtx-4090"
RUNTIME = "vllm"
NOISE = 0.10
NAME = "llmservingsim_v1_{}_bf16_rtx4090.csv"
MODEL = ("hidden_size", "ffn_size", "n_heads", "n_kv_heads", "head_dim", "vocab_size")


def read(data: Path, card: DataSheet) -> dict[str, tuple[list[OperatorObservation], dict[str, int], str]]:
    """Rows of GEMM, prefill, decode and pointwise kernels, by family.

    Raises:
        UsageError: the card is another, or a file cannot be read.
    """
    if card.name != GPU:
        raise UsageError(f"this source has no timings of {card.title}; it has: {GPU}")
    kept = FamilyRows(f"casys-kaist/LLMServingSim@{COMMIT} {NAME.format('*')}")
    folder = data / "operators"
    common: dict[str, Any] = {"gpu": card.name, "runtime": RUNTIME, "noise": NOISE, "source": kept.source}
    for row in read_table(folder / NAME.format("dense"), ("layer", "tokens", "time_us", *MODEL)):
        for family, shape in _dense(row["layer"], int(row["tokens"]), *(int(row[name]) for name in MODEL[:5])):
            kept.add(family, OperatorObservation(seconds=float(row["time_us"]) * MICRO, **shape, **common))
    for row in read_table(folder / NAME.format("per_sequence"), ("layer", "sequences", "time_us", *MODEL)):
        if row["layer"] == "lm_head":
            shape = {
                "op": "gemm",
                "m": int(row["sequences"]),
                "n": int(row["vocab_size"]),
                "k": int(row["hidden_size"]),
            }
            kept.add("gemm", OperatorObservation(seconds=float(row["time_us"]) * MICRO, **shape, **common))
    steps = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
    for row in read_table(folder / NAME.format("attention"), (*steps, "time_us", *MODEL)):
        prompt, history, decodes, context = (int(row[name]) for name in steps)
        heads = {"heads": int(row["n_heads"]), "kv_heads": int(row["n_kv_heads"]), "head_dim": int(row["head_dim"])}
        timed = {"op": "attention", "seconds": float(row["time_us"]) * MICRO, **heads, **common}
        if decodes == 0 and prompt > 1:
            kept.add("prefill", OperatorObservation(m=1, tokens=prompt, context=history + prompt, **timed))
        elif prompt == 0:
            kept.add("decode", OperatorObservation(m=decodes, tokens=1, context=context + 1, **timed))
        else:
            kept.drop("attention of mixed steps")
    return kept.by_family()


def _dense(
    layer: str, tokens: int, hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    queries, keys = heads * head_dim, kv_heads * head_dim
    products = {
        "qkv_proj": (queries + 2 * keys, hidden), "o_proj": (hidden, queries),
        "gate_up_proj": (2 * inner, hidden), "down_proj": (hidden, inner),
    }  # fmt: skip
    # Values read and written: RMSNorm with the residual sum fused in, SiLU and product, rotary in place.
    moved = {"layernorm": 4 * hidden, "act_fn": 3 * inner, "rotary_emb": 2 * (queries + keys)}
    if layer in products:
        n, k = products[layer]
        yield "gemm", {"op": "gemm", "m": tokens, "n": n, "k": k}
    elif layer in moved:
        yield "pointwise", {"op": "pointwise", "moved_bytes": 2.0 * tokens * moved[layer]}
