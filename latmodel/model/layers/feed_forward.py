"""The dense feed-forward layer."""

from dataclasses import dataclass, replace
from typing import ClassVar

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, pointwise
from .layer import Layer, Linear, part_of


@dataclass(frozen=True, slots=True)
class FeedForward(Layer):
    """A gated (three matrices, SwiGLU) or plain (two) feed-forward layer."""

    always_measured: ClassVar[bool] = True
    sizes: ClassVar[tuple[str, ...]] = ("intermediate_size",)

    intermediate_size: Array
    gated: bool = True
    bias: bool = False
    fused: bool = False  # gate and up come from one product

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Gate and up (or up alone), and down."""
        name, inner = "gate_up_proj" if self.gated else "up_proj", self.intermediate_size
        matrices = 2.0 if self.gated else 1.0
        wide, count = (inner * matrices, 1.0) if fused or self.fused else (inner, matrices)
        return [Linear(name, hidden, wide, count), Linear("down_proj", inner, hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        """Biases of each product."""
        return [(2.0 if self.gated else 1.0) * self.intermediate_size, hidden] if self.bias else []

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The products with the activation between them."""
        up, down = self.linears(hidden, fused=implementation.fuses_projections)
        activation = activation_op(self.intermediate_size * rows, self.gated, implementation, numbers)
        return [up.op(rows, numbers), activation, down.op(rows, numbers)]

    @property
    def live_width(self) -> Array:
        """Gate, up and their product."""
        return (3.0 if self.gated else 2.0) * self.intermediate_size

    def dimensions(self) -> dict[str, Array]:
        """The inner width."""
        return {"intermediate_size": self.intermediate_size}

    def narrower(self, share: float, step: int) -> "FeedForward":
        """Fewer columns."""
        return replace(self, intermediate_size=part_of(self.intermediate_size, share, step))


def activation_op(elements: Array, gated: bool, implementation: Implementation, numbers: Numbers) -> OpCost:
    """The activation of so many inner values: with the product of the gate as the runtime has it, else one kernel."""
    gate = (implementation.activation_kernels, implementation.activation_moves)
    kernels, moves = gate if gated else (1.0, 2.0)
    return pointwise("activation", elements, moves=moves, kernels=kernels, bytes_each=numbers.activation_bytes)
