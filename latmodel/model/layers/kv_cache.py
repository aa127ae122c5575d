"""The traffic of adding to what a layer keeps of the positions it has seen."""

from ..formats import Numbers
from ..implementation import Implementation
from ..ops import POINTWISE, OpCost
from ..step import Step
from .layer import Layer


def append_op(layer: Layer, step: Step, implementation: Implementation, numbers: Numbers) -> OpCost:
    """Append the new positions; a growing cache (`cache_copies`) reads and writes all that it holds.

    A cache in place has another layout than what the runtime computes, if that is a view: one kernel for keys and one
    for values, of half the values each.
    """
    kernels, new, held = implementation.cache_kernels, step.new_tokens, layer.elements_per_position
    if implementation.strided and not implementation.cache_copies:
        rows = step.batch_size * new
        moved = held * (2.0 * rows * numbers.cache_bytes)
        half = 0.5 * rows  # keys in one kernel, values in the other
        return OpCost("kv_cache", POINTWISE, 0.0, 0.0, 0.0, moved, kernels, half, held, held, 1.0, 1.0, None, True)
    kept = implementation.cache_copies * layer.kept_positions(step.cached_tokens, implementation)
    moved = held * (2.0 * step.batch_size * (kept + new) * numbers.cache_bytes)
    return OpCost("kv_cache", POINTWISE, 0.0, 0.0, 0.0, moved, kernels)
