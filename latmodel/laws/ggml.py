"""Seconds of one operator under llama.cpp (ggml) on one device: few rates, fitted on whole published runs.

A whole run tells a rate of reading, rates of arithmetic and a time a product, not tiles or waves. Every term adds, so
that the time of a model is linear in its totals; it was tried against the maximum of reading and arithmetic, and fits
unseen devices as well or better.
"""

from collections.abc import Callable

from ..arrays import ceil, indicator, minimum
from ..model.ops import OpCost, OpKind
from .attention import shape_of
from .coefficients import GgmlCoefficients, Sheet
from .terms import Terms

VECTOR_ROWS = 8.0  # up to so many rows ggml multiplies by its matrix-vector kernels (MMVQ_MAX_BATCH_SIZE)


def product_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """A matrix product, with all the small operators around it.

    Up to 8 rows: weight bytes / (B · bandwidth_efficiency) + FLOPs / vector_flops_per_s. From 9 rows:
    FLOPs / product_flops_per_s + micro-batches · unpack_passes · 2 bytes a weight / B. Both + launch_s a product and
    micro-batch.
    """
    batches = ceil(op.m * (1.0 / c.micro_batch_rows))
    matrix = indicator(op.m > VECTOR_ROWS, op.m)
    weights = op.n * op.k * (2.0 * op.repeat)  # bytes, were they of 16 bits
    read = op.weight_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    unpack = batches * weights * (c.unpack_passes / sheet.bandwidth_bytes_per_s)
    compute = op.flops * (matrix * (1.0 / c.product_flops_per_s) + (1.0 - matrix) * (1.0 / c.vector_flops_per_s))
    work = compute + matrix * unpack + (1.0 - matrix) * read
    return work, batches * (op.repeat * c.launch_s), compute


def prompt_attention_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """Attention of a prompt: FLOPs / (product_flops_per_s · attention_ratio) + scores · score_bytes / B.

    Without flash attention ggml writes the scores in float32, reads and writes them in the softmax with their mask,
    and turns them into 16 bits for the second product. A score takes 4 · head_dim FLOPs; those of a micro-batch that
    the mask hides, half of its square, are written too.
    """
    compute = op.flops * (1.0 / (c.product_flops_per_s * c.attention_ratio))
    a = shape_of(op)
    hidden = a.heads * a.batch * a.tokens * (0.5 * minimum(a.tokens, c.micro_batch_rows))
    scores = op.flops * (0.25 / a.head_dim) + hidden
    return compute + scores * (c.score_bytes / sheet.bandwidth_bytes_per_s), 0.0, compute


def token_attention_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """Attention of a new token: cache bytes / (B · cache_efficiency) + FLOPs / token_attention_flops_per_s.

    Query heads that share keys read them once and compute on them each: on a CPU the arithmetic is all that counts.
    """
    read = op.cache_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.cache_efficiency))
    compute = op.flops * (1.0 / c.token_attention_flops_per_s)
    return read + compute, 0.0, compute


def pointwise_terms(_op: OpCost, _c: GgmlCoefficients, _sheet: Sheet) -> Terms:
    """Nothing: what lies between the products is in their launches and rates, as whole runs measure it."""
    return 0.0, 0.0, 0.0


def recurrent_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """A recurrent layer's own kernels, never measured: their traffic at the weights' rate, and a launch each."""
    moved = op.bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    return moved, op.kernels * c.launch_s, 0.0


GGML_LAWS: dict[OpKind, Callable[[OpCost, GgmlCoefficients, Sheet], Terms]] = {
    OpKind.GEMM: product_terms,
    OpKind.GEMM8: product_terms,
    OpKind.PREFILL: prompt_attention_terms,
    OpKind.DECODE: token_attention_terms,
    OpKind.POINTWISE: pointwise_terms,
    OpKind.CONV: recurrent_terms,
    OpKind.SCAN: recurrent_terms,
    OpKind.SOLVE: recurrent_terms,
    OpKind.DEQUANTIZE: pointwise_terms,
    OpKind.COPY: recurrent_terms,
}
