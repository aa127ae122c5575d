"""Latency of transformers from their shape: predict prefill and decode, search shapes within a budget."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .configs.huggingface import read_config as read_config
    from .device.profile import Profile as Profile
    from .model.config import ModelConfig as ModelConfig
    from .model.config import Workload as Workload
    from .model.step import Step as Step
    from .predict.prediction import Prediction as Prediction
    from .predict.prediction import Predictions as Predictions
    from .predict.predictor import Predictor as Predictor
    from .predict.step_prediction import StepPrediction as StepPrediction
    from .search.drafted.frontier import DraftedFrontier as DraftedFrontier
    from .search.drafted.search import frontier_with_draft as frontier_with_draft
    from .search.frontier import Frontier as Frontier
    from .search.goals import Objective as Objective
    from .search.goals import Scenario as Scenario
    from .search.per_layer.layers import search_layers as search_layers
    from .search.run import best_per_depth as best_per_depth
    from .search.run import frontier as frontier
    from .search.space import SearchSpace as SearchSpace
    from .search.space import Span as Span

# The public names, documented in docs/api.md, and where each lives; loaded when first used, so that `latmodel --help`
# starts at once.
_HOMES = {
    "DraftedFrontier": "search.drafted.frontier",
    "Frontier": "search.frontier",
    "ModelConfig": "model.config",
    "Objective": "search.goals",
    "Workload": "model.config",
    "Prediction": "predict.prediction",
    "Predictions": "predict.prediction",
    "Predictor": "predict.predictor",
    "Profile": "device.profile",
    "Scenario": "search.goals",
    "SearchSpace": "search.space",
    "Span": "search.space",
    "Step": "model.step",
    "StepPrediction": "predict.step_prediction",
    "best_per_depth": "search.run",
    "frontier": "search.run",
    "frontier_with_draft": "search.drafted.search",
    "read_config": "configs.huggingface",
    "search_layers": "search.per_layer.layers",
}
__all__ = [
    "DraftedFrontier", "Frontier", "ModelConfig", "Objective", "Prediction", "Predictions", "Predictor", "Profile",
    "Scenario", "SearchSpace", "Span", "Step", "StepPrediction", "Workload", "__version__", "best_per_depth",
    "frontier", "frontier_with_draft", "read_config", "search_layers",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'latmodel' has no attribute {name!r}")
    if name in (
        "Frontier",
        "best_per_depth",
        "frontier",
    ):  # `report` stands to the right of `search`: here it gives frontiers their plot
        import_module(".report.frontier_picture", __name__)
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
