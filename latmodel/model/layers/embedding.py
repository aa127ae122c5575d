"""What lies around the blocks: embedding, learned positions and LM head."""

from dataclasses import dataclass

from ...arrays import Array, is_array, total
from ..formats import Numbers
from ..ops import OpCost, gemm, pointwise


@dataclass(frozen=True, slots=True)
class Embedding:
    """Embedding and LM head over a vocabulary; both keep the dtype unless a checkpoint ships them quantised.

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
        sizes = [(2.0 - self.tied) * (self.vocab_size * self.embedded_width)]
        if self.width is not None:
            sizes.append(2.0 * (self.width * self.hidden_size))
        if self.head_bias:
            sizes.append(self.vocab_size)
        if is_array(self.positions) or self.positions:
            sizes.append(self.positions * self.hidden_size)
        return total(sizes)

    def lookup_op(self, rows: Array, numbers: Numbers) -> OpCost:
        """Rows of the table for `rows` tokens."""
        elements = self.embedded_width * rows
        return pointwise("embedding", elements, moves=2.0, kernels=1.0, bytes_each=numbers.activation_bytes)

    def logits_op(self, rows: Array, numbers: Numbers) -> OpCost:
        """The LM head at `rows` positions."""
        width, each = self.embedded_width, numbers.activation_bytes
        return gemm("lm_head", rows, self.vocab_size, width, numbers.head_bytes_at(width), each)

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
