"""What fits a device's memory: the largest batch at a context, and the longest context at a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..model.architecture import Architecture
from ..model.config import MAX_DIMENSION, ModelConfig, Workload
from .inputs import work_of
from .predictor import Predictor


class Capacity(NamedTuple):
    """Largest batch at the workload's context, longest context (cached, prompt, new tokens) at its batch; 0: none."""

    largest_batch: int
    longest_context: int

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        return self._asdict()


def capacity(predictor: Predictor, model: ModelConfig | Architecture, workload: Workload) -> Capacity:
    """The largest batch and the longest context whose peak fits the memory of the predictor's device.

    The longest context keeps the new tokens and lengthens the prompt. Both are capped at 1e7; weights, cache,
    transients and the runtime's own memory count as in a prediction.
    """
    architecture = model.architecture() if isinstance(model, ModelConfig) else model
    work = work_of(workload)

    def fits(**changes: Any) -> bool:
        peak = predictor.memory(architecture, work._replace(**changes)).peak_bytes
        return bool(peak <= predictor.memory_bytes)

    batch = largest(lambda value: fits(batch=float(value)))
    prompt = largest(lambda value: fits(prompt=float(value)))
    return Capacity(batch, prompt + workload.new_tokens + workload.cached_tokens if prompt else 0)


def largest(fits: Callable[[int], bool], limit: int = MAX_DIMENSION) -> int:
    """The largest whole number up to `limit` for which `fits` holds, 0 if none; it must hold below where it holds."""
    low, high = 0, 1
    while high < limit and fits(high):
        low, high = high, min(2 * high, limit)
    if high == limit and fits(limit):
        return limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
