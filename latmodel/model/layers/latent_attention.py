"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): expanded for all heads, or attended in the latents."""

from dataclasses import dataclass, replace

from ...arrays import Array, minimum
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import AttentionShape, OpCost, gemm, pointwise
from ..step import Step, attended_pairs, seen_positions
from .kv_cache import append_op
from .layer import Layer, Linear, part_of
from .unpacking import with_unpacking

ABSORBED = "absorb"  # the product that the expansion becomes where attention is on the latents


@dataclass(frozen=True, slots=True)
class LatentAttention(Layer):
    """Multi-head latent attention: keys and values are expanded from one small latent a position (DeepSeek-V2, 3.2)."""

    heads: Array
    query_rank: Array | None  # None: queries straight from the residual stream
    latent_rank: Array
    nope_dim: Array
    rope_dim: Array
    value_dim: Array
    bias: bool = False  # on the projections that leave the residual stream, and on the output
    window: Array | None = None  # positions a query sees; None: all before it
    gate_width: Array | None = None  # of a gate on the output: one value a head, or one for each value

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries, latents, their expansion to keys and values of all heads, output."""
        gate = [] if self.gate_width is None else [Linear("gate_proj", hidden, self.gate_width)]
        return [*self._queries(hidden), self._latents(hidden), self.expansion(), self._output(hidden), *gate]

    def vectors(self, hidden: Array) -> list[Array]:
        """Norms of the latents, and biases on what leaves the residual stream and on the output."""
        sizes = [self.latent_rank] if self.query_rank is None else [self.latent_rank, self.query_rank]
        if not self.bias:
            return sizes
        biased = self.latent_rank + self.rope_dim
        return [*sizes, biased if self.query_rank is None else biased + self.query_rank, hidden]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Projections of queries, latents and output, their norms, and the rotary part."""
        normed, norms = self.latent_rank, 1.0
        if self.query_rank is not None:
            normed, norms = self.latent_rank + self.query_rank, 2.0
        gate: list[OpCost] = []
        if self.gate_width is not None:
            gated = self.heads * self.value_dim * rows
            gate = [
                Linear("gate_proj", hidden, self.gate_width).op(rows, numbers),
                pointwise("gate", gated, moves=5.0, kernels=2.0, bytes_each=numbers.activation_bytes),
            ]
        return [
            *(one.op(rows, numbers) for one in (*self._queries(hidden), self._latents(hidden))),
            pointwise(
                "latent_norm", normed * rows, moves=implementation.norm_moves,
                kernels=implementation.norm_kernels * norms, bytes_each=numbers.activation_bytes, summed=normed,
            ),
            implementation.rope(self.heads * self.rope_dim, self.rope_dim, rows, numbers.activation_bytes),
            self._output(hidden).op(rows, numbers),
            *gate,
        ]  # fmt: skip

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Expand every latent in the context, then attend; in decode attend to the latents where the runtime can."""
        attend = _attend_latents if implementation.absorbs_latents and step.phase == "decode" else _attend_expanded
        ops = [*attend(self, step, implementation, numbers), append_op(self, step, implementation, numbers)]
        form = numbers.format_of(self.expansion().name)
        if form is None:
            return ops
        return with_unpacking(
            "unpack_latents", ops, (self.expansion().name, ABSORBED), implementation,
            numbers.of(form) if numbers.parts else numbers,
        )  # fmt: skip

    @property
    def elements_per_position(self) -> Array:
        """The latent of one position, and its rotary key."""
        return self.latent_rank + self.rope_dim

    def kept_positions(self, positions: Array, implementation: Implementation) -> Array:
        """Positions held once `positions` have been seen: as for plain attention with a window."""
        if self.window is None:
            return positions
        return minimum(positions, self.window - 1.0 if implementation.cache_copies else self.window)

    @property
    def live_width(self) -> Array:
        """Queries, keys, values and output, expanded for all heads."""
        return self.heads * (2.0 * self.key_dim + 2.0 * self.value_dim)

    @property
    def key_dim(self) -> Array:
        """Width of a head's query or key: a part of its own and a rotary one."""
        return self.nope_dim + self.rope_dim

    def fewer_heads(self, share: float) -> "LatentAttention":
        """Any number of heads: all share the latents."""
        return replace(self, heads=part_of(self.heads, share))

    def gated_by_head(self) -> "LatentAttention":
        """A product of the gate's own, from the stream."""
        return replace(self, gate_width=self.heads)

    def _queries(self, hidden: Array) -> list[Linear]:
        width = self.heads * self.key_dim
        if self.query_rank is None:
            return [Linear("q_proj", hidden, width)]
        return [Linear("q_a_proj", hidden, self.query_rank), Linear("q_b_proj", self.query_rank, width)]

    def _latents(self, hidden: Array) -> Linear:
        return Linear("kv_a_proj", hidden, self.latent_rank + self.rope_dim)

    def expansion(self) -> Linear:
        """Keys and values of all heads from each latent."""
        return Linear("kv_b_proj", self.latent_rank, self.heads * (self.nope_dim + self.value_dim))

    def _output(self, hidden: Array) -> Linear:
        return Linear("o_proj", self.heads * self.value_dim, hidden)


def _attend_expanded(m: LatentAttention, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """Keys and values of all heads from each latent: one GEMM over the whole context, then multi-head attention."""
    seen = seen_positions(step, m.window)
    positions, pairs = step.batch_size * seen, step.batch_size * attended_pairs(step, m.window)
    key, value, each = m.key_dim, m.value_dim, numbers.activation_bytes
    expand = m.expansion().op(positions, numbers)
    # keys are put together from a part of their own and a shared one
    joined = pointwise("join_keys", positions * (m.heads * key), moves=2.0, kernels=3.0, bytes_each=each)
    width = m.heads * (key + value)
    moved = width * (step.rows * each)
    shape = AttentionShape(
        step.batch_size, m.heads, m.heads, 0.5 * (key + value), step.new_tokens, step.context, seen, m.window
    )
    read = width * (positions * each)  # expanded keys and values
    flops, kernels = width * (2.0 * pairs), implementation.attention.kernels
    return [expand, joined, OpCost("attention", step.attention_kind, flops, 0.0, read, moved, kernels, attention=shape)]


def _attend_latents(m: LatentAttention, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """All heads over one shared latent (appendix C of the paper): the expansion moves to queries and output."""
    pairs, each = step.batch_size * attended_pairs(step, m.window), numbers.activation_bytes
    wide, seen = m.latent_rank + m.rope_dim, seen_positions(step, m.window)
    stored = numbers.product_bytes(m.expansion().name, m.latent_rank) if numbers.parts else numbers.weight_bytes
    width = m.nope_dim + m.value_dim
    absorb = gemm(ABSORBED, step.rows, width, m.latent_rank * m.heads, stored, each)._replace(kernels=2.0)
    shape = AttentionShape(
        step.batch_size, m.heads, 1.0, 0.5 * (wide + m.latent_rank), step.new_tokens, step.context, seen, m.window
    )
    cache = step.batch_size * seen * wide * numbers.cache_bytes
    rows = m.heads * (wide + m.latent_rank) * (step.rows * each)
    flops = m.heads * (wide + m.latent_rank) * (2.0 * pairs)
    kernels = implementation.attention.kernels
    return [absorb, OpCost("attention", step.attention_kind, flops, 0.0, cache, rows, kernels, attention=shape)]
