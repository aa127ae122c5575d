"""The grid that a page's sliders move over: every setting predicted, so that the page shows what `predict` says."""

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..errors import LatmodelError
from ..model.config import Workload
from ..model.defaults import fill_dimensions
from ..predict.prediction import BOUNDS
from ..predict.predictor import Predictor
from ..quality import score
from ..quality.shapes import with_counts

DEPTHS = (4, 8, 12, 16, 24, 32, 40, 48, 64, 80, 100)
WIDTHS = (512, 576, 768, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 8192)
FFN_RATIOS = (8 / 3, 4.0)
BATCHES = (1, 8, 32)
PROMPTS = (128, 512, 2048)
FORMATS = (None, "int4-awq", "fp8")
DIGITS = 9  # significant, of every value on the page


class Grid(NamedTuple):
    """Names and stops of the sliders, and of every setting, in the order of their product, what is predicted."""

    names: tuple[str, ...]
    stops: tuple[tuple[Any, ...], ...]
    values: dict[str, list[Any]]


def grid(predictor: Predictor, workload: Workload) -> Grid:
    """Predictions over depth, width, FFN, batch, prompt, weight format and the profile's runtimes.

    A number format that a runtime does not run has None for all that is predicted.
    """
    runtimes, formats = tuple(predictor.profile.runtimes), _formats(workload)
    shapes = np.array(list(product(DEPTHS, WIDTHS, FFN_RATIOS, BATCHES, PROMPTS)))
    layers, hidden, ratio, batch, prompt = shapes.T
    ffn = np.ceil(hidden * ratio / 64 - 1e-9) * 64
    columns = {"num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": ffn}
    parts = [
        _priced(predictor, workload, {**columns, "batch_size": batch, "prompt_tokens": prompt}, runtime, form)
        for runtime, form in product(runtimes, formats)
    ]
    values = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    filled = fill_dimensions(columns)
    effective = score("effective-params")(with_counts({n: np.broadcast_to(v, len(layers)) for n, v in filled.items()}))
    values["effective_parameters"] = _short(effective) * len(parts)
    return Grid(
        ("runtime", "weights", "layers", "width", "FFN ratio", "batch", "prompt"),
        (runtimes, formats, DEPTHS, WIDTHS, FFN_RATIOS, BATCHES, PROMPTS),
        values,
    )


def _formats(workload: Workload) -> tuple[str | None, ...]:
    own = workload.weights if isinstance(workload.weights, str) else None
    return tuple(dict.fromkeys((own, *FORMATS)))


FIELDS = (
    "num_parameters", "prefill_s", "decode_s_per_token", "response_s", "response_s_low", "response_s_high",
    "peak_memory_bytes", "bound",
)  # fmt: skip


def _priced(
    predictor: Predictor, workload: Workload, columns: dict[str, Any], runtime: str, form: str | None
) -> dict[str, list[Any]]:
    rows = len(columns["hidden_size"])
    try:
        one = Predictor(
            predictor.profile, runtime, predictor.interval.level, predictor.memory_bytes, attention=predictor.attention,
            host=predictor.host if runtime == predictor.runtime else None,
        )  # fmt: skip
        many = one.predict_many(columns, Workload(**{**workload.model_dump(), "weights": form}))
    except LatmodelError:
        return {name: [None] * rows for name in FIELDS}
    low, high = many.low_high("response")
    arrays = {
        "num_parameters": many.num_parameters, "prefill_s": many.prefill_s,
        "decode_s_per_token": many.decode_s_per_token, "response_s": many.response_s, "response_s_low": low,
        "response_s_high": high, "peak_memory_bytes": many.peak_memory_bytes,
    }  # fmt: skip
    bounds = [BOUNDS.index(name) for name in many.bound.tolist()]
    return {**{name: _short(array) for name, array in arrays.items()}, "bound": bounds}


def _short(values: Any) -> list[Any]:
    """Numbers of so many digits, None for what is not finite, whole numbers as such."""
    short = (float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in np.asarray(values).tolist())
    return [int(value) if value is not None and value.is_integer() else value for value in short]
