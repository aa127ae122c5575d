"""The kinds of layer of 2025 and 2026: arrays of dimensions give what single ones give, and are as quick."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.formats import Numbers
from latmodel.model.layers.alternating_updates import AlternatingUpdates, LowRankResidual
from latmodel.model.layers.compressed_attention import CompressedAttention
from latmodel.model.layers.gated_recurrence import GatedRecurrence
from latmodel.model.layers.hyper_connections import HyperConnections
from latmodel.model.layers.indexed_attention import IndexedAttention, Indexer
from latmodel.model.layers.kimi_delta import KimiDelta
from latmodel.model.layers.latent_attention import LatentAttention
from latmodel.model.layers.layer import Layer
from latmodel.model.layers.lightning_attention import LightningAttention
from latmodel.model.layers.mamba import Mamba
from latmodel.model.layers.per_layer_input import PerLayerInput
from latmodel.model.layers.shared_attention import SharedAttention
from latmodel.model.layers.short_convolution import ShortConvolution
from latmodel.model.memory import peak_memory
from latmodel.model.step import Step
from latmodel.model.totals import num_parameters
from latmodel.model.transformer import context_ops, dense_ops
from latmodel.runtimes.serving import SERVING
from latmodel.runtimes.transformers_eager import TRANSFORMERS

NUMBERS = Numbers(2.0, 2.0, 2.0)
LATENT = LatentAttention(16.0, 384.0, 128.0, 64.0, 32.0, 64.0)
LAYERS: dict[str, Layer] = {
    "short convolution": ShortConvolution(512.0, 3.0, True),
    "mamba": Mamba(1024.0, 16.0, 32.0, normed=True),
    "rg-lru": GatedRecurrence(512.0, 8.0),
    "kimi delta": KimiDelta(8.0, 64.0, 64.0, None),
    "lightning": LightningAttention(8.0, 64.0),
    "indexed": IndexedAttention(LATENT, Indexer(16.0, 64.0, 384.0, True, 128.0), 256.0),
    "compressed": CompressedAttention(8.0, 128.0, 256.0, 4.0, 128.0, 64.0, 4.0, 2.0, Indexer(8.0, 64.0, 256.0), 32.0),
    "shared": SharedAttention(Attention(8.0, 2.0, 64.0, qk_norm="head")),
    "narrow values": Attention(8.0, 2.0, 64.0, value_dim=32.0, head_gate=True),
    "per-layer input": PerLayerInput(64.0),
    "alternating updates": AlternatingUpdates(4.0),
    "low rank": LowRankResidual(16.0),
    "hyper-connections": HyperConnections(4.0, 24.0, 3.0),
}


def scaled(layer: Any, by: Any) -> Any:
    """The same layer with its main dimensions, and those of its parts, times an array."""
    names = ("width", "inner", "heads", "key_heads", "rank", "streams", "latent_rank", "query_rank", "kv_heads")
    changes: dict[str, Any] = {}
    for one in fields(layer):
        if not one.init:
            continue
        value = getattr(layer, one.name)
        if is_dataclass(value):
            changes[one.name] = scaled(value, by)
        elif one.name in names and isinstance(value, float):
            changes[one.name] = value * by
    return replace(layer, **changes)


def figures(layer: Layer, hidden: Any, implementation: Any, phase: str) -> dict[str, Any]:
    """FLOPs, bytes and launches of a block of the layer, its parameters and the model's memory."""
    block = Block(layer, FeedForward(hidden * 3.0))
    model = Architecture((Group(4.0, block),), hidden, 1000.0)
    step = Step(96.0, batch_size=2.0) if phase == "prefill" else Step(1.0, 299.0, 2.0)
    ops = dense_ops(block, hidden, step.rows, implementation, NUMBERS) + context_ops(
        block, step, implementation, NUMBERS
    )
    memory = peak_memory(
        model, batch=2.0, prompt=96.0, new=10.0, logits_all=False, numbers=NUMBERS, implementation=implementation
    )
    found = {name: sum(getattr(op, name) for op in ops) for name in ("flops", "bytes", "kernels")}
    return {**found, "parameters": num_parameters(model), "memory": memory.peak_bytes}


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("implementation", [TRANSFORMERS, SERVING], ids=["tensors", "kernels"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_table_of_sizes_is_what_single_sizes_are(name: str, implementation: Any, phase: str) -> None:
    factors = [1.0, 2.0, 3.0]
    many = figures(scaled(LAYERS[name], np.array(factors)), 512.0 * np.array(factors), implementation, phase)
    for index, factor in enumerate(factors):
        one = figures(scaled(LAYERS[name], factor), 512.0 * factor, implementation, phase)
        for figure, value in one.items():
            assert np.broadcast_to(many[figure], 3)[index] == pytest.approx(value, rel=1e-12), (figure, factor)
            assert value > 0


def test_an_indexer_reads_less_where_kernels_follow_it() -> None:
    """At 100 000 positions of context, 2048 chosen: attention itself reads a fiftieth."""
    layer = IndexedAttention(LATENT, Indexer(16.0, 64.0, 384.0), 2048.0)
    step = Step(1.0, 99_999.0)
    sparse, dense = layer.context_ops(step, SERVING, NUMBERS), LATENT.context_ops(step, SERVING, NUMBERS)
    read = {"sparse": sparse, "dense": dense}
    cache = {key: next(op.cache_bytes for op in ops if op.name == "attention") for key, ops in read.items()}
    assert cache["sparse"] == pytest.approx(cache["dense"] * 2048 / 100_000)
    assert layer.kept_bytes(1000.0, SERVING, NUMBERS) == (128 + 32 + 64) * 1000 * 2
