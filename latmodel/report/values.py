"""What an objective of a search is for one model that the search did not find: a baseline, a named model."""

import numpy as np

from ..model.architecture import Architecture
from ..model.config import ModelConfig
from ..predict.prediction import Prediction
from ..quality.shapes import with_counts
from ..search.goals import Objective
from .rows import shape_fields

FIELDS = {
    "params": "num_parameters", "response": "response_s", "prefill": "prefill_s", "decode": "decode_s_per_token",
    "memory": "peak_memory_bytes",
}  # fmt: skip


def objective_value(one: Objective, model: ModelConfig | Architecture, prediction: Prediction) -> float | None:
    """The model's value, or None where it has none: a function of shapes needs a plain shape."""
    if callable(one.metric):
        if not isinstance(model, ModelConfig):
            return None
        columns = {name: np.array([value]) for name, value in shape_fields(model).items()}
        score = getattr(one.metric, "score", None)
        return float(np.asarray(one.metric(columns) if score is None else score(with_counts(columns)))[0])
    if one.name not in FIELDS or one.scenario is not None:
        return None
    return float(getattr(prediction, FIELDS[one.name]))
