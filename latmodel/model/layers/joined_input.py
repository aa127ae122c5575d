"""What a multi-token-prediction module reads: a hidden state and the next token's embedding, joined and projected."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, pointwise
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class JoinedInput(Layer):
    """Before the blocks of a module: a norm of each of two widths, and their product with a (2 · hidden × hidden)
    matrix (DeepSeek-AI 2024, "DeepSeek-V3 technical report", arXiv 2412.19437, section 2.2)."""

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """The projection."""
        return [Linear("joined_proj", 2.0 * hidden, hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        """Both norms."""
        return [2.0 * hidden]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Both norms, joining, and the product."""
        moves, kernels = 2.0 * (implementation.norm_moves + 2.0), 2.0 * implementation.norm_kernels + 1.0
        joined = pointwise(
            "joined_input", hidden * rows, moves=moves, kernels=kernels, bytes_each=numbers.activation_bytes
        )
        return [joined, *(one.op(rows, numbers) for one in self.linears(hidden))]

    @property
    def live_width(self) -> Array:
        """The module has no more than its blocks."""
        return 0.0
