"""The same formulas on Torch tensors: latency as a term of a loss, differentiable in every continuous dimension.

    import latmodel.torch
    times = latmodel.torch.forecast(predictor, {"num_hidden_layers": 12, "hidden_size": hidden, ...}, smooth=True)
    loss = task_loss + weight * torch.relu(times.response_s / budget_s - 1.0)

Whole tiles, waves and alignment make latency a staircase, flat nearly everywhere. `smooth=True` prices a dimension as
an aligned shape of that size would be, one tile at the least: the lower edge of the stairs, which sizes that are
multiples of the tile reach.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch

from .arrays import SMOOTH, Array
from .errors import UsageError
from .model.architecture import Architecture, uniform
from .model.config import CONFIG_FIELDS, Workload
from .model.step import Step
from .model.totals import num_parameters
from .predict.forward import Forecast
from .predict.forward import forecast as priced
from .predict.inputs import work_of
from .predict.passes import PassTimes, pass_cost
from .predict.predictor import Predictor
from .predict.target import Target


def forecast(
    predictor: Predictor,
    model: Mapping[str, Any] | Architecture,
    workload: Workload | None = None,
    *,
    smooth: bool = False,
) -> Forecast:
    """Seconds of prefill, decode step and response, as tensors where the dimensions are tensors.

    Args:
        predictor: what prices the model.
        model: tensors or numbers by Hugging Face name, of any real value and broadcasting; or an `Architecture` of
            them, whose groups may differ.
        workload: prompt, new tokens, batch and number formats; the default `Workload` if None.
        smooth: without the steps of tiles, waves and alignment. Off, values equal `Predictor.predict_many`'s.

    Raises:
        UsageError: a dimension is missing or unknown, or the predictor uses a learned correction.
    """
    workload, shape = workload or Workload(), architecture(model)
    target = _uncorrected(predictor, workload)
    with _smoothed(smooth), _precision(shape):
        return priced(shape, work_of(workload), target)


def step(
    predictor: Predictor,
    model: Mapping[str, Any] | Architecture,
    step: Step,
    workload: Workload | None = None,
    *,
    smooth: bool = False,
) -> PassTimes:
    """Seconds of one pass, of its host and of its device, as tensors where the model or the step holds tensors.

    `new_tokens` is the number 1 for a decode step; a tensor of new tokens is a prefill. Of the workload only dtype,
    number formats and logits are used. `smooth` and errors as in `forecast`.
    """
    workload, shape = workload or Workload(), architecture(model)
    target = _uncorrected(predictor, workload)
    with _smoothed(smooth), _precision(shape):
        return pass_cost(shape, step, workload.logits == "all", workload.numbers(), target).times(target)


def _uncorrected(predictor: Predictor, workload: Workload) -> Target:
    target = predictor.target(workload.dtype, workload.numbers().format)
    if target.corrector is not None:
        raise UsageError("the profile's learned correction has no gradient; load the predictor with corrected=False")
    return target


def parameters(model: Mapping[str, Any] | Architecture) -> Array:
    """Parameters of the model, as a tensor where the dimensions are."""
    return num_parameters(architecture(model))


def architecture(model: Mapping[str, Any] | Architecture) -> Architecture:
    """Dimensions by name as an architecture; KV heads, head_dim and tying are filled in as for a `ModelConfig`.

    Raises:
        UsageError: a dimension is missing or unknown.
    """
    if isinstance(model, Architecture):
        return model
    unknown = sorted(model.keys() - set(CONFIG_FIELDS))
    if unknown:
        raise UsageError(f"unknown dimension {unknown[0]!r}; known: {', '.join(CONFIG_FIELDS)}")
    needed = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    for name in needed:
        if name not in model:
            raise UsageError(f"dimension {name!r} is missing")
    filled: dict[str, Any] = {k: v if isinstance(v, torch.Tensor) else float(v) for k, v in model.items()}
    filled.setdefault("num_key_value_heads", filled["num_attention_heads"])
    filled.setdefault("head_dim", filled["hidden_size"] / filled["num_attention_heads"])
    return uniform(**filled)


@contextmanager
def _precision(model: Architecture) -> Iterator[None]:
    """Torch's default dtype is that of the dimensions meanwhile: a mask times a number would else be rounded to it."""
    before = torch.get_default_dtype()
    wanted = next((value.dtype for value in _dimensions(model) if value.is_floating_point()), before)
    torch.set_default_dtype(wanted)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _dimensions(model: Architecture) -> Iterator[torch.Tensor]:
    """Every tensor among the dimensions."""
    holders: list[Any] = [model, *model.groups, *(layer for group in model.groups for layer in group.block.layers)]
    for holder in holders:
        for field in fields(holder):
            value = getattr(holder, field.name)
            if isinstance(value, torch.Tensor):
                yield value


@contextmanager
def _smoothed(smooth: bool) -> Iterator[None]:
    token = SMOOTH.set(smooth)
    try:
        yield
    finally:
        SMOOTH.reset(token)
