"""Which operators a block and a model run, what they cost, how many parameters and cache bytes they have."""

from collections.abc import Sequence

from ..arrays import Array
from .alignment import misfit
from .architecture import Architecture, Attention, Block, Experts, FeedForward, Norm
from .config import Numbers
from .implementation import Implementation
from .layers.experts import expert_ops, expert_parameters, shared_gate_ops
from .layers.kv_cache import append_op
from .layers.mixers import MIXERS
from .layers.unpacking import with_unpacking
from .ops import AttentionShape, OpCost, gemm, pointwise
from .step import Step, attended_pairs, seen_positions


def dense_ops(
    block: Block, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """The operators of a block whose cost does not depend on the context: all but attention and its cache.

    Norms and residuals count passes over the same values, so that a block costs what its two layers cost.
    """
    stream = hidden * rows
    mixer, layer = block.attention, block.feed_forward
    mixing: Sequence[OpCost] = ()
    feeding: Sequence[OpCost] = ()
    if isinstance(mixer, Attention):
        mixing = _projections(mixer, hidden, rows, implementation, numbers)
    elif mixer is not None:
        mixing = MIXERS[type(mixer)].dense(mixer, hidden, rows, implementation, numbers)
    if isinstance(layer, FeedForward):
        feeding = _feed_forward(layer, hidden, rows, implementation, numbers)
    elif layer is not None:
        feeding = _experts(layer, hidden, rows, implementation, numbers)
    layers = (mixer is not None) + (layer is not None)
    moves, kernels = (5.0, 1.0) if block.residual_scale else (3.0, 0.0)
    residual = pointwise(
        "residual", stream, moves=moves * layers,
        kernels=(implementation.residual_kernels + kernels) * layers, bytes_each=numbers.activation_bytes,
    )  # fmt: skip
    norm = _norm("norm", block.norm, stream, hidden, implementation, numbers, count=block.norms)
    if numbers.format is not None:
        mixing = with_unpacking("unpack_mixer", mixing, implementation, numbers)
        feeding = with_unpacking("unpack_ffn", feeding, implementation, numbers)
    return [norm, *mixing, *feeding, residual]


def _norm(
    name: str,
    norm: Norm,
    elements: Array,
    width: Array,
    implementation: Implementation,
    numbers: Numbers,
    *,
    count: float = 1.0,
) -> OpCost:
    """`count` norms over the same `elements` in rows of `width`; LayerNorm is one kernel everywhere, RMSNorm as the
    runtime has it."""
    kernels, moves = (implementation.norm_kernels, implementation.norm_moves) if norm.kind == "rms" else (1.0, 2.0)
    return pointwise(
        name, elements, moves=moves * count, kernels=kernels * count, bytes_each=numbers.activation_bytes,
        summed=width * count,
    )  # fmt: skip


def _projections(
    attention: Attention, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    weight, each = numbers.weight_bytes, numbers.activation_bytes
    queries, keys = attention.query_width, attention.key_width
    asked = queries * 2.0 if attention.output_gate else queries
    if attention.fused or implementation.fuses_projections:
        ops = [gemm("qkv_proj", rows, asked + 2.0 * keys, hidden, weight, each)]
    else:
        ops = [
            gemm("q_proj", rows, asked, hidden, weight, each),
            gemm("kv_proj", rows, keys, hidden, weight, each, 2.0),
        ]
    ops.append(gemm("o_proj", rows, hidden, queries, weight, each))
    if attention.rotary:
        turned = (queries + keys) * (rows * attention.rotary)
        ops.append(implementation.rope(turned, each))
    if attention.qk_norm:
        ops.append(
            _norm(
                "qk_norm",
                Norm(),
                (queries + keys) * (0.5 * rows),
                attention.head_dim,
                implementation,
                numbers,
                count=2.0,
            )
        )
    if attention.output_gate:
        ops.append(pointwise("gate", queries * rows, moves=5.0, kernels=2.0, bytes_each=each))
    return ops


def _feed_forward(
    layer: FeedForward, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    weight, each = numbers.weight_bytes, numbers.activation_bytes
    inner = layer.intermediate_size
    kernels, moves = (implementation.activation_kernels, implementation.activation_moves) if layer.gated else (1.0, 2.0)
    matrices = 2.0 if layer.gated else 1.0
    wide, repeat = (inner * matrices, 1.0) if layer.fused or implementation.fuses_projections else (inner, matrices)
    return [
        gemm("gate_up_proj" if layer.gated else "up_proj", rows, wide, hidden, weight, each, repeat),
        pointwise("activation", inner * rows, moves=moves, kernels=kernels, bytes_each=each),
        gemm("down_proj", rows, hidden, inner, weight, each),
    ]


def _experts(
    layer: Experts, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    ops = expert_ops(layer, hidden, rows, implementation, numbers)
    if layer.shared is not None:
        ops += _feed_forward(layer.shared, hidden, rows, implementation, numbers)
        ops += shared_gate_ops(layer, hidden, rows, numbers)
    return ops


def context_ops(block: Block, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """Attention and the upkeep of its KV cache; affine in the context unless a window caps it."""
    mixer = block.attention
    if isinstance(mixer, Attention):
        return [attention_op(mixer, step, implementation, numbers), append_op(block, step, implementation, numbers)]
    return [] if mixer is None else MIXERS[type(mixer)].context(block, step, implementation, numbers)


def attention_op(attention: Attention, step: Step, implementation: Implementation, numbers: Numbers) -> OpCost:
    """Scores, softmax and weighted sum: 4 · heads · head_dim FLOPs a query-key pair, causal pairs only.

    Reads the keys and values that are seen, the queries, and writes the output; grouped heads share what they read.
    """
    pairs = step.batch * attended_pairs(step, attention.window)
    width = attention.query_width
    seen = seen_positions(step, attention.window)
    cache = attention.key_width * (2.0 * numbers.cache_bytes * step.batch * seen)
    moved = width * (2.0 * step.rows * numbers.activation_bytes)
    if implementation.attention_passes:
        moved = moved + attention.heads * (implementation.attention_passes * pairs * numbers.activation_bytes)
    padding = implementation.padding_kernels * misfit(attention.head_dim)
    shape = AttentionShape(
        step.batch, attention.heads, attention.kv_heads, attention.head_dim,
        step.tokens, step.context, seen, attention.window,
    )  # fmt: skip
    return OpCost(
        "attention", step.attention_kind, width * (4.0 * pairs), 0.0, cache, moved,
        implementation.attention_kernels + padding, 0.0, 0.0, 0.0, 1.0, 1.0, shape,
    )  # fmt: skip


def head_ops(
    model: Architecture, rows: Array, logit_rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Embedding lookup, final norm and LM head (`logit_rows` positions get logits), and projections between widths."""
    sizes = {"weight_bytes": numbers.head_bytes, "activation_bytes": numbers.activation_bytes}
    hidden, width = model.hidden_size, model.hidden_size if model.embedding_size is None else model.embedding_size
    each = numbers.activation_bytes
    ops = [
        pointwise("embedding", width * rows, moves=2.0, kernels=1.0, bytes_each=each),
        gemm("lm_head", logit_rows, model.vocab_size, width, **sizes),
    ]
    if model.embedding_norm is not None:
        ops.append(_norm("embedding_norm", model.embedding_norm, hidden * rows, hidden, implementation, numbers))
    if model.final_norm is not None:
        ops.append(_norm("final_norm", model.final_norm, hidden * rows, hidden, implementation, numbers))
    if isinstance(model.positions, float) and model.positions:
        ops.append(pointwise("positions", hidden * rows, moves=5.0, kernels=2.0, bytes_each=each))
    if model.embedding_size is not None:
        ops += [gemm("project_in", rows, hidden, width, **sizes), gemm("project_out", rows, width, hidden, **sizes)]
    return ops


def attention_parameters(a: Attention, hidden: Array) -> Array:
    """Parameters of plain attention: projections, biases, norms of queries and keys, sinks."""
    queries, keys = a.query_width, 2.0 * a.key_width
    asked = queries * 2.0 if a.output_gate else queries
    total = (asked + queries + keys) * hidden
    if a.qkv_bias:
        total = total + asked + keys
    if a.out_bias:
        total = total + hidden
    if a.qk_norm:
        normed = 2.0 * a.head_dim if a.qk_norm == "head" else queries + 0.5 * keys
        total = total + a.qk_norm_vectors * normed
    if a.sinks:
        total = total + a.heads
    return total


def feed_forward_parameters(f: FeedForward, hidden: Array) -> Array:
    """Parameters of a dense feed-forward layer."""
    matrices = 3.0 if f.gated else 2.0
    total = (matrices * hidden) * f.intermediate_size
    if f.bias:
        total = total + (matrices - 1.0) * f.intermediate_size + hidden
    return total


def block_parameters(block: Block, hidden: Array) -> Array:
    """Parameters of one block, exactly."""
    total = hidden * (block.norms * block.norm.vectors) + block.scalars
    mixer, layer = block.attention, block.feed_forward
    if isinstance(mixer, Attention):
        total = total + attention_parameters(mixer, hidden)
    elif mixer is not None:
        total = total + MIXERS[type(mixer)].parameters(mixer, hidden)
    if isinstance(layer, Experts):
        total = total + expert_parameters(layer, hidden)
        layer = layer.shared
    if layer is not None:
        total = total + feed_forward_parameters(layer, hidden)
    return total


def embedding_parameters(model: Architecture) -> Array:
    """Parameters of the embedding and, unless tied, of the LM head, and of what projects to and from them."""
    width = model.hidden_size if model.embedding_size is None else model.embedding_size
    total = (2.0 - model.tie_word_embeddings) * (model.vocab_size * width)
    if model.embedding_size is not None:
        total = total + 2.0 * (width * model.hidden_size)
    if model.head_bias:
        total = total + model.vocab_size
    if model.embedding_norm is not None:
        total = total + model.hidden_size * model.embedding_norm.vectors
    return total + model.positions * model.hidden_size


def num_parameters(model: Architecture) -> Array:
    """All parameters of the model, exactly: blocks, final norm, embedding, LM head."""
    blocks = sum(group.count * block_parameters(group.block, model.hidden_size) for group in model.groups)
    final = 0.0 if model.final_norm is None else model.hidden_size * model.final_norm.vectors
    return blocks + final + embedding_parameters(model)
