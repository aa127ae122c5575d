"""RG-LRU: a gated linear recurrence of single channels (Griffin, arXiv 2402.19427)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind, pointwise
from ..step import Step
from .layer import Layer, Linear
from .recurrent import RECURRENT_BYTES


@dataclass(frozen=True, slots=True)
class GatedRecurrence(Layer):
    """`width` channels, gated in `heads` blocks, behind a convolution and beside a gated branch."""

    width: Array
    heads: Array
    conv_kernel: float = 4.0

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Both branches, the two gates in blocks, output."""
        block = self.width / self.heads
        return [
            Linear("branches", hidden, self.width, 2.0),
            Linear("recurrence_gates", block, block, 2.0 * self.heads),
            Linear("branch_out", self.width, hidden),
        ]

    def vectors(self, hidden: Array) -> list[Array]:
        """Biases of all products, the convolution with its bias, one decay a channel."""
        return [2.0 * self.width + hidden, 2.0 * self.width, self.width * (self.conv_kernel + 2.0)]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Products, convolution, and the gates in float32 (some fifteen passes)."""
        into, gates, out = (one.op(rows, numbers) for one in self.linears(hidden))
        each = numbers.activation_bytes
        conv = OpCost("conv", OpKind.CONV, activation_bytes=self.width * rows * (4.0 * each), kernels=1.0, passes=4.0)
        return [into, conv, gates, pointwise("gate", self.width * rows, moves=30.0, kernels=15.0, bytes_each=each), out]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The recurrence, token by token: a product, a sum and a copy; one kernel where a runtime has it."""
        turns = 1.0 if implementation.fuses_scans else step.new_tokens
        moved = self.width * (step.batch_size * step.new_tokens * 6.0 * RECURRENT_BYTES)
        return [OpCost("scan", OpKind.SCAN, activation_bytes=moved, kernels=3.0 * turns, passes=6.0)]

    @property
    def live_width(self) -> Array:
        """Both branches, the gates and the output."""
        return 5.0 * self.width

    def state_bytes(self, numbers: Numbers) -> Array:
        """One value a channel, and the convolution's last inputs but one."""
        return self.width * (RECURRENT_BYTES + (self.conv_kernel - 1.0) * numbers.activation_bytes)
