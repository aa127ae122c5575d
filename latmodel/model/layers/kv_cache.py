"""The traffic of adding to what a layer keeps of the positions it has seen."""

from ..formats import Numbers
from ..implementation import Implementation
from ..ops import POINTWISE, OpCost
from ..step import Step
from .layer import Layer


def append_op(layer: Layer, step: Step, implementation: Implementation, numbers: Numbers) -> OpCost:
    """Append the new positions; a growing cache (`cache_copies`) reads and writes all that it holds."""
    kept = implementation.cache_copies * layer.kept_positions(step.cached_tokens, implementation)
    moved = layer.elements_per_position * (2.0 * step.batch_size * (kept + step.new_tokens) * numbers.cache_bytes)
    return OpCost("kv_cache", POINTWISE, 0.0, 0.0, 0.0, moved, implementation.cache_kernels)
