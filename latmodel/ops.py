"""What one operator costs: FLOPs, bytes and kernels, and nothing about any device.

Costs are plain numbers or arrays and they add; what an operator does *not* count is said where it is built.
"""

from typing import NamedTuple

from .arrays import Array


class OpCost(NamedTuple):
    """The cost of one operator (of `count` identical ones, summed).

    `flops` counts a multiply-add as two. `weight_bytes` are parameters, cold in a real model;
    `cache_bytes` the KV cache; `activation_bytes` everything else read or written. `kernels` are device kernels,
    each of which the host launches. `m`, `n`, `k` and `count` are the GEMM that tiling needs (0 if it is none).
    """

    name: str
    kind: str  # "gemm", "attention" or "elementwise": which law of `roofline` times it
    flops: Array = 0.0
    weight_bytes: Array = 0.0
    cache_bytes: Array = 0.0
    activation_bytes: Array = 0.0
    kernels: Array = 1.0
    m: Array = 0.0
    n: Array = 0.0
    k: Array = 0.0
    count: Array = 1.0
    passes: float = 1.0  # times a pointwise chain goes over its values, which a cache may hold from pass to pass

    @property
    def bytes(self) -> Array:
        """All bytes moved, read and written."""
        return self.weight_bytes + self.cache_bytes + self.activation_bytes


def gemm(
    name: str, m: Array, n: Array, k: Array, *, weight_bytes: float, activation_bytes: float, count: float = 1.0
) -> OpCost:
    """`count` products of an (m × k) activation with a (k × n) weight: 2·m·n·k FLOPs each.

    Reads the weight and the activation once and writes the result once; bias and what follows are not counted.
    `weight_bytes` and `activation_bytes` are bytes per element.
    """
    nk = n * k
    return OpCost(
        name, "gemm", (2.0 * count * m) * nk, (weight_bytes * count) * nk, 0.0,
        (activation_bytes * count * m) * (n + k), count, m, n, k, count,
    )  # fmt: skip


def elementwise(name: str, elements: Array, *, moves: float, kernels: float, bytes_each: float) -> OpCost:
    """A chain of `kernels` pointwise kernels that together read and write `moves` values per element.

    Counts one FLOP per value moved: never what binds, but a breakdown should not say zero.
    """
    values = elements * moves
    return OpCost(name, "elementwise", values, 0.0, 0.0, values * bytes_each, kernels, passes=moves)


def gather(name: str, rows: Array, width: Array, *, weight_bytes: float, activation_bytes: float) -> OpCost:
    """Embedding lookup: `rows` rows of `width` read from the table and written out; no FLOPs."""
    elements = rows * width
    return OpCost(name, "elementwise", 0.0, elements * weight_bytes, 0.0, elements * activation_bytes, 1.0)
