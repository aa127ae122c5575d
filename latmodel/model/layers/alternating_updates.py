"""AltUp: several residual streams, of which each block works on one (arXiv 2301.13310), and LAuReL (2411.07501)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, gemm, pointwise
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class AlternatingUpdates(Layer):
    """In a block: predict all `streams` from one another before it, correct them by what it gave after it."""

    streams: Array
    scaled: bool = True  # the corrected stream is scaled by a learned vector

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """None that a format applies to: they are a few columns wide."""
        return []

    def vectors(self, hidden: Array) -> list[Array]:
        """Router and its norm, coefficients of prediction and correction, the scale."""
        n = self.streams
        sizes = [n * hidden, hidden, n * n * n + n * n]
        return [*sizes, hidden] if self.scaled else sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Router and coefficients, twice; sums over the streams.

        The prediction is a product of n × n for each value of a stream: its FLOPs are counted, its time is that of the
        traffic. Moves: prediction reads and writes all streams twice, correction likewise; the router's norm once each.
        """
        n, each, size = self.streams, numbers.activation_bytes, numbers.head_bytes
        moves = 8.0 * n + 2.0 * implementation.norm_moves
        kernels = 20.0 + 2.0 * implementation.norm_kernels
        mixed = pointwise("altup", hidden * rows, moves=moves, kernels=kernels, bytes_each=each)
        return [
            gemm("altup_router", rows, n, hidden, size, each, 2.0),
            gemm("altup_predict", rows, n * n, n, size, each),
            gemm("altup_correct", rows, n, n, size, each),
            mixed._replace(flops=hidden * rows * (2.0 * n * n)),
        ]

    @property
    def live_width(self) -> Array:
        """Coefficients of a token."""
        return self.streams * self.streams


@dataclass(frozen=True, slots=True)
class StreamProjections(Layer):
    """Around the blocks: the further streams are projections of the embedding, and are projected back for the sum."""

    streams: Array

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """To and from each stream but the first."""
        return [Linear("altup_proj", hidden, hidden, 2.0 * (self.streams - 1.0))]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The products, and magnitudes brought to the first stream's."""
        each, n = numbers.activation_bytes, self.streams
        scale = pointwise("altup_scale", hidden * rows, moves=12.0 * n, kernels=16.0 * 3.0, bytes_each=each)
        return [*(one.op(rows, numbers) for one in self.linears(hidden)), scale]

    @property
    def live_width(self) -> Array:
        """Nothing beyond the streams."""
        return 0.0


@dataclass(frozen=True, slots=True)
class LowRankResidual(Layer):
    """LAuReL: a projection of the block's input through `rank` values, normalised and added to the attention's."""

    rank: Array

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Down and up."""
        return [Linear("laurel_down", hidden, self.rank), Linear("laurel_up", self.rank, hidden)]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Both products; the sums are the block's."""
        return [one.op(rows, numbers) for one in self.linears(hidden)]

    @property
    def live_width(self) -> Array:
        """Its inner values."""
        return self.rank
