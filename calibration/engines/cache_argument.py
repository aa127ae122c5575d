"""The name under which a module of Transformers takes its cache: it changed within release 5."""

import inspect
from typing import Any

# From 5.24 on it is `cache`; the others warn until 5.40 removes them (`cache_params`: of recurrent mixers).
NAMES = ("cache", "past_key_values", "cache_params")


def cache_argument(module: Any) -> str:
    """The first of `NAMES` that the module's `forward` has."""
    parameters = inspect.signature(module.forward).parameters
    return next((name for name in NAMES if name in parameters), "past_key_values")
