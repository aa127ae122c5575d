"""Attention to a window and to compressed stretches of what lies before it (DeepSeek-V4, 2026)."""

from dataclasses import dataclass

from ...arrays import Array, floor, minimum
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import AttentionShape, OpCost, pointwise
from ..step import Step, attended_pairs, seen_positions
from .indexed_attention import Indexer, scores_op
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class CompressedAttention(Layer):
    """`heads` over one key of `head_dim` that is also the value; queries by way of a latent, output in `out_groups`.

    Each `rate` positions are pooled to one entry, from `series` projections of that width; an `indexer` chooses
    `chosen` of the entries. A rate of 0: the window alone.
    """

    heads: Array
    head_dim: Array
    query_rank: Array
    out_groups: Array
    out_rank: Array
    window: Array
    rate: float = 0.0
    series: float = 1.0
    indexer: Indexer | None = None
    chosen: Array | None = None

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries, key, grouped output; compressor; indexer with a compressor of its own."""
        width = self.heads * self.head_dim
        found = [
            Linear("q_a_proj", hidden, self.query_rank),
            Linear("q_b_proj", self.query_rank, width),
            Linear("kv_proj", hidden, self.head_dim),
            Linear("o_a_proj", width / self.out_groups, self.out_rank, self.out_groups),
            Linear("o_b_proj", self.out_groups * self.out_rank, hidden),
        ]
        if self.rate:
            found.append(Linear("compress", hidden, self.series * self.head_dim, 2.0))
        if self.indexer is not None:
            queries, _, weights = self.indexer.linears(hidden)
            pooled = Linear("index_compress", hidden, self.series * self.indexer.head_dim, 2.0)
            found += [queries, weights, pooled]
        return found

    def vectors(self, hidden: Array) -> list[Array]:
        """Sinks, norms of latent, key and entries, biases of the positions in a stretch."""
        sizes = [self.heads, self.query_rank, self.head_dim]
        if self.rate:
            sizes.append(self.rate * self.series * self.head_dim + self.head_dim)
        if self.indexer is not None:
            sizes.append(self.rate * self.series * self.indexer.head_dim + self.indexer.head_dim)
        return sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """All products; rotary embedding, norms and the pooling."""
        each = numbers.activation_bytes
        pooled = pointwise("pool", hidden * rows, moves=8.0, kernels=12.0 if self.rate else 0.0, bytes_each=each)
        rope = implementation.rope(self.heads * self.head_dim, self.head_dim, rows, each)
        return [*(one.op(rows, numbers) for one in self.linears(hidden)), rope, pooled]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Attention to the window and to the entries, or those chosen; scores of the indexer for all entries.

        Entries grow with the context: a prefill sees half of them on average. Plain tensor operators attend to all
        entries, chosen or not, and score those to come too: a mask hides them.
        """
        entries = step.context / self.rate if self.rate else 0.0
        all_seen = self.chosen is None or not implementation.absorbs_latents
        seen = entries if all_seen else minimum(entries, self.chosen)
        half = 0.5 if step.phase == "prefill" else 1.0
        pairs = step.batch_size * (attended_pairs(step, self.window) + step.new_tokens * seen * half)
        width, each = self.heads * self.head_dim, numbers.activation_bytes
        read = self.head_dim * (step.batch_size * (seen_positions(step, self.window) + seen) * numbers.cache_bytes)
        shape = AttentionShape(
            step.batch_size, self.heads, 1.0, self.head_dim, step.new_tokens, step.context, step.context, self.window
        )
        moved = width * (2.0 * step.rows * each)
        kernels = implementation.attention.kernels
        ops = [
            OpCost(
                "attention", step.attention_kind, 4.0 * width * pairs, 0.0, read, moved, kernels, attention=shape
            )
        ]  # fmt: skip
        if self.indexer is not None:
            scored = step.rows * entries * (half if implementation.absorbs_latents else 1.0)
            ops.append(scores_op(self.indexer, scored, entries, step, implementation, numbers))
        return ops

    @property
    def elements_per_position(self) -> Array:
        """The key, which is the value too."""
        return self.head_dim

    def kept_positions(self, positions: Array, implementation: Implementation) -> Array:
        """Those of the window."""
        return minimum(positions, self.window - 1.0)

    def kept_bytes(self, positions: Array, implementation: Implementation, numbers: Numbers) -> Array:
        """The window's keys, the entries, the indexer's entries, and what waits for its stretch to be full."""
        kept = self.head_dim * self.kept_positions(positions, implementation)
        if self.rate:
            entries = floor(positions / self.rate)
            waiting = (positions - entries * self.rate) * (2.0 * self.series)
            widths = self.head_dim if self.indexer is None else self.head_dim + self.indexer.head_dim
            kept = kept + widths * (entries + waiting)
            if self.series > 1.0:  # the last stretch's first series, which the next one reads
                kept = kept + widths * (2.0 * minimum(entries, 1.0))
        return kept * numbers.cache_bytes

    @property
    def live_width(self) -> Array:
        """Queries and output of all heads."""
        return 2.0 * self.heads * self.head_dim
