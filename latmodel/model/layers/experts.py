"""Mixtures of experts: what a batch touches, and what that costs."""

from dataclasses import dataclass, replace
from typing import ClassVar

from ...arrays import Array, ceil, maximum
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import GEMM, POINTWISE, OpCost, gemm, pointwise
from .feed_forward import FeedForward, activation_op
from .layer import Layer, Linear, part_of

TILE_ROWS = 16.0  # a grouped product gives each expert whole tiles of rows; the smallest are of 16


@dataclass(frozen=True, slots=True)
class Experts(Layer):
    """`per_token` of `count` feed-forward layers, chosen for each token, and perhaps a dense one beside them."""

    has_experts: ClassVar[bool] = True

    count: Array
    per_token: Array
    intermediate_size: Array
    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False  # a learned sigmoid on the shared layer's output
    latent_size: Array | None = None  # the experts work on a projection of this width
    latent_bias: bool = False
    all_run: bool = False  # the class of Transformers sends every token to every expert (Llama 4)

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """The experts' matrices, the projections around them, the shared layer's; router and gate keep the dtype."""
        width, inner = self._width(hidden), self.intermediate_size
        found = [
            Linear("experts_up", width, inner, self.count * (2.0 if self.gated else 1.0)),
            Linear("experts_down", inner, width, self.count),
        ]
        if self.latent_size is not None:
            found += self._projections(hidden)
        return found if self.shared is None else [*found, *self.shared.linears(hidden, fused=fused)]

    def vectors(self, hidden: Array) -> list[Array]:
        """Router, the shared layer's gate, biases."""
        sizes = [self.count * hidden]
        if self.router_bias:
            sizes.append(self.count)
        if self.bias:
            inner = (2.0 if self.gated else 1.0) * self.intermediate_size
            sizes.append(self.count * (inner + self._width(hidden)))
        if self.shared_gate:
            sizes.append(hidden)
        if self.latent_size is not None and self.latent_bias:
            sizes.append(self.latent_size + hidden)
        return sizes if self.shared is None else [*sizes, *self.shared.vectors(hidden)]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Router, dispatch, the experts' products, and the shared layer with its sum."""
        ops = self._expert_ops(hidden, rows, implementation, numbers)
        if self.shared is not None:
            ops += self.shared.dense_ops(hidden, rows, implementation, numbers)
            ops += self._shared_sum(hidden, rows, numbers)
        return ops

    @property
    def live_width(self) -> Array:
        """Of the experts that a token is sent to together, or of the shared layer."""
        inner = (3.0 if self.gated else 2.0) * self.intermediate_size * self.per_token
        return inner if self.shared is None else maximum(inner, self.shared.live_width)

    def live_width_in(self, implementation: Implementation) -> Array:
        """Of all experts where all are run, with what is sent to them and what comes back."""
        if not self.runs_all(implementation):
            return self.live_width
        return self.count * (3.0 if self.gated else 2.0) * self.intermediate_size

    def dimensions(self) -> dict[str, Array]:
        """The inner width of an expert."""
        return {"intermediate_size": self.intermediate_size}

    def active(self) -> "Experts":
        """The experts that a token is sent to."""
        return replace(self, count=self.per_token)

    def narrower(self, share: float, step: int) -> "Experts":
        """Fewer columns in every expert, and in the shared layer."""
        shared = None if self.shared is None else self.shared.narrower(share, step)
        return replace(self, intermediate_size=part_of(self.intermediate_size, share, step), shared=shared)

    def fewer_experts(self, share: float) -> "Experts":
        """Experts dropped whole; a token still goes to as many."""
        return replace(self, count=max(part_of(self.count, share), self.per_token))

    def _width(self, hidden: Array) -> Array:
        return hidden if self.latent_size is None else self.latent_size

    def runs_all(self, implementation: Implementation) -> bool:
        """Whether a runtime sends every token to every expert."""
        return self.all_run and implementation.runs_classes

    def _projections(self, hidden: Array) -> list[Linear]:
        width = self._width(hidden)
        return [Linear("latent_in", hidden, width), Linear("latent_out", width, hidden)]

    def _expert_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        acting = replace(self, per_token=self.count) if self.runs_all(implementation) else self
        sent, width, each = rows * acting.per_token, self._width(hidden), numbers.activation_bytes
        inner, matrices = self.intermediate_size, 2.0 if self.gated else 1.0
        ops = [
            gemm("router", rows, self.count, hidden, weight_bytes=numbers.head_bytes, activation_bytes=each),
            pointwise("dispatch", self.count * rows, moves=8.0, kernels=implementation.routing_kernels, bytes_each=4.0),
            pointwise("combine", width * sent, moves=6.0, kernels=0.0, bytes_each=each),
            _product("experts_up", acting, rows, (matrices * inner, width), implementation, numbers),
            activation_op(inner * sent, self.gated, implementation, numbers),
            _product("experts_down", acting, rows, (width, inner), implementation, numbers),
        ]
        if implementation.expert_kernels:
            ops.append(_loop(self, rows, implementation))
        if self.latent_size is not None:
            ops += [one.op(rows, numbers) for one in self._projections(hidden)]
        return ops

    def _shared_sum(self, hidden: Array, rows: Array, numbers: Numbers) -> list[OpCost]:
        """The sum of the shared layer's output with the experts', and the sigmoid on it where there is one."""
        each = numbers.activation_bytes
        if not self.shared_gate:
            return [pointwise("shared_sum", hidden * rows, moves=3.0, kernels=1.0, bytes_each=each)]
        gate = gemm("shared_gate", rows, 1.0, hidden, weight_bytes=numbers.head_bytes, activation_bytes=each)
        return [gate, pointwise("shared_sum", hidden * rows, moves=5.0, kernels=3.0, bytes_each=each)]


