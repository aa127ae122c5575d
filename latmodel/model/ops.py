"""What one operator costs: FLOPs, bytes and kernels, and nothing about any device.

Costs are plain numbers or arrays; what an operator does *not* count is said where it is built.
"""

from dataclasses import dataclass
from enum import StrEnum

from ..arrays import Array
from .record import Record


class OpKind(StrEnum):
    """Which law times an operator (`latmodel.laws.dispatch` holds the table)."""

    GEMM = "gemm"  # matrix products
    GEMM8 = "gemm8"  # matrix products of 8-bit floats
    PREFILL = "prefill"  # attention of a prompt
    DECODE = "decode"  # attention of one new token
    POINTWISE = "pointwise"
    CONV = "conv"  # a depthwise causal convolution
    SCAN = "scan"  # a recurrence
    SOLVE = "solve"  # triangular systems
    DEQUANTIZE = "dequantize"  # weights unpacked in registers: what that costs beyond the product
    COPY = "copy"  # keys and values repeated for each query head


FLOAT32_BYTES = 4.0
MMA_ROWS = 16.0  # a tensor-core instruction works on 16 rows: fewer tokens than that cost the same
# Bound once: looking a member up in its class costs as much as making an operator.
GEMM, POINTWISE = OpKind.GEMM, OpKind.POINTWISE
ATTENTION = {"prefill": OpKind.PREFILL, "decode": OpKind.DECODE}  # by the phase of a step


@dataclass(slots=True)
class AttentionShape(Record):
    """Dimensions of an attention operator; `seen` positions of the context are read (a window hides the others).

    `splits`: the kernel splits the context in decode also where no heads share keys and values.
    """

    batch: Array
    heads: Array
    kv_heads: Array
    head_dim: Array
    tokens: Array
    context: Array
    seen: Array
    window: Array | None  # None for none; in an array any value above every context stands for none
    splits: bool = False


@dataclass(slots=True)
class OpCost(Record):
    """The cost of one operator (of `repeat` identical ones, summed).

    `kind` says which law times it. `flops` counts a multiply-add as two. `weight_bytes` are parameters, cold in use;
    `cache_bytes` the KV cache; `activation_bytes` everything else read or written. `kernels` are device kernels, each
    of which the host launches. `m`, `n`, `k` are the GEMM that tiling needs (of a pointwise chain `k` is what its
    kernels sum in a row; over views, half of the kernels work on `m` rows of `n` values, half on as many of `k`),
    `attention` the dimensions that attention needs.
    """

    name: str
    kind: OpKind
    flops: Array = 0.0
    weight_bytes: Array = 0.0
    cache_bytes: Array = 0.0
    activation_bytes: Array = 0.0
    kernels: Array = 1.0
    m: Array = 0.0
    n: Array = 0.0
    k: Array = 0.0
    repeat: float = 1.0
    passes: float = 1.0  # times a pointwise chain goes over its values, which a cache may hold from pass to pass
    attention: AttentionShape | None = None
    strided: bool = False  # pointwise over views that are not contiguous, which a kernel walks value by value
    row_step: Array = MMA_ROWS  # of a product: rows that one instruction works on; fewer cost as many

    @property
    def bytes(self) -> Array:
        """All bytes moved, read and written."""
        return self.weight_bytes + self.cache_bytes + self.activation_bytes


def gemm(
    name: str, m: Array, n: Array, k: Array, weight_bytes: float, activation_bytes: float, repeat: float = 1.0
) -> OpCost:
    """`repeat` products of an (m × k) activation with a (k × n) weight: 2·m·n·k FLOPs each.

    Reads the weight and the activation once and writes the result once; bias and what follows are not counted.
    `weight_bytes` and `activation_bytes` are bytes per element.
    """
    nk = n * k
    return OpCost(
        name, GEMM, nk * (2.0 * repeat * m), nk * (weight_bytes * repeat), 0.0,
        (n + k) * (activation_bytes * repeat * m), repeat, m, n, k, repeat,
    )  # fmt: skip


def pointwise(
    name: str, elements: Array, *, moves: float, kernels: float, bytes_each: float, summed: Array = 0.0,
) -> OpCost:  # fmt: skip
    """A chain of `kernels` pointwise kernels that together read and write `moves` values per element.

    FLOPs are not counted: they are never what binds. `summed` values of a row are added up by one block of threads (a
    norm's width, times its norms).
    """
    # By position, the quickest way to make one: a prediction makes some thirty.
    return OpCost(
        name, POINTWISE, 0.0, 0.0, 0.0, elements * (moves * bytes_each), kernels, 0.0, 0.0, summed, 1.0, moves
    )
