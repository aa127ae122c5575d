"""Per-layer embeddings: each block adds a few values of its own for every token (Gemma 3n, Gemma 4)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, pointwise
from .feed_forward import activation_op
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class PerLayerInput(Layer):
    """In a block: the stream gates `width` values of the token, which are projected back and added."""

    width: Array

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Gate and projection."""
        return [Linear("input_gate", hidden, self.width), Linear("input_proj", self.width, hidden)]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Both products with the activation between them."""
        gate, project = (one.op(rows, numbers) for one in self.linears(hidden))
        return [gate, activation_op(self.width * rows, True, implementation, numbers), project]

    @property
    def live_width(self) -> Array:
        """Gate, input and product."""
        return 3.0 * self.width


@dataclass(frozen=True, slots=True)
class PerLayerEmbedding(Layer):
    """Before the blocks: `width` values for each of `blocks` blocks, from a table and from the embedding."""

    vocab_size: Array
    width: Array
    blocks: Array

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """From the embedding to the values of all blocks."""
        return [Linear("per_layer_proj", hidden, self.blocks * self.width)]

    def vectors(self, hidden: Array) -> list[Array]:
        """The table, and the norm of one block's values."""
        return [self.vocab_size * (self.blocks * self.width), self.width]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Rows of the table, the product, its norm, and the sum of both."""
        values, each = self.blocks * self.width * rows, numbers.activation_bytes
        moves, kernels = 2.0 + implementation.norm_moves + 7.0, 5.0 + implementation.norm_kernels
        return [
            *(one.op(rows, numbers) for one in self.linears(hidden)),
            pointwise("per_layer_inputs", values, moves=moves, kernels=kernels, bytes_each=each),
        ]

    @property
    def live_width(self) -> Array:
        """The values of all blocks, of table and embedding."""
        return 2.0 * self.blocks * self.width
