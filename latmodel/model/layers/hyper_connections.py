"""Manifold-constrained hyper-connections: several residual streams that each layer mixes (DeepSeek-V4, 2512.24880)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, gemm, pointwise
from .layer import Layer, Linear


@dataclass(frozen=True, slots=True)
class HyperConnections(Layer):
    """`streams` streams; `count` times a block they are mixed into a layer's input and its output into them.

    `mixes` numbers a token come from all streams: to and from each stream, and between them.
    """

    streams: Array
    mixes: Array
    scales: Array
    count: Array = 2.0
    between: bool = True  # the streams are mixed with one another; False: summed alone

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """None that a format applies to: a few columns wide, in float32."""
        return []

    def vectors(self, hidden: Array) -> list[Array]:
        """The product that gives the mixes, their base and scales."""
        return [self.count * (self.mixes * (self.streams * hidden) + self.mixes + self.scales)]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The mixes, and the streams read and written once each way; twenty turns of normalising them cost launches.

        Streams are mixed with one another by a product of streams² for each value of one: its FLOPs are counted, its
        time is that of the traffic.
        """
        width, each = self.streams * hidden, numbers.activation_bytes
        mixed = pointwise("streams", width * rows, moves=4.0 * self.count, kernels=50.0 * self.count, bytes_each=each)
        if self.between:
            mixed = mixed._replace(flops=width * rows * (2.0 * self.streams * self.count))
        return [gemm("stream_mixes", rows, self.mixes, width, 4.0, each, self.count), mixed]

    @property
    def live_width(self) -> Array:
        """The mixes."""
        return self.mixes
