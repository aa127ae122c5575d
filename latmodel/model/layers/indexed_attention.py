"""Attention to positions that a small scorer chooses (DeepSeek Sparse Attention, DeepSeek-V3.2 2025; MiniMax M3)."""

from dataclasses import dataclass, replace

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import GEMM, OpCost, pointwise
from ..step import Step, attended_pairs
from .attention import Attention
from .latent_attention import LatentAttention
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class Indexer:
    """`heads` of `head_dim` score every position seen; their key is one for all heads."""

    heads: Array
    head_dim: Array
    query_rank: Array | None = None  # width of the queries' latents; None: queries straight from the residual stream
    weighted: bool = True  # the heads' scores are summed by weights from the stream
    norm_values: Array = 0.0  # learned values of the norms of its queries and keys

    def linears(self, hidden: Array) -> list[Linear]:
        """Queries, key, the heads' weights."""
        inputs = hidden if self.query_rank is None else self.query_rank
        found = [
            Linear("index_q", inputs, self.heads * self.head_dim),
            Linear("index_k", hidden, self.head_dim),
        ]
        return [*found, Linear("index_weights", hidden, self.heads)] if self.weighted else found


@dataclass(frozen=True, slots=True)
class IndexedAttention(Layer):
    """`attention` to the `chosen` positions that score best; without an `indexer` an earlier layer's choice holds."""

    attention: Attention | LatentAttention
    indexer: Indexer | None
    chosen: Array

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """The attention's and the indexer's."""
        found = self.attention.linears(hidden, fused=fused)
        return found if self.indexer is None else [*found, *self.indexer.linears(hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        """The attention's, and the indexer's norms."""
        found = self.attention.vectors(hidden)
        return found if self.indexer is None else [*found, self.indexer.norm_values]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The attention's; the indexer's products, rotary embedding and norm."""
        ops = self.attention.dense_ops(hidden, rows, implementation, numbers)
        if self.indexer is not None:
            ops += [one.op(rows, numbers) for one in self.indexer.linears(hidden)]
            key = self.indexer.head_dim
            ops.append(implementation.rope(self.indexer.heads * key, key, rows, numbers.activation_bytes))
        return ops

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Scores of all positions and their choice; then attention.

        Runtimes with kernels of their own read the chosen positions alone. Plain tensor operators attend to all of
        them under a mask, which they write for each query.
        """
        index = [] if self.indexer is None else _index_ops(self.indexer, step, implementation, numbers)
        if implementation.absorbs_latents:
            few = replace(self.attention, window=self.chosen)
            return [*few.context_ops(step, implementation, numbers), *index]
        pairs = step.batch_size * step.new_tokens * step.context
        mask = pointwise("choice", pairs, moves=6.0, kernels=4.0, bytes_each=numbers.activation_bytes)
        return [*self.attention.context_ops(step, implementation, numbers), *index, mask]

    @property
    def elements_per_position(self) -> Array:
        """The attention's, and the indexer's key."""
        kept = self.attention.elements_per_position
        return kept if self.indexer is None else kept + self.indexer.head_dim

    @property
    def live_width(self) -> Array:
        """The attention's."""
        return self.attention.live_width


def _index_ops(indexer: Indexer, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """Scores of the positions seen, and the heads' weighted sum, a product of its own (2 · heads FLOPs a pair)."""
    fused = implementation.absorbs_latents
    pairs = step.batch_size * (attended_pairs(step, None) if fused else step.new_tokens * step.context)
    op = scores_op(indexer, pairs, step.context, step, implementation, numbers)
    return [op._replace(flops=op.flops + 2.0 * indexer.heads * pairs) if indexer.weighted else op]


def scores_op(
    indexer: Indexer, pairs: Array, positions: Array, step: Step, implementation: Implementation, numbers: Numbers
) -> OpCost:
    """Scores (2 · heads · head_dim FLOPs a pair), their activation and sum over the heads, and the choice of the best.

    As tensor operators the scores are in float32, of all pairs, and pass through memory four times.
    """
    fused, depth = implementation.absorbs_latents, indexer.heads * indexer.head_dim
    cache = indexer.head_dim * (step.batch_size * positions * numbers.cache_bytes)
    moved = 4.0 * pairs if fused else indexer.heads * pairs * 16.0
    kernels = 2.0 if fused else 10.0
    return OpCost("index", GEMM, 2.0 * depth * pairs, 0.0, cache, moved, kernels, step.rows, positions, depth)
