"""Predictors with coefficients written by hand, for tests of the search: no file, no fit."""

from typing import Any

from latmodel import Predictor, Profile
from latmodel.laws.float8 import FLOAT8_PRIORS
from latmodel.laws.priors import DEVICE_PRIORS, GRAPH_PRIORS, RUNTIME_PRIORS


def toy_predictor(*, float8: bool = False, **changes: float) -> Predictor:
    """A device with round figures (71e12 FLOP/s, 936e9 B/s, 82 SMs, 24 GiB); `changes` override coefficients.

    With `float8` it multiplies 8-bit floats too, at twice the rate.
    """
    device = {name: {"value": changes.get(name, prior.value)} for name, prior in DEVICE_PRIORS.items()}
    runtime = {name: {"value": changes.get(name, prior.value)} for name, prior in RUNTIME_PRIORS.items()}
    runtime |= {name: {"value": changes[name]} for name in GRAPH_PRIORS if name in changes}
    profile: dict[str, Any] = {
        "schema_version": 2,
        "name": "toy",
        "gpu": "toy",
        "title": "Toy",
        "device": {
            "sheet": {
                "peak_flops_per_s": {"bfloat16": 71e12},
                "bandwidth_bytes_per_s": 936e9,
                "memory_bytes": 24.0 * 2**30,
                "sm_count": 82.0,
                "cache_bytes": 6e6,
                "source": "made up",
            },
            "coefficients": {"bfloat16": device},
        },
        "runtimes": {
            "eager": {
                "implementation": "transformers",
                "host": "none",
                "coefficients": runtime,
                "conformal_scores": {"prefill": [0.1] * 20, "decode": [0.1] * 20, "response": [0.1] * 20},
                "ranges": {"num_hidden_layers": [10, 80], "hidden_size": [512, 8192]},
            }
        },
        "quality": {"kind": "data-sheet"},
        "provenance": {"source": "made up", "date": "2025-01-01", "rows": "none", "made_by": "tests"},
    }
    if float8:
        profile["device"]["sheet"]["peak_flops_per_s"]["float8"] = 142e12
        eight = {name: {"value": changes.get(f"float8.{name}", prior.value)} for name, prior in FLOAT8_PRIORS.items()}
        profile["device"]["coefficients"]["float8"] = eight
    import json

    return Predictor(Profile.model_validate_json(json.dumps(profile)))
