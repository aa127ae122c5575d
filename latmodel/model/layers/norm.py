"""Norms of the residual stream, or of the heads of queries and keys."""

from dataclasses import dataclass
from typing import Literal

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, pointwise


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation of the residual stream with `vectors` learned vectors (weight; weight and bias; none)."""

    kind: Literal["rms", "layer"] = "rms"
    vectors: float = 1.0

    def parameters(self, width: Array, count: float = 1.0) -> Array:
        """Learned values of `count` norms over rows of `width`."""
        return width * (count * self.vectors)

    def op(
        self,
        name: str,
        elements: Array,
        width: Array,
        implementation: Implementation,
        numbers: Numbers,
        *,
        count: float = 1.0,
    ) -> OpCost:
        """`count` norms over the same `elements` in rows of `width`; LayerNorm is one kernel everywhere, RMSNorm as the
        runtime has it."""
        rms = (implementation.norm_kernels, implementation.norm_moves)
        kernels, moves = rms if self.kind == "rms" else (1.0, 2.0)
        return pointwise(
            name, elements, moves=moves * count, kernels=kernels * count, bytes_each=numbers.activation_bytes,
            summed=width * count,
        )  # fmt: skip


RMS = Norm()  # of Llama and most of its successors
