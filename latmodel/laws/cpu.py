"""One operator on a CPU → seconds. The laws of `gemm` and `attention` are a GPU's: a CPU has no tiles or waves to fill.

What it has instead: a product of few rows streams the weights once for every row, all but the first time in part from a
nearer cache if they fit there; one of more rows first repacks them for its kernel, in every call. The same thread
dispatches and computes, so that dispatch is the runtime's `launch_s`, not a floor here.
Recurrent layers written as tensor operators have rates of their own: their traffic is exponentials, running sums along
a far dimension and transposed copies, which do not stream; a depthwise convolution sets itself up in every call and
works on a transposed input; a triangular solve goes column by column.
"""

from collections.abc import Callable

from ..arrays import Array, ceil, maximum, minimum
from ..model.alignment import misfit
from ..model.ops import OpCost, OpKind
from .attention import shape_of
from .coefficients import CpuCoefficients, Sheet

# A row of the weights is read slowly at first, until the processor has recognised the stream: float32 rows of 64 to
# 4480 numbers take 75 ns · k / (k + 150) beyond their share of the bandwidth, within 10 ns (one core of an AMD EPYC).
SLOW_START_K = 150.0
# Queries that share one packing of the keys, and how often a prompt's are packed at most.
QUERY_BLOCK, MOST_BLOCKS = 32.0, 6.0


def pointwise_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Traffic alone: bytes / (B · pointwise_bandwidth)."""
    return op.bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.pointwise_bandwidth)), 0.0


def conv_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Setting each call up, and traffic on a transposed input: kernels · conv_call_s + bytes / (B · conv_bandwidth)."""
    moved = op.activation_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.conv_bandwidth))
    return op.kernels * c.conv_call_s + moved, 0.0


def scan_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Traffic, at the rate of running sums and exponentials: bytes / (B · scan_bandwidth)."""
    return op.activation_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.scan_bandwidth)), 0.0


def solve_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Arithmetic alone, column by column: FLOPs / (P · solve_efficiency)."""
    compute = op.flops * (1.0 / (sheet.peak_flops_per_s * c.solve_efficiency))
    return compute, compute


def product_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Streaming (or repacking) the weights, and arithmetic, of which the shorter hides in part behind the longer.

    passes = 1 + repack from repack_rows rows on (oneDNN, "Matmul" primitive: weights reordered to a blocked layout),
    else 1 + (m − 1) · w / (w + near_cache · C), w the weight's bytes; memory = w · passes / (B · weight_bandwidth);
    compute = FLOPs / (P · compute_efficiency), times misfit_slowdown where n or k is no multiple of 8; t = max +
    overlap_gap · min + (call_s if repacked, else n · output_s · k / (k + 150)). A product that repacks pays for the
    call; one that does not, for starting on each row of its weights.
    """
    repacked = (op.m >= c.repack_rows) * 1.0
    each_bytes = op.weight_bytes * (1.0 / op.repeat)
    anew = (op.m - 1.0) * (each_bytes / (each_bytes + c.near_cache * sheet.cache_bytes))
    passes = 1.0 + repacked * c.repack + (1.0 - repacked) * anew
    memory = op.weight_bytes * passes * (1.0 / (sheet.bandwidth_bytes_per_s * c.weight_bandwidth))
    slower = 1.0 + (c.misfit_slowdown - 1.0) * maximum(misfit(op.n), misfit(op.k))
    compute = op.flops * slower * (1.0 / (sheet.peak_flops_per_s * c.compute_efficiency))
    row_s = c.output_s * (op.k / (op.k + SLOW_START_K))
    start = repacked * (c.call_s * op.repeat) + (1.0 - repacked) * op.n * (row_s * op.repeat)
    return start + maximum(compute, memory) + c.overlap_gap * minimum(compute, memory), compute


def prefill_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Attention of a prompt, or of several tokens over a cache.

    FLOPs are of the query-key pairs, and of `attention_rows` more queries for each block of 32, which pack the keys for
    their products: heads · batch · (blocks · cached + (blocks + 1) / 2 · new) keys, blocks = min(⌈new / 32⌉, 6), since
    longer prompts have larger blocks (ATen, FlashAttentionKernel.cpp: 32, 64 and 256 queries a block).
    """
    a = shape_of(op)
    blocks = minimum(ceil(a.tokens * (1.0 / QUERY_BLOCK)), MOST_BLOCKS)
    keys = blocks * (a.context - a.tokens) + (0.5 * blocks + 0.5) * a.tokens
    packed = a.heads * a.head_dim * (4.0 * c.attention_rows * a.batch * keys)
    return _attention_seconds(op, op.flops + packed, c, sheet, c.prefill_efficiency)


def decode_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Attention of one new token: every query head makes products of one row, also where heads share keys (PyTorch
    2.13)."""
    return _attention_seconds(op, op.flops, c, sheet, c.decode_efficiency)


def _attention_seconds(op: OpCost, flops: Array, c: CpuCoefficients, sheet: Sheet, share: float) -> tuple[Array, Array]:
    """Arithmetic at a rate of its own in each phase, and reading the keys and values.

    FLOPs / (P · share) and cache bytes / (B · cache_bandwidth); max + overlap_gap · min. `share` is the phase's:
    prefill_efficiency or decode_efficiency.
    """
    compute = flops * (1.0 / (sheet.peak_flops_per_s * share))
    memory = op.cache_bytes * (1.0 / (sheet.bandwidth_bytes_per_s * c.cache_bandwidth))
    return maximum(compute, memory) + c.overlap_gap * minimum(compute, memory), compute


def dequantize_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """Instructions at the rate of products (an assumption: no kernel of quantised weights was timed on a CPU)."""
    compute = op.flops * (1.0 / (sheet.peak_flops_per_s * c.compute_efficiency))
    return compute, compute


# Kind of operator → (seconds, compute seconds). There are no products of 8-bit floats on a CPU.
CPU_LAWS: dict[OpKind, Callable[[OpCost, CpuCoefficients, Sheet], tuple[Array, Array]]] = {
    OpKind.GEMM: product_seconds,
    OpKind.PREFILL: prefill_seconds,
    OpKind.DECODE: decode_seconds,
    OpKind.POINTWISE: pointwise_seconds,
    OpKind.CONV: conv_seconds,
    OpKind.SCAN: scan_seconds,
    OpKind.SOLVE: solve_seconds,
    OpKind.DEQUANTIZE: dequantize_seconds,
    OpKind.COPY: pointwise_seconds,
}


def cpu_seconds(op: OpCost, c: CpuCoefficients, sheet: Sheet) -> tuple[Array, Array]:
    """(seconds, compute seconds) of `op`."""
    return CPU_LAWS[op.kind](op, c, sheet)
