"""Published whole models and layers, predicted from a card's profile with the host term fitted on one of their rows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shortened_llama as pruned

from calibration.sources.tables import read_table
from latmodel.device.card_law import sheet_of
from latmodel.device.datasheets import datasheet
from latmodel.device.store import load_profile
from latmodel.laws.dispatch import op_seconds
from latmodel.model.ops import OpCost, gemm, pointwise
from latmodel.predict.predictor import Predictor
from latmodel.predict.target import Target


def shortened_llama(data: Path) -> Iterator[tuple[str, list[float]]]:
    """log(predicted / measured) of depth-pruned models by GPU; the host is fitted on the unpruned row."""
    rows = pruned.read_rows(data / "shortened_llama" / "throughput.csv")
    for column, gpu in pruned.GPUS.items():
        target = Predictor.load(gpu, "transformers-eager").target("float16")
        original = next(row for row in rows if row["method"] == "original")
        factor = pruned.fit_host(pruned.shape_of(original), float(original[column]), target)
        host = pruned.scaled_host(target, factor)
        for source in ("LLaMA-7B", "Vicuna-7B"):
            some = [r for r in rows if r["source_model"] == source and r["method"].startswith("depth") and r[column]]
            errors = [
                float(np.log(float(row[column]) / pruned.tokens_per_s(pruned.shape_of(row), host))) for row in some
            ]
            if errors:
                yield f"depth-pruned {source} on {gpu}, host × {factor:.2f}", errors


# Values that the attention of those Transformers versions moved for each score: matmul result / sqrt(d), softmax,
# dropout, and in GPT-2 the causal mask's `where`. GELU: one kernel in BERT, eight for GPT-2's tanh form. Queries, keys
# and values: three linear layers in BERT, one Conv1D in GPT-2. Layers that were just made train, so that dropout runs:
# it copies and writes a mask of one byte a value.
DROPOUT_MOVES = 2.5
LAYERS = {
    "bert-large layer": {
        "score_moves": 4.0 + DROPOUT_MOVES, "score_kernels": 3.0, "gelu_moves": 2.0, "gelu_kernels": 1.0, "qkv": 3.0,
    },
    "gpt2-medium block": {
        "score_moves": 6.0 + DROPOUT_MOVES, "score_kernels": 4.0, "gelu_moves": 18.0, "gelu_kernels": 8.0, "qkv": 1.0,
    },
}  # fmt: skip


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
    implementation = LAYERS[row["block"]]
    hidden, inner, heads = (float(row[name]) for name in ("hidden_size", "ffn_size", "n_heads"))
    batch, length = float(row["batch"]), float(row["seq_len"])
    tokens, head_dim = batch * length, hidden / heads
    streams = batch * heads

    def product(name: str, m: float, n: float, k: float, repeat: float = 1.0) -> OpCost:
        return gemm(name, m, n, k, weight_bytes=2.0, activation_bytes=2.0, repeat=repeat)

    def moved(name: str, elements: float, moves: float, kernels: float) -> OpCost:
        return pointwise(name, elements, moves=moves, kernels=kernels, bytes_each=2.0)

    return [
        product("qkv", tokens, 3.0 * hidden / implementation["qkv"], hidden, implementation["qkv"]),
        moved("heads", tokens * hidden, 8.0, 4.0),  # queries, keys, values and output are copied into or out of heads
        product("scores", streams * length, length, head_dim),
        moved("softmax", streams * length * length, implementation["score_moves"], implementation["score_kernels"]),
        product("values", streams * length, head_dim, length),
        product("out", tokens, hidden, hidden),
        product("up", tokens, inner, hidden),
        moved("gelu", tokens * inner, implementation["gelu_moves"], implementation["gelu_kernels"]),
        product("down", tokens, hidden, inner),
        moved("norms, residuals, dropout", tokens * hidden, 4.0 + 6.0 + 2.0 * DROPOUT_MOVES, 6.0),
    ]
