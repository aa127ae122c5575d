"""Attention that reads the keys and values of an earlier layer (Gemma 3n and 4; "cross-layer attention")."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost
from ..step import Step
from .attention import Attention, attention_op, written_ops
from .layer import Layer, Linear
from .norm import RMS


@dataclass(frozen=True, slots=True)
class SharedAttention(Layer):
    """The queries and the output of `attention`; keys and values are another layer's, which keeps them."""

    attention: Attention

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries and output."""
        a = self.attention
        return [Linear("q_proj", hidden, a.projected_width), Linear("o_proj", a.output_width, hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        """Biases, the norm of the queries."""
        a, sizes = self.attention, []
        if a.qkv_bias:
            sizes.append(a.projected_width)
        if a.out_bias:
            sizes.append(hidden)
        if a.qk_norm:
            sizes.append(a.qk_norm_vectors * (a.head_dim if a.qk_norm == "head" else a.query_width))
        return sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Both products, rotary embedding and norm of the queries."""
        a, each = self.attention, numbers.activation_bytes
        ops = [one.op(rows, numbers) for one in self.linears(hidden)]
        if a.rotary:
            ops.append(implementation.rope(a.query_width, 0.0, rows * a.rotary, each))
        if a.qk_norm:
            ops.append(RMS.op("qk_norm", a.query_width * rows, a.head_dim, implementation, numbers))
        return ops

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Attention; the cache is written by the layer that it is shared with."""
        ops = [attention_op(self.attention, step, implementation, numbers)]
        if implementation.attention.keeps_on_chip:
            return ops
        return ops + written_ops(self.attention, step, implementation, numbers)

    @property
    def live_width(self) -> Array:
        """Queries and output."""
        return 2.0 * self.attention.query_width

    def dimensions(self) -> dict[str, Array]:
        """Heads and their width."""
        return self.attention.dimensions()
