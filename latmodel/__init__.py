"""Latency of transformers from their shape: predict prefill and decode, search shapes within a budget."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .config import ModelConfig as ModelConfig
    from .config import Workload as Workload
    from .predict import Predictor as Predictor
    from .prediction import Prediction as Prediction
    from .prediction import Predictions as Predictions
    from .profile import Profile as Profile
    from .search.pareto import Frontier as Frontier
    from .search.pareto import frontier as frontier
    from .search.space import SearchSpace as SearchSpace
    from .search.space import Span as Span

# Where each public name lives; loaded when first asked for, so that `latmodel --help` starts at once.
_HOMES = {
    "Frontier": "search.pareto",
    "ModelConfig": "config",
    "Workload": "config",
    "Prediction": "prediction",
    "Predictions": "prediction",
    "Predictor": "predict",
    "Profile": "profile",
    "SearchSpace": "search.space",
    "Span": "search.space",
    "frontier": "search.pareto",
}
__all__ = [
    "Frontier", "ModelConfig", "Prediction", "Predictions", "Predictor", "Profile", "SearchSpace", "Span", "Workload",
    "__version__", "frontier",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'latmodel' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
