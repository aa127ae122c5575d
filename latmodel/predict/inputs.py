"""What a user gives, checked, as the numbers that the formulas take."""

from typing import Any

import numpy as np

from ..arrays import Array, is_array
from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.config import MAX_DIMENSION, ModelConfig, Workload
from ..model.step import Step
from .target import Work


def read_any(model: Any, workload: Workload) -> tuple[Architecture, Workload]:
    """Whatever names a model as an architecture, and the workload with the model's own number format.

    Raises:
        UsageError: there is no such model, or its configuration cannot be read.
    """
    if not isinstance(model, (ModelConfig, Architecture)):  # a union would be made at every call
        from ..configs.models import read_model

        named = read_model(model)
        model, workload = named.model, named.under(workload)
    return model.architecture() if isinstance(model, ModelConfig) else model, workload


def work_of(workload: Workload) -> Work:
    """A checked workload as the numbers that the formulas take."""
    return Work(
        float(workload.prompt_tokens), float(workload.new_tokens), float(workload.batch_size),
        workload.logits == "all", workload.numbers(), float(workload.cached_tokens),
    )  # fmt: skip


def is_decode(step: Step) -> Array:
    """Whether one token follows a cache that holds something, row by row."""
    return (step.new_tokens == 1.0) & (step.cached_tokens >= 1.0)


def work_of_step(step: Step, workload: Workload) -> Work:
    """A step as the prompt that it is, or that a decode step follows: what a profile's measured ranges speak of."""
    decode, numbers = is_decode(step), workload.numbers()
    prompt, cached = step.new_tokens, step.cached_tokens
    if is_array(decode):
        prompt, cached = np.where(decode, cached, prompt), np.where(decode, 0.0, cached)
    elif decode:
        prompt, cached = cached, 0.0
    return Work(prompt, 1.0, step.batch_size, workload.logits == "all", numbers, cached)


def check_positions(model: Architecture, context: Array) -> None:
    """Refuse a context that the model has no positions for.

    Raises:
        UsageError: a model with a learned table of positions has fewer than the context.
    """
    longest = float(np.max(context))
    if not is_array(model.positions) and 0.0 < model.positions < longest:
        raise UsageError(f"{longest:g} positions: the model's table of positions has {model.positions:g}; cache fewer")


def check_step(step: Step) -> Step:
    """The step with its values as floats or float64 arrays.

    Raises:
        UsageError: one of them is not a whole number in range.
    """
    checked = {}
    for name, given in step._asdict().items():
        low = 0 if name == "cached_tokens" else 1
        try:
            value = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"step: {name} is not a number (got {str(given)[:40]!r})") from None
        if not np.all((value >= low) & (value <= MAX_DIMENSION) & (value == np.floor(value))):
            raise UsageError(
                f"step: {name} must be a whole number from {low} to {MAX_DIMENSION} (got {str(given)[:40]})"
            )
        checked[name] = float(value) if value.ndim == 0 else value
    return Step(**checked)
