"""The traffic of adding to what a layer keeps of the positions it has seen."""

from ..formats import Numbers
from ..implementation import Implementation
from ..ops import POINTWISE, OpCost, walked
from ..step import Step
from .layer import Layer


def append_op(layer: Layer, step: Step, implementation: Implementation, numbers: Numbers) -> OpCost:
    """Append the new positions; a growing cache (`cache_copies`) reads and writes all that it holds.

    A cache in place has another layout than what the runtime computes, if that is a view: one kernel for keys and one
    for values, of half the values each.
    """
    kept = implementation.cache_copies * layer.kept_positions(step.cached_tokens, implementation)
    moved = layer.elements_per_position * (2.0 * step.batch_size * (kept + step.new_tokens) * numbers.cache_bytes)
    kernels = implementation.cache_kernels
    if implementation.cache_copies or not implementation.strided:
        return OpCost("kv_cache", POINTWISE, 0.0, 0.0, 0.0, moved, kernels)
    each = layer.elements_per_position * (0.5 * step.batch_size * step.new_tokens)
    steps = walked(each) * kernels
    return OpCost("kv_cache", POINTWISE, 0.0, 0.0, 0.0, moved, kernels, 0.0, 0.0, steps, strided=True)
