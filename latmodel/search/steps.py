"""What one step more or less of each dimension changes: response, memory, parameters and quality."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..model.config import CONFIG_FIELDS, ModelConfig, Workload
from ..predict.columns import WORK_COLUMNS
from ..predict.predictor import Predictor
from ..quality import Score
from ..quality.shapes import with_counts

WIDTH_STEP = 64  # of widths and of the prompt: what a search steps by
VOCAB_STEP = 1024


class OneStep(NamedTuple):
    """A shape or workload one step away, and the differences that it makes."""

    dimension: str
    before: int
    after: int
    response_s: float
    response_change_s: float
    memory_change_bytes: float
    parameters_change: float
    quality_change: float

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        return self._asdict()


class Price(NamedTuple):
    """What relaxing a limit by 1 % buys, at the rate of the one step that buys most quality for it (a shadow price)."""

    limit: str
    relaxed_by: float  # seconds or bytes
    quality: float  # as it is
    quality_gain: float
    spent: float  # seconds or bytes that the step costs
    step: OneStep

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        return {**self._asdict(), "step": self.step.as_dict()}


def one_steps(predictor: Predictor, config: ModelConfig, workload: Workload, score: Score) -> list[OneStep]:
    """Every neighbour of a shape and workload, each one step away in one dimension.

    Depth, batch and new tokens step by 1, widths and the prompt by 64, the vocabulary by 1024; widths by what the
    weights' format must divide, where that is more. A KV head comes and goes with its group of query heads.
    """
    here = {**{name: int(getattr(config, name)) for name in CONFIG_FIELDS},
            **{name: int(getattr(workload, name)) for name in WORK_COLUMNS}}  # fmt: skip
    form = workload.numbers().format
    moves = list(_moves(here, WIDTH_STEP if form is None else max(WIDTH_STEP, form.multiple)))
    rows = [here, *(row for _, row in moves)]
    columns = {name: np.array([row[name] for row in rows]) for name in here}
    many = predictor.predict_many(columns, workload)
    quality = np.broadcast_to(score(with_counts({name: columns[name] for name in CONFIG_FIELDS})), len(rows))
    return [
        OneStep(
            name, here[name], row[name], float(many.response_s[i]), float(many.response_s[i] - many.response_s[0]),
            float(many.peak_memory_bytes[i] - many.peak_memory_bytes[0]),
            float(many.num_parameters[i] - many.num_parameters[0]), float(quality[i] - quality[0]),
        )
        for i, (name, row) in enumerate(moves, 1)
    ]  # fmt: skip


def _moves(here: dict[str, int], width_step: int) -> Iterator[tuple[str, dict[str, int]]]:
    group = here["num_attention_heads"] // here["num_key_value_heads"]
    sizes = {
        "num_hidden_layers": 1, "hidden_size": width_step, "intermediate_size": width_step, "vocab_size": VOCAB_STEP,
        "batch_size": 1, "prompt_tokens": WIDTH_STEP, "new_tokens": 1,
    }  # fmt: skip
    for name, size in sizes.items():
        for step in (size, -size):
            least = 0 if name == "new_tokens" else 1
            if here[name] + step >= least:
                yield name, {**here, name: here[name] + step}
    for step in (1, -1):
        kept = here["num_key_value_heads"] + step
        if kept >= 1:
            yield "num_key_value_heads", {**here, "num_key_value_heads": kept, "num_attention_heads": kept * group}


def prices(steps: list[OneStep], response_s: float, memory_bytes: float, quality: float) -> list[Price]:
    """What 1 % more response time and 1 % more memory buy."""
    bought = []
    for limit, whole, field in (
        ("response", response_s, "response_change_s"), ("memory", memory_bytes, "memory_change_bytes")
    ):  # fmt: skip
        rates: list[tuple[float, float, OneStep]] = []  # quality for what is spent, what is spent, the step
        for step in steps:
            spent = float(getattr(step, field))
            if step.dimension in CONFIG_FIELDS and step.quality_change > 0.0 < spent:
                rates.append((step.quality_change / spent, spent, step))
        if rates:
            rate, spent, best = max(rates, key=lambda one: one[0])
            bought.append(Price(limit, 0.01 * whole, quality, 0.01 * whole * rate, spent, best))
    return bought
