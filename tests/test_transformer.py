"""Parameters against Transformers, FLOPs against PyTorch's own counter: neither was written here."""

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy import TWO_BYTES

from latmodel.model.architecture import Architecture, Attention, Block, uniform
from latmodel.model.layers.attention import attention_op
from latmodel.model.layers.kv_cache import append_op
from latmodel.model.memory import peak_memory
from latmodel.model.step import Step, attended_pairs
from latmodel.model.totals import block_parameters, num_parameters
from latmodel.model.transformer import context_ops, dense_ops, head_ops
from latmodel.runtimes.torch_eager import TORCH
from latmodel.runtimes.transformers_eager import TRANSFORMERS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing is theirs, and warns of what concerns nobody here
    from transformers import LlamaConfig, LlamaForCausalLM

GRID = [
    dict(zip(("num_hidden_layers", "hidden_size", "intermediate_size", "heads", "head_dim", "tie"), row, strict=True))
    for row in itertools.product((1, 3), (96, 192), (96, 501), ((4, 4), (6, 2), (4, 1)), (16, 60), (True, False))
]


def llama(shape: dict[str, Any], device: str = "meta", **kwargs: Any) -> Any:
    heads, kv_heads = shape["heads"]
    config = LlamaConfig(
        num_hidden_layers=shape["num_hidden_layers"], hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"], num_attention_heads=heads, num_key_value_heads=kv_heads,
        head_dim=shape["head_dim"], vocab_size=320, tie_word_embeddings=shape["tie"], **kwargs,
    )  # fmt: skip
    with torch.device(device):
        return LlamaForCausalLM(config).eval()


def ours(shape: dict[str, Any]) -> Architecture:
    heads, kv_heads = shape["heads"]
    return uniform(
        num_hidden_layers=float(shape["num_hidden_layers"]), hidden_size=float(shape["hidden_size"]),
        intermediate_size=float(shape["intermediate_size"]), num_attention_heads=float(heads),
        num_key_value_heads=float(kv_heads), head_dim=float(shape["head_dim"]), vocab_size=320.0,
        tie_word_embeddings=float(shape["tie"]),
    )  # fmt: skip


@pytest.mark.parametrize("shape", GRID, ids=lambda shape: "-".join(map(str, shape.values())))
def test_parameters_equal_transformers(shape: dict[str, Any]) -> None:
    assert num_parameters(ours(shape)) == sum(p.numel() for p in llama(shape).parameters())


def test_parameters_of_biased_blocks_equal_transformers() -> None:
    shape = {**GRID[0], "num_hidden_layers": 1}
    theirs = llama(shape, attention_bias=True, mlp_bias=True).model.layers[0]
    block = ours(shape).groups[0].block
    assert block.attention is not None
    assert block.feed_forward is not None
    biased = Block(
        Attention(block.attention.heads, block.attention.kv_heads, block.attention.head_dim, None, True, True),
        type(block.feed_forward)(block.feed_forward.intermediate_size, bias=True),
    )
    assert block_parameters(biased, float(shape["hidden_size"])) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("shape", GRID[::5], ids=lambda shape: "-".join(map(str, shape.values())))
@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 128), (3, 40)])
def test_flops_equal_pytorchs_counter(shape: dict[str, Any], batch: int, tokens: int) -> None:
    """Weights' products agree exactly. Attention: PyTorch counts the whole square, we count causal pairs alone."""
    theirs = llama(shape, device="cpu", attn_implementation="eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        theirs(torch.zeros(batch, tokens, dtype=torch.long), use_cache=False)
    counted = {str(op): float(flops) for op, flops in counter.get_flop_counts()["Global"].items()}

    model, rows = ours(shape), float(batch * tokens)
    step = Step(float(tokens), batch_size=float(batch))
    group = model.groups[0]
    dense = dense_ops(group.block, model.hidden_size, rows, TRANSFORMERS, TWO_BYTES)
    head = head_ops(model, rows, rows, TRANSFORMERS, TWO_BYTES)
    assert group.count * sum(op.flops for op in dense) + sum(op.flops for op in head) == counted["aten.mm"]
    pairs, square = tokens * (tokens + 1) / 2, tokens * tokens
    attention = sum(op.flops for op in context_ops(group.block, step, TRANSFORMERS, TWO_BYTES))
    assert group.count * attention * square / pairs == pytest.approx(counted["aten.bmm"], rel=1e-12)


@pytest.mark.parametrize("window", [None, 1.0, 5.0, 100.0])
@pytest.mark.parametrize(("tokens", "context"), [(1, 1), (1, 9), (4, 9), (9, 9), (3, 200)])
def test_causal_pairs_equal_a_count(tokens: int, context: int, window: float | None) -> None:
    limit = context if window is None else window
    counted = sum(min(position, limit) for position in range(context - tokens + 1, context + 1))
    assert attended_pairs(Step(float(tokens), float(context - tokens)), window) == counted


def test_grouped_heads_cut_the_cache_bytes_and_not_the_flops() -> None:
    step = Step(1.0, 99.0, 2.0)
    many, few = (attention_op(Attention(8.0, kv, 64.0), step, TRANSFORMERS, TWO_BYTES) for kv in (8.0, 2.0))
    assert few.flops == many.flops
    assert few.cache_bytes == many.cache_bytes / 4
    # 2 (keys and values) · 8 heads · 64 · 100 positions · 2 bytes · 2 sequences
    assert many.cache_bytes == 2 * 8 * 64 * 100 * 2 * 2


def test_a_growing_cache_is_copied_and_a_fixed_one_is_not() -> None:
    step, layer = Step(1.0, 100.0), Attention(8.0, 2.0, 64.0)
    # keys and values, read and written: 4 · 2 heads · 64 · 2 bytes a position
    assert append_op(layer, step, TRANSFORMERS, TWO_BYTES).bytes == 4 * 2 * 64 * 2 * 101
    assert append_op(layer, step, TORCH, TWO_BYTES).bytes == 4 * 2 * 64 * 2 * 1


def test_weight_bytes_of_all_operators_are_the_parameters() -> None:
    """Each matrix is read once: GEMM weights add up to all parameters but norms and embedding."""
    model = ours({**GRID[0], "tie": False})
    block = model.groups[0]
    gemms = sum(op.weight_bytes for op in dense_ops(block.block, model.hidden_size, 7.0, TRANSFORMERS, TWO_BYTES))
    head = sum(op.weight_bytes for op in head_ops(model, 7.0, 7.0, TRANSFORMERS, TWO_BYTES))
    norms = model.hidden_size * (2 * block.count + 1)
    embedding = model.hidden_size * model.vocab_size
    assert gemms * block.count + head == 2 * (num_parameters(model) - norms - embedding)
    memory = peak_memory(
        model, batch=1.0, prompt=1.0, new=0.0, logits_all=False, numbers=TWO_BYTES, implementation=TRANSFORMERS
    )
    assert memory.weight_bytes == 2 * num_parameters(model)
