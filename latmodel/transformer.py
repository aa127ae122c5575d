"""Which operators a block and a model run, what they cost, how many parameters and cache bytes they have."""

from typing import NamedTuple

from .architecture import Architecture, Attention, Block, FeedForward
from .arrays import Array, minimum
from .config import Numbers
from .gemm import misfit
from .implementation import Implementation
from .ops import AttentionShape, OpCost, gemm, pointwise


class Step(NamedTuple):
    """One forward pass: `tokens` new positions for each of `batch` sequences, `context` positions once they are in."""

    batch: Array
    tokens: Array
    context: Array
    phase: str  # "prefill" or "decode"

    @property
    def rows(self) -> Array:
        """Rows of every activation matrix."""
        return self.batch * self.tokens


def attended_pairs(step: Step, window: float | None) -> Array:
    """Query-key pairs of one causal head and sequence: Σ min(position, window) over the new positions.

    Half a square in prefill, `context` in decode; what a sliding window hides is not counted.
    """
    return _pairs_up_to(step.context, window) - _pairs_up_to(step.context - step.tokens, window)


def _pairs_up_to(length: Array, window: float | None) -> Array:
    seen = length if window is None else minimum(length, window)
    return 0.5 * seen * (seen + 1.0) + (length - seen) * seen


def dense_ops(block: Block, hidden: Array, rows: Array, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """The operators of a block whose cost does not depend on the context: all but attention and its cache.

    Norms and residuals count passes over the same values, so that a block costs what its two layers cost.
    """
    norm = pointwise(
        "norm", hidden * rows, moves=how.norm_moves * block.norms,
        kernels=how.norm_kernels * block.norms, bytes_each=numbers.activation_bytes,
    )  # fmt: skip
    ops = [norm]
    layers = 0
    if block.attention is not None:
        ops += _projections(block.attention, hidden, rows, how, numbers)
        layers += 1
    if block.feed_forward is not None:
        ops += _feed_forward(block.feed_forward, hidden, rows, how, numbers)
        layers += 1
    residual = pointwise(
        "residual", hidden * rows, moves=3.0 * layers,
        kernels=how.residual_kernels * layers, bytes_each=numbers.activation_bytes,
    )  # fmt: skip
    return [*ops, residual]


def _projections(
    attention: Attention, hidden: Array, rows: Array, how: Implementation, numbers: Numbers
) -> list[OpCost]:
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    queries, keys = attention.heads * attention.head_dim, attention.kv_heads * attention.head_dim
    rope = pointwise(
        "rope", (queries + keys) * rows, moves=how.rope_moves,
        kernels=how.rope_kernels, bytes_each=numbers.activation_bytes,
    )  # fmt: skip
    return [
        gemm("q_proj", rows, queries, hidden, **sizes),
        gemm("kv_proj", rows, keys, hidden, repeat=2.0, **sizes),
        rope,
        gemm("o_proj", rows, hidden, queries, **sizes),
    ]


def _feed_forward(
    layer: FeedForward, hidden: Array, rows: Array, how: Implementation, numbers: Numbers
) -> list[OpCost]:
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    inner = layer.intermediate_size
    kernels, moves = (how.activation_kernels, how.activation_moves) if layer.gated else (1.0, 2.0)
    return [
        gemm(
            "gate_up_proj" if layer.gated else "up_proj",
            rows,
            inner,
            hidden,
            repeat=2.0 if layer.gated else 1.0,
            **sizes,
        ),
        pointwise("activation", inner * rows, moves=moves, kernels=kernels, bytes_each=numbers.activation_bytes),
        gemm("down_proj", rows, hidden, inner, **sizes),
    ]


def context_ops(block: Block, step: Step, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """Attention and the upkeep of its KV cache; affine in the context unless a window caps it."""
    attention = block.attention
    if attention is None:
        return []
    return [attention_op(attention, step, how, numbers), cache_op(attention, step, how, numbers)]


def attention_op(attention: Attention, step: Step, how: Implementation, numbers: Numbers) -> OpCost:
    """Scores, softmax and weighted sum: 4 · heads · head_dim FLOPs a query-key pair, causal pairs only.

    Reads the keys and values that are seen, the queries, and writes the output; grouped heads share what they read.
    """
    pairs = step.batch * attended_pairs(step, attention.window)
    width = attention.heads * attention.head_dim
    seen = step.context if attention.window is None else minimum(step.context, attention.window + step.tokens - 1.0)
    cache = (attention.kv_heads * attention.head_dim) * (2.0 * numbers.cache_bytes * step.batch * seen)
    moved = width * (2.0 * step.rows * numbers.activation_bytes)
    if how.attention_passes:
        moved = moved + attention.heads * (how.attention_passes * pairs * numbers.activation_bytes)
    padding = how.padding_kernels * misfit(attention.head_dim)
    shape = AttentionShape(
        step.batch, attention.heads, attention.kv_heads, attention.head_dim,
        step.tokens, step.context, seen, attention.window,
    )  # fmt: skip
    return OpCost(
        "attention", step.phase, width * (4.0 * pairs), 0.0, cache, moved, how.attention_kernels + padding,
        attention=shape,
    )  # fmt: skip


def cache_op(attention: Attention, step: Step, how: Implementation, numbers: Numbers) -> OpCost:
    """Append the new keys and values; a growing cache (`cache_copies`) reads and writes all that it holds."""
    kept = how.cache_copies * (step.context - step.tokens)
    moved = (attention.kv_heads * attention.head_dim) * (4.0 * step.batch * (kept + step.tokens) * numbers.cache_bytes)
    return OpCost("kv_cache", "pointwise", activation_bytes=moved, kernels=how.cache_kernels)


def head_ops(
    model: Architecture, rows: Array, logit_rows: Array, how: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Embedding lookup, final norm and LM head (`logit_rows` positions get logits)."""
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    norm = pointwise(
        "final_norm", model.hidden_size * rows, moves=how.norm_moves,
        kernels=how.norm_kernels, bytes_each=numbers.activation_bytes,
    )  # fmt: skip
    return [
        pointwise("embedding", model.hidden_size * rows, moves=2.0, kernels=1.0, bytes_each=numbers.activation_bytes),
        norm,
        gemm("lm_head", logit_rows, model.vocab_size, model.hidden_size, **sizes),
    ]


def block_parameters(block: Block, hidden: Array) -> Array:
    """Parameters of one block, exactly."""
    total = hidden * (block.norms * (2.0 if block.norm_bias else 1.0))
    if block.attention is not None:
        a = block.attention
        queries, keys = a.heads * a.head_dim, 2.0 * (a.kv_heads * a.head_dim)
        total = total + (2.0 * queries + keys) * hidden
        if a.qkv_bias:
            total = total + queries + keys
        if a.out_bias:
            total = total + hidden
        if a.qk_norm:
            total = total + 2.0 * a.head_dim
    if block.feed_forward is not None:
        f = block.feed_forward
        matrices = 3.0 if f.gated else 2.0
        total = total + (matrices * hidden) * f.intermediate_size
        if f.bias:
            total = total + (matrices - 1.0) * f.intermediate_size + hidden
    return total


def embedding_parameters(model: Architecture) -> Array:
    """Parameters of the embedding and, unless tied, of the LM head."""
    return (2.0 - model.tie_word_embeddings) * (model.vocab_size * model.hidden_size)


def num_parameters(model: Architecture) -> Array:
    """All parameters of the model, exactly: blocks, final norm, embedding, LM head."""
    blocks = sum(group.count * block_parameters(group.block, model.hidden_size) for group in model.groups)
    return blocks + model.hidden_size + embedding_parameters(model)


def cache_elements_per_token(block: Block) -> Array:
    """Keys and values that one block keeps for one position."""
    a = block.attention
    return 0.0 if a is None else 2.0 * (a.kv_heads * a.head_dim)
