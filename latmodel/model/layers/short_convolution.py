"""A gated causal convolution over a few positions (LFM2, "Liquid Foundation Models v2", 2025)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind, pointwise
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class ShortConvolution(Layer):
    """y = out(C · conv(B · x)): each of `width` channels sees its last `kernel` positions."""

    width: Array
    kernel: float = 3.0
    bias: bool = False

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Both gates and the input in one product; output."""
        return [Linear("conv_in", hidden, 3.0 * self.width), Linear("conv_out", self.width, hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        """The convolution; biases of all three."""
        sizes = [self.width * self.kernel]
        return [*sizes, 4.0 * self.width, hidden] if self.bias else sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Two products, two gates with the copies around them, the convolution; its few taps are no FLOPs to speak of.

        Moves: each gate reads two values and writes one; the output is brought back to rows (2).
        """
        into, out = (one.op(rows, numbers) for one in self.linears(hidden))
        each = numbers.activation_bytes
        return [
            into,
            pointwise("gate", self.width * rows, moves=8.0, kernels=3.0, bytes_each=each),
            OpCost("conv", OpKind.CONV, activation_bytes=self.width * rows * (4.0 * each), kernels=1.0, passes=4.0),
            out,
        ]

    @property
    def live_width(self) -> Array:
        """Both gates, the input and the output."""
        return 4.0 * self.width

    def state_bytes(self, numbers: Numbers) -> Array:
        """The last `kernel` inputs of each channel."""
        return self.width * (self.kernel * numbers.activation_bytes)