def touched_experts(layer: Experts, rows: Array) -> Array:
    """Expected number of distinct experts that `rows` tokens are sent to: E · (1 − (1 − k/E)^rows).

    A token misses an expert with probability 1 − k/E, tokens independently, all experts alike: the routing that
    load balancing trains for. Skewed routing touches fewer.
    """
    share = layer.per_token / layer.count
    return layer.count * (1.0 - (1.0 - share) ** rows)


def _product(
    name: str, layer: Experts, rows: Array, size: tuple[Array, Array], implementation: Implementation, numbers: Numbers
) -> OpCost:
    """(rows of each touched expert × k) · (k × n) for `size` (n, k): exact FLOPs, the weights of touched ones.

    Grouped, it is one kernel over whole tiles of rows, or (on a CPU) a loop of products; else one product for each
    expert, launched by the host.
    """
    n, k = size
    sent, touched = rows * layer.per_token, touched_experts(layer, rows)
    each = sent / maximum(touched, 1.0)
    stored = numbers.product_bytes(name, k) if numbers.parts else numbers.weight_bytes
    flops, weights = (2.0 * sent) * (n * k), touched * (n * k) * stored
    moved = sent * (n + k) * numbers.activation_bytes
    if implementation.expert_kernels or implementation.group_kernels:
        launches = 1.0 if layer.runs_all(implementation) else touched + implementation.group_kernels * layer.count
        return OpCost(name, GEMM, flops, weights, 0.0, moved, launches, each, n, k, touched)
    tiled = touched * (ceil(each / TILE_ROWS) * TILE_ROWS)
    return OpCost(name, GEMM, flops, weights, 0.0, moved, 1.0, tiled, n, k)


def _loop(layer: Experts, rows: Array, implementation: Implementation) -> OpCost:
    """The launches, beside the two products, of a loop over the touched experts."""
    return OpCost("expert_loop", POINTWISE, kernels=implementation.expert_kernels * touched_experts(layer, rows))
