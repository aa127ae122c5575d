"""What a shape costs to train, as limits and objectives of a search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from ..model.architecture import uniform
from ..model.config import CONFIG_FIELDS
from ..predict.predictor import Predictor
from .goals import Objective

if TYPE_CHECKING:
    from ..predict.training import Training, TrainingPlan

# Metric → what it is of a training. All grow with a shape.
TRAINED: dict[str, "Callable[[Training], Array]"] = {
    "training-flops": lambda cost: cost.flops,
    "gpu-hours": lambda cost: cost.device_hours,
    "training-memory": lambda cost: cost.memory_bytes,
}


@dataclass(frozen=True)
class TrainingMeasure:
    """One of `TRAINED` as a search wants it: a function of Hugging Face names."""

    metric: str
    plan: "TrainingPlan"
    peak_flops_per_s: float
    dtype: str
    monotone: bool = True

    @property
    def __name__(self) -> str:
        return self.metric.replace("-", "_")

    def __call__(self, shapes: Mapping[str, Array]) -> Array:
        """The cost of each shape."""
        from ..predict.training import training

        columns: dict[str, Any] = {name: np.asarray(shapes[name], dtype=np.float64) for name in CONFIG_FIELDS}
        return TRAINED[self.metric](training(uniform(**columns), self.plan, self.peak_flops_per_s, self.dtype))


def training_objective(metric: str, predictor: Predictor, plan: "TrainingPlan", dtype: str) -> Objective:
    """A cost of training as an objective, to be made small or limited; on the predictor's device.

    Raises:
        UsageError: there is no such cost, or the plan cannot be.
        ProfileError: the device has no peak for the dtype.
    """
    if metric not in TRAINED:
        raise UsageError(f"{metric[:40]!r} is none of {', '.join(TRAINED)}")
    peak = predictor.profile.sheet(dtype).peak_flops_per_s
    return Objective(TrainingMeasure(metric, plan.checked(), peak, dtype), maximise=False)
