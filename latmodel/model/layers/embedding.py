"""What lies around the blocks: embedding, learned positions and LM head."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..ops import OpCost, gemm, pointwise


@dataclass(frozen=True, slots=True)
class Embedding:
    """Embedding and LM head over a vocabulary; both keep the dtype whatever the weights' format.

    `width` is the embedding's where it is projected to and from `hidden_size`, `positions` the rows of a learned
    table, `tied` 1 where the head's matrix is the embedding's.
    """

    hidden_size: Array
    vocab_size: Array
    tied: Array
    positions: Array
    width: Array | None
    head_bias: bool

    @property
    def embedded_width(self) -> Array:
        """Values of one token's embedding."""
        return self.hidden_size if self.width is None else self.width

    def parameters(self) -> Array:
        """Embedding and, unless tied, LM head, and what projects to and from them."""
        total = (2.0 - self.tied) * (self.vocab_size * self.embedded_width)
        if self.width is not None:
            total = total + 2.0 * (self.width * self.hidden_size)
        if self.head_bias:
            total = total + self.vocab_size
        return total + self.positions * self.hidden_size

    def ops(self, rows: Array, logit_rows: Array, numbers: Numbers) -> list[OpCost]:
        """Look-up of `rows` tokens and logits of `logit_rows` positions."""
        each = numbers.activation_bytes
        return [
            pointwise("embedding", self.embedded_width * rows, moves=2.0, kernels=1.0, bytes_each=each),
            gemm("lm_head", logit_rows, self.vocab_size, self.embedded_width, numbers.head_bytes, each),
        ]

    def extra_ops(self, rows: Array, numbers: Numbers) -> list[OpCost]:
        """The sum with learned positions, and the projections between widths, where there are any."""
        ops: list[OpCost] = []
        each, hidden, width = numbers.activation_bytes, self.hidden_size, self.width
        if isinstance(self.positions, float) and self.positions:
            ops.append(pointwise("positions", hidden * rows, moves=5.0, kernels=2.0, bytes_each=each))
        if width is not None:
            ops.append(gemm("project_in", rows, hidden, width, numbers.head_bytes, each))
            ops.append(gemm("project_out", rows, width, hidden, numbers.head_bytes, each))
        return ops
