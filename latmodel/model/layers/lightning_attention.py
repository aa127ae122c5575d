"""Lightning attention: linear attention with a fixed decay a head, in blocks (MiniMax-01, arXiv 2501.08313)."""

from dataclasses import dataclass

from ...arrays import Array, minimum
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import GEMM, OpCost, OpKind, pointwise
from ..step import Step
from .layer import Layer, Linear
from .recurrent import RECURRENT_BYTES


@dataclass(frozen=True, slots=True)
class LightningAttention(Layer):
    """`heads` of `head_dim`, each with a matrix of keys by values as its state; a norm and a gate on the output."""

    heads: Array
    head_dim: Array
    block: float = 256.0

    @property
    def width(self) -> Array:
        """Values of all heads."""
        return self.heads * self.head_dim

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries, keys and values in one product; gate; output."""
        return [
            Linear("qkv_proj", hidden, 3.0 * self.width),
            Linear("gate_proj", hidden, self.width),
            Linear("o_proj", self.width, hidden),
        ]

    def vectors(self, hidden: Array) -> list[Array]:
        """The norm of the output."""
        return [self.width]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The products; activation of queries, keys and values, norm and gate."""
        each, moves = numbers.activation_bytes, 6.0 + implementation.norm_moves + 5.0
        around = pointwise(
            "gated_norm", self.width * rows, moves=moves, kernels=3.0 + implementation.norm_kernels, bytes_each=each
        )
        return [*(one.op(rows, numbers) for one in self.linears(hidden)), around]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """FLOPs a head and a token: 4·c·D within a block of c positions (all of them, masked), 4·D² with the state."""
        inside = minimum(step.new_tokens, self.block)
        rows = step.batch_size * step.new_tokens
        each = 4.0 * self.width * ((inside if step.phase == "prefill" else 0.0) + self.head_dim)
        turns = 1.0 if implementation.fuses_scans else (step.new_tokens / inside)
        moved = (
            self.width * self.head_dim * (4.0 * step.batch_size * turns) + self.width * (8.0 * rows)
        ) * RECURRENT_BYTES
        products = OpCost("scan_products", GEMM, each * rows, 0.0, 0.0, 0.0, 0.0, rows, self.width, each / self.width)
        return [OpCost("scan", OpKind.SCAN, activation_bytes=moved, kernels=12.0 * turns, passes=8.0), products]

    @property
    def live_width(self) -> Array:
        """Queries, keys, values, gate and output."""
        return 5.0 * self.width

    def state_bytes(self, numbers: Numbers) -> Array:
        """The state of every head, in the dtype (transformers 5)."""
        return self.width * self.head_dim * numbers.activation_bytes
