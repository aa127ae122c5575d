"""Seconds of one operator under llama.cpp (ggml) on one device: few rates, fitted on whole published runs.

A whole run tells a rate of reading, rates of arithmetic and a time a product, not tiles or waves. Every term adds, so
that the time of a model is linear in its totals; it was tried against the maximum of reading and arithmetic, and fits
unseen devices as well or better.
"""

from collections.abc import Callable
from itertools import pairwise

from ..arrays import Array, ceil, floor, indicator, is_array, maximum, minimum
from ..model.ops import OpCost, OpKind
from .attention import shape_of
from .coefficients import GgmlCoefficients, Sheet
from .terms import Terms

VECTOR_ROWS = 8.0  # up to so many rows ggml multiplies by its matrix-vector kernels (MMVQ_MAX_BATCH_SIZE)
# A head's keys are 128 bytes of each position. To fetch them for the first of its queries one Zen 5 core takes 24 to
# 37 ns where positions lie 256, 384 or 512 bytes apart, 9 to 13 ns at 640 to 2048, however many query heads share them
# (llama.cpp b11549, eight layers, 2048 positions in 16 bits; the processor's prefetching is the likely reason). What it
# takes longer grows with the distance: of 24 query heads each took 15, 19, 23 and 28 ns a position at 128, 256, 384 and
# 512 bytes, 20 to 22 ns at 768 to 1536.
NARROW_KEYS = 256.0
MATRIX_ROWS = 16.0  # rows of the largest tile on a CPU; from one full tile on the rate is that of a prompt


def product_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """A matrix product, with all the small operators around it.

    Up to 8 rows: weight bytes / (B · bandwidth_efficiency) + FLOPs / vector_flops_per_s. From 9 rows:
    FLOPs / product_flops_per_s + micro-batches · unpack_passes · 2 bytes a weight / B. Both + launch_s a product and
    micro-batch, from 9 rows on + prompt_launch_s: kernels that convert the rows and join parts of tiles, on few of a
    large chip's cores. Where few rows were measured apart they follow `_few_rows`.

    That time is the device's, not a host's that runs beside it. A micro-batch like the last one is replayed as a CUDA
    graph, of a prompt too (llama.cpp b11549, `ggml_backend_cuda_graph_compute`). On an H100 prompts of 512 tokens are,
    and still take their FLOPs and some 36 us a product within 10 % at widths of 1024 to 4096. Of a maximum of both the
    rate of arithmetic would have to double between 2048 and 4096.
    """
    batches = ceil(op.m * (1.0 / c.micro_batch_rows))
    weights = op.n * op.k * (2.0 * op.repeat)  # bytes, were they of 16 bits; FLOPs of a row
    read = op.weight_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency))
    if is_array(c.four_rows_flops_per_s) or c.four_rows_flops_per_s:
        one, row = read + weights * (1.0 / c.vector_flops_per_s), weights * (1.0 / c.product_flops_per_s)
        pass_s = weights * (c.unpack_passes / sheet.bandwidth_bytes_per_s)
        work = _few_rows(op.m, weights, one, row, pass_s, c) + (batches - 1.0) * pass_s
        return work, batches * (op.repeat * c.launch_s), op.m * row
    matrix = indicator(op.m > VECTOR_ROWS, op.m)
    unpack = batches * weights * (c.unpack_passes / sheet.bandwidth_bytes_per_s)
    compute = op.flops * (matrix * (1.0 / c.product_flops_per_s) + (1.0 - matrix) * (1.0 / c.vector_flops_per_s))
    work = compute + matrix * unpack + (1.0 - matrix) * read
    launch_s = c.launch_s + matrix * c.prompt_launch_s
    return work, batches * (op.repeat * launch_s), compute


