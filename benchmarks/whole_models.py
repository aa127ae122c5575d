"""Published whole models and layers, predicted from a card's profile with the host term fitted on one of their rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from calibration.sources.tables import read_table
from latmodel.architecture import uniform
from latmodel.config import Numbers
from latmodel.forward import Target, Work, forecast
from latmodel.hardware import datasheet
from latmodel.ops import OpCost, gemm, pointwise
from latmodel.predict import Predictor
from latmodel.roofline import op_seconds
from latmodel.store import load_profile
from latmodel.uncalibrated import sheet_of

HOST_TERMS = ("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s")
TWO_BYTES = Numbers(2.0, 2.0, 2.0)
# 12 prompt and 128 new tokens, batch 1 (Shortened LLaMA, section 4).
PRUNED_WORK = Work(prompt=12.0, new=128.0, batch=1.0, logits_all=False, numbers=TWO_BYTES)
LLAMA_7B = {"hidden_size": 4096.0, "intermediate_size": 11008.0, "num_attention_heads": 32.0,
            "num_key_value_heads": 32.0, "head_dim": 128.0, "vocab_size": 32000.0, "tie_word_embeddings": 0.0}  # fmt: skip


def slower(target: Target, factor: float) -> Target:
    """The target on a host that takes `factor` times as long for everything."""
    runtime = target.runtime
    return target._replace(runtime=runtime._replace(**{name: factor * getattr(runtime, name) for name in HOST_TERMS}))


def shortened_llama(data: Path) -> Iterator[tuple[str, list[float]]]:
    """log(predicted / measured) of depth-pruned models by GPU; the host is fitted on the unpruned row."""
    columns = ("source_model", "method", "num_hidden_layers", "h100_tokens_per_s", "rtx3090_tokens_per_s")
    rows = read_table(data / "shortened_llama" / "throughput.csv", columns)
    for gpu, column in (("h100", "h100_tokens_per_s"), ("3090", "rtx3090_tokens_per_s")):
        target = Predictor(load_profile(gpu), "transformers-eager").target("bfloat16")
        original = next(row for row in rows if row["method"] == "original")
        measured = PRUNED_WORK.new / float(original[column])
        factor = brentq(lambda f: _response_s(original, slower(target, f)) - measured, 0.01, 20.0)
        for family in ("LLaMA-7B", "Vicuna-7B"):
            pruned = [r for r in rows if r["source_model"] == family and r["method"].startswith("depth") and r[column]]
            errors = [
                float(np.log(_response_s(row, slower(target, factor)) * float(row[column]) / PRUNED_WORK.new))
                for row in pruned
            ]
            if errors:
                yield f"depth-pruned {family} on {gpu}, host × {factor:.2f}", errors


def _response_s(row: dict[str, str], target: Target) -> float:
    model = uniform(num_hidden_layers=float(row["num_hidden_layers"]), **LLAMA_7B)
    return float(forecast(model, PRUNED_WORK, target).response_s)


# Values that the attention of those Transformers versions moved for each score: matmul result / sqrt(d), softmax,
# dropout (which copies), and in GPT-2 the causal mask's `where`. GELU: one kernel in BERT, eight for GPT-2's tanh form.
LAYERS = {
    "bert-large layer": {"score_moves": 6.0, "score_kernels": 3.0, "gelu_moves": 2.0, "gelu_kernels": 1.0},
    "gpt2-medium block": {"score_moves": 8.0, "score_kernels": 4.0, "gelu_moves": 18.0, "gelu_kernels": 8.0},
}


def mli_layers(data: Path) -> Iterator[tuple[str, list[float]]]:
    """log(predicted / measured) of single layers on an RTX 3090 Ti with the RTX 3090's law.

    The host's time of a layer is fitted on the shortest row of each block: it is that row's time.
    """
    columns = ("block", "hidden_size", "ffn_size", "n_heads", "batch", "seq_len", "layer_forward_us")
    rows = read_table(data / "operators" / "mli_hf_layer_forward_3090ti.csv", columns)
    target = Predictor(load_profile("3090"), "transformers-eager").target("bfloat16")
    target = target._replace(sheet=sheet_of(datasheet("3090 ti"), "float16"))
    for block in LAYERS:
        mine = [row for row in rows if row["block"] == block]
        host = min(float(row["layer_forward_us"]) for row in mine) * 1e-6
        errors = []
        for row in mine:
            measured = float(row["layer_forward_us"]) * 1e-6
            if measured > host:
                errors.append(float(np.log(max(_device_s(row, target), host) / measured)))
        yield f"{block} on 3090 ti, host {host * 1e6:.0f} us", errors


def _device_s(row: dict[str, str], target: Target) -> float:
    ops = layer_ops(row)
    return float(sum(op_seconds(op, target.sheet, target.device, target.runtime.gap_s).seconds for op in ops))


def layer_ops(row: dict[str, str]) -> list[OpCost]:
    """The operators of a layer with math attention: full squares of scores, which go to memory and back."""
    how = LAYERS[row["block"]]
    hidden, inner, heads = (float(row[name]) for name in ("hidden_size", "ffn_size", "n_heads"))
    batch, length = float(row["batch"]), float(row["seq_len"])
    tokens, head_dim = batch * length, hidden / heads
    streams = batch * heads

    def product(name: str, m: float, n: float, k: float, repeat: float = 1.0) -> OpCost:
        return gemm(name, m, n, k, weight_bytes=2.0, activation_bytes=2.0, repeat=repeat)

    def moved(name: str, elements: float, moves: float, kernels: float) -> OpCost:
        return pointwise(name, elements, moves=moves, kernels=kernels, bytes_each=2.0)

    return [
        product("qkv", tokens, hidden, hidden, 3.0),
        moved("heads", tokens * hidden, 8.0, 4.0),  # queries, keys, values and output are copied into or out of heads
        product("scores", streams * length, length, head_dim),
        moved("softmax", streams * length * length, how["score_moves"], how["score_kernels"]),
        product("values", streams * length, head_dim, length),
        product("out", tokens, hidden, hidden),
        product("up", tokens, inner, hidden),
        moved("gelu", tokens * inner, how["gelu_moves"], how["gelu_kernels"]),
        product("down", tokens, hidden, inner),
        moved("norms, residuals, dropout", tokens * hidden, 4.0 + 6.0 + 4.0, 6.0),
    ]


__all__: Sequence[str] = ["mli_layers", "shortened_llama"]
