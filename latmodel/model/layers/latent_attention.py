"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): expanded for all heads, or attended in the latents."""

from ...arrays import Array
from ..architecture import Block, LatentAttention
from ..config import Numbers
from ..implementation import Implementation
from ..ops import AttentionShape, OpCost, gemm, pointwise
from ..step import Step, attended_pairs
from .kv_cache import append_op
from .unpacking import with_unpacking


def latent_dense(
    m: LatentAttention, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Projections of queries, latents and output, their norms, and the rotary part."""
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    each = numbers.activation_bytes
    queries = m.heads * (m.nope_dim + m.rope_dim)
    if m.query_rank is None:
        ops = [gemm("q_proj", rows, queries, hidden, **sizes)]
        normed, norms = m.latent_rank, 1.0
    else:
        ops = [gemm("q_a_proj", rows, m.query_rank, hidden, **sizes)]
        ops.append(gemm("q_b_proj", rows, queries, m.query_rank, **sizes))
        normed, norms = m.latent_rank + m.query_rank, 2.0
    turned = (m.heads + 1.0) * m.rope_dim * rows
    return [
        *ops,
        gemm("kv_a_proj", rows, m.latent_rank + m.rope_dim, hidden, **sizes),
        pointwise(
            "latent_norm",
            normed * rows,
            moves=implementation.norm_moves,
            kernels=implementation.norm_kernels * norms,
            bytes_each=each,
            summed=normed,
        ),
        implementation.rope(turned, each),
        gemm("o_proj", rows, hidden, m.heads * m.value_dim, **sizes),
    ]


def latent_context(block: Block, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """Expand every latent in the context, then attend; in decode attend to the latents where the runtime can."""
    m = block.attention
    assert isinstance(m, LatentAttention), "the table of mixers calls it with this kind alone"
    attend = _attend_latents if implementation.absorbs_latents and step.phase == "decode" else _attend_expanded
    ops = [*attend(m, step, implementation, numbers), append_op(block, step, implementation, numbers)]
    return ops if numbers.format is None else with_unpacking("unpack_latents", ops, implementation, numbers)


def _attend_expanded(m: LatentAttention, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """Keys and values of all heads from each latent: one GEMM over the whole context, then multi-head attention."""
    positions, pairs = step.batch * step.context, step.batch * attended_pairs(step, None)
    key, value, each = m.nope_dim + m.rope_dim, m.value_dim, numbers.activation_bytes
    expand = gemm(
        "kv_b_proj", positions, m.heads * (m.nope_dim + value), m.latent_rank,
        weight_bytes=numbers.weight_bytes, activation_bytes=each,
    )  # fmt: skip
    # keys are put together from a part of their own and a shared one
    joined = pointwise("join_keys", positions * (m.heads * key), moves=2.0, kernels=3.0, bytes_each=each)
    width = m.heads * (key + value)
    moved = width * (step.rows * each)
    if implementation.attention_passes:
        moved = moved + m.heads * (implementation.attention_passes * pairs * each)
    shape = AttentionShape(
        step.batch, m.heads, m.heads, 0.5 * (key + value), step.tokens, step.context, step.context, None
    )
    read = width * (positions * each)  # expanded keys and values
    attend = OpCost(
        "attention",
        step.attention_kind,
        width * (2.0 * pairs),
        0.0,
        read,
        moved,
        implementation.attention_kernels,
        attention=shape,
    )
    return [expand, joined, attend]


def _attend_latents(m: LatentAttention, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """All heads over one shared latent (appendix C of the paper): the expansion moves to queries and output."""
    pairs, each = step.batch * attended_pairs(step, None), numbers.activation_bytes
    wide = m.latent_rank + m.rope_dim
    absorb = gemm(
        "absorb", step.rows, m.nope_dim + m.value_dim, m.latent_rank * m.heads,
        weight_bytes=numbers.weight_bytes, activation_bytes=each,
    )._replace(kernels=2.0)  # fmt: skip
    shape = AttentionShape(
        step.batch, m.heads, 1.0, 0.5 * (wide + m.latent_rank), step.tokens, step.context, step.context, None
    )
    cache = step.batch * step.context * wide * numbers.cache_bytes
    rows = m.heads * (wide + m.latent_rank) * (step.rows * each)
    flops = m.heads * (wide + m.latent_rank) * (2.0 * pairs)
    return [
        absorb,
        OpCost(
            "attention", step.attention_kind, flops, 0.0, cache, rows, implementation.attention_kernels, attention=shape
        ),
    ]


def latent_parameters(m: LatentAttention, hidden: Array) -> Array:
    """Projections, norms of the latents, and biases on what leaves the residual stream and on the output."""
    queries, bias = m.heads * (m.nope_dim + m.rope_dim), 1.0 if m.bias else 0.0
    query = hidden * queries if m.query_rank is None else m.query_rank * (hidden + bias + 1.0 + queries)
    latent = (hidden + bias) * (m.latent_rank + m.rope_dim) + m.latent_rank
    expand = m.latent_rank * (m.heads * (m.nope_dim + m.value_dim))
    return query + latent + expand + hidden * (m.heads * m.value_dim + bias)