def _few_rows(m: Array, weights: Array, one: Array, row: Array, pass_s: Array, c: GgmlCoefficients) -> Array:
    """Products on a CPU, whose kernels change with the number of rows m; `weights` FLOPs a row.

    One row takes `one`, 16 and more row · m + pass_s. Weights that stay as they are stored are read once for all rows:
    between 1, 2, 4, 8 and 16 rows, each as fast as it was measured, the time is linear (llamafile's `tinyBLAS`, whose
    tiles have 2 or 3 rows). Packed weights are multiplied in tiles of 16 rows, then of 4, each reading all weights, and
    what is left row by row (ggml's repack.cpp: gemm and gemv, `nrows % 4`).
    """
    four = weights * (4.0 / c.four_rows_flops_per_s)
    tile = row * MATRIX_ROWS + pass_s
    if c.row_tile:
        full = floor(m * (1.0 / MATRIX_ROWS))
        left = m - full * MATRIX_ROWS
        fours = floor(left * (1.0 / c.row_tile))
        tiles = full * (row * MATRIX_ROWS) + minimum(full, 1.0) * pass_s + fours * four
        return tiles + (left - fours * c.row_tile) * one
    nodes = (
        (1.0, one), (2.0, weights * (2.0 / c.two_rows_flops_per_s)), (4.0, four),
        (8.0, weights * (8.0 / c.eight_rows_flops_per_s)), (MATRIX_ROWS, tile),
    )  # fmt: skip
    time = one + maximum(m - MATRIX_ROWS, 0.0) * row
    for (low, at_low), (high, at_high) in pairwise(nodes):
        share = minimum(maximum(m - low, 0.0) * (1.0 / (high - low)), 1.0)
        time = time + (at_high - at_low) * share
    return time


def prompt_attention_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """Attention of a prompt: FLOPs / (product_flops_per_s · attention_ratio) + scores · score_bytes / B.

    A score takes 4 · head_dim FLOPs. ggml computes those that the mask hides too, half of each micro-batch's square.
    Without flash attention it writes the scores in float32, reads and writes them in the softmax with their mask, and
    turns them into 16 bits for the second product.

    On a CPU flash attention works on tiles of 64 queries and 64 keys, whose rest it computes too, and on fewer queries
    one by one, as on new tokens (ggml's ops.cpp: `ggml_fa_tile_config`, `neq1 >= Q_TILE_SZ`).
    """
    a = shape_of(op)
    hidden = a.heads * a.batch * a.tokens * (0.5 * minimum(a.tokens, c.micro_batch_rows))
    scores = op.flops * (0.25 / a.head_dim) + hidden
    flops = scores * (4.0 * a.head_dim)
    if c.query_tile:
        queries = ceil(a.tokens * (1.0 / c.query_tile)) * c.query_tile
        flops = op.flops * (queries / a.tokens) + a.heads * a.batch * a.head_dim * (2.0 * c.query_tile) * queries
    compute = flops * (1.0 / (c.product_flops_per_s * c.attention_ratio))
    if c.query_tile:
        alone, few = token_attention_terms(op, c, sheet)[0], indicator(a.tokens < c.query_tile, a.tokens)
        compute = compute + few * (alone - compute)
    return compute + scores * (c.score_bytes / sheet.bandwidth_bytes_per_s), 0.0, compute


def token_attention_terms(op: OpCost, c: GgmlCoefficients, sheet: Sheet) -> Terms:
    """Attention of a new token: cache bytes / (B · cache_efficiency) + FLOPs / token_attention_flops_per_s.

    Query heads that share keys read them once and compute on them each: on a CPU the arithmetic is all that counts.
    Where that was measured (`narrow_cache`), reading takes longer if all keys of a position together are at most 256
    values, in proportion to their number: `narrow_cache` times as long again at 256.
    """
    read = op.cache_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.cache_efficiency))
    if is_array(c.narrow_cache) or c.narrow_cache:
        a = shape_of(op)
        keys = a.kv_heads * a.head_dim
        longer = c.narrow_cache * (keys * (1.0 / NARROW_KEYS))
        read = read * (1.0 + longer * indicator(keys <= NARROW_KEYS, keys))
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
