"""Mixtures of experts: what a batch touches, and what that costs."""

from ...arrays import Array, ceil, maximum
from ..architecture import Experts
from ..config import Numbers
from ..implementation import Implementation
from ..ops import GEMM, POINTWISE, OpCost, gemm, pointwise

TILE_ROWS = 16.0  # a grouped product gives each expert whole tiles of rows; the smallest are of 16


def touched_experts(layer: Experts, rows: Array) -> Array:
    """Expected number of distinct experts that `rows` tokens are sent to: E · (1 − (1 − k/E)^rows).

    A token misses an expert with probability 1 − k/E, tokens independently, all experts alike: the routing that
    load balancing trains for. Skewed routing touches fewer.
    """
    share = layer.per_token / layer.count
    return layer.count * (1.0 - (1.0 - share) ** rows)


def expert_ops(
    layer: Experts, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Router, dispatch, the experts' products and what stands beside them."""
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    sent = rows * layer.per_token
    width = hidden if layer.latent_size is None else layer.latent_size
    inner, matrices = layer.intermediate_size, 2.0 if layer.gated else 1.0
    kernels, moves = (implementation.activation_kernels, implementation.activation_moves) if layer.gated else (1.0, 2.0)
    each = numbers.activation_bytes
    ops = [
        gemm("router", rows, layer.count, hidden, weight_bytes=numbers.head_bytes, activation_bytes=each),
        pointwise("dispatch", layer.count * rows, moves=8.0, kernels=implementation.routing_kernels, bytes_each=4.0),
        pointwise("combine", width * sent, moves=6.0, kernels=0.0, bytes_each=each),
        _product("experts_up", layer, rows, (matrices * inner, width), implementation, numbers),
        pointwise("activation", inner * sent, moves=moves, kernels=kernels, bytes_each=each),
        _product("experts_down", layer, rows, (width, inner), implementation, numbers),
    ]  # fmt: skip
    if implementation.expert_kernels:
        ops.append(_loop(layer, rows, implementation))
    if layer.latent_size is not None:
        ops += [gemm("latent_in", rows, width, hidden, **sizes), gemm("latent_out", rows, hidden, width, **sizes)]
    return ops


def shared_gate_ops(layer: Experts, hidden: Array, rows: Array, numbers: Numbers) -> list[OpCost]:
    """The sum of the shared layer's output with the experts', and the sigmoid on it where there is one."""
    each = numbers.activation_bytes
    if not layer.shared_gate:
        return [pointwise("shared_sum", hidden * rows, moves=3.0, kernels=1.0, bytes_each=each)]
    gate = gemm("shared_gate", rows, 1.0, hidden, weight_bytes=numbers.head_bytes, activation_bytes=each)
    return [gate, pointwise("shared_sum", hidden * rows, moves=5.0, kernels=3.0, bytes_each=each)]


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
    flops, weights = (2.0 * sent) * (n * k), touched * (n * k) * numbers.weight_bytes
    moved = sent * (n + k) * numbers.activation_bytes
    if implementation.expert_kernels or implementation.group_kernels:
        launches = touched + implementation.group_kernels * layer.count
        return OpCost(name, GEMM, flops, weights, 0.0, moved, launches, each, n, k, touched)
    tiled = touched * (ceil(each / TILE_ROWS) * TILE_ROWS)
    return OpCost(name, GEMM, flops, weights, 0.0, moved, 1.0, tiled, n, k)


def _loop(layer: Experts, rows: Array, implementation: Implementation) -> OpCost:
    """The launches, beside the two products, of a loop over the touched experts."""
    return OpCost("expert_loop", POINTWISE, kernels=implementation.expert_kernels * touched_experts(layer, rows))


def expert_parameters(layer: Experts, hidden: Array) -> Array:
    """Parameters of all experts, their router and what stands beside them; the shared layer is counted apart."""
    width = hidden if layer.latent_size is None else layer.latent_size
    matrices = 3.0 if layer.gated else 2.0
    each = (matrices * width) * layer.intermediate_size
    if layer.bias:
        each = each + (matrices - 1.0) * layer.intermediate_size + width
    total = layer.count * (each + hidden + (1.0 if layer.router_bias else 0.0))
    if layer.shared_gate:
        total = total + hidden
    if layer.latent_size is not None:
        total = total + 2.0 * hidden * width + ((width + hidden) if layer.latent_bias else 0.0)
    return total
