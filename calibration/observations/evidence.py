"""Measured times as evidence for a fit: rows of one kind, and the prediction of `latmodel`'s own formulas for them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latmodel.arrays import Array
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, uniform
from latmodel.model.config import CONFIG_FIELDS, DTYPE_BYTES
from latmodel.model.formats import Numbers
from latmodel.predict.forward import (
    Cost,
    Load,
    block_load,
    forecast,
    growing_loads,
    head_cost,
    host_seconds,
    respond,
)
from latmodel.predict.target import Target, Work
from latmodel.predict.timeline import overlapped

from .decoder_config import DecoderConfig
from .record import Observation, shape_of

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Rows that one formula predicts: `predict(target)` gives seconds for each of `seconds`; `noise` in log units.

    `shapes` names what a row is of: a formula that misses a shape misses all its rows, whatever they time. Where it is
    empty, each row is off by itself.
    """

    name: str
    runtime: str
    predict: Callable[[Target], Array]
    seconds: Vector
    noise: Vector
    index: tuple[int, ...]  # where each row stands in the list it was made from
    shapes: tuple[str, ...] = ()


def evidence(observations: Sequence[Observation]) -> list[Evidence]:
    """Observations grouped by the formula that predicts them.

    Raises:
        UsageError: observations of several dtypes (fit them apart), or of a kind that no formula predicts.
    """
    dtypes = sorted({row.dtype for row in observations})
    if len(dtypes) > 1:
        raise UsageError(f"observations of {dtypes[0]} and {dtypes[1]} do not mix; fit one dtype at a time")
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(observations):
        over_cache = "over a cache" if row.cached_tokens else ""  # several queries attend in another way
        key = (row.runtime, row.part, row.phase, row.timing, row.logits, row.config or "", over_cache)
        groups.setdefault(key, []).append(index)
    return [_group(key, rows, [observations[i] for i in rows]) for key, rows in groups.items()]


def _group(key: tuple[str, ...], index: list[int], rows: list[Observation]) -> Evidence:
    runtime, part, phase, timing, logits, _config, _over_cache = key
    formula = FORMULAS.get((part, phase, timing))
    if formula is None:
        raise UsageError(f"no formula predicts part={part}, phase={phase}, timing={timing} ({rows[0].name or 'row'})")
    model, work = model_of(rows), work_of(rows, logits == "all")
    return Evidence(
        name=f"{part}/{phase}/{timing}",
        runtime=runtime,
        predict=lambda target: formula(model, work, target),
        seconds=np.array([row.seconds for row in rows]),
        noise=np.array([row.noise for row in rows]),
        index=tuple(index),
        shapes=tuple(map(shape_of, rows)),
    )


def model_of(rows: Sequence[Observation]) -> Architecture:
    """The architectures of the rows as one, with arrays for dimensions; rows with a configuration share it."""
    if rows[0].config is not None:
        return DecoderConfig(rows[0].config).architecture()
    return uniform(**{name: _column(rows, name) for name in CONFIG_FIELDS})


def work_of(rows: Sequence[Observation], logits_all: bool) -> Work:
    """The workloads of the rows as one, with arrays."""
    size = DTYPE_BYTES[rows[0].dtype]
    prompt, new, batch = (_column(rows, name) for name in ("prompt_tokens", "new_tokens", "batch_size"))
    cached = _column(rows, "cached_tokens") if rows[0].cached_tokens else 0.0
    return Work(prompt, new, batch, logits_all, Numbers(size, size, size), cached)


def _column(rows: Iterable[Observation], name: str) -> Any:
    return np.array([float(getattr(row, name)) for row in rows])


# A row is of one phase: the other one's operators, and the head's where no head ran, cost nothing here. `forward` puts
# what is left together, as it does everything.
_NOTHING = Load(0.0, 0.0, 0.0)
_NO_HEAD = Cost(_NOTHING, _NOTHING, _NOTHING)


def _prompt_cost(model: Architecture, work: Work, target: Target) -> Cost:
    """All blocks, in prefill alone."""
    step, total = work.prefill(), _NOTHING
    for group in model.groups:
        total = total.plus(block_load(group.block, model.hidden_size, step, work.numbers, target).times(group.count))
    return Cost(total, _NOTHING, _NOTHING)


def _steps_cost(model: Architecture, work: Work, target: Target) -> Cost:
    """All blocks, in the first and the last decode step alone."""
    first, last, ends = _NOTHING, _NOTHING, work.decode()
    for group in model.groups:
        loads = growing_loads(group.block, model.hidden_size, *ends, work.numbers, target)
        first, last = (one.plus(more.times(group.count)) for one, more in zip((first, last), loads, strict=True))
    return Cost(_NOTHING, first, last)


def _prefill(model: Architecture, work: Work, target: Target) -> Array:
    blocks, head = _prompt_cost(model, work, target), head_cost(model, work, target)
    return respond(model.num_hidden_layers, blocks, head, work, target).prefill_s


def _forward(model: Architecture, work: Work, target: Target) -> Array:
    blocks, head = _steps_cost(model, work, target), head_cost(model, work, target)
    return respond(model.num_hidden_layers, blocks, head, work, target).forward_s


def _step(model: Architecture, work: Work, target: Target) -> Array:
    blocks, head = _steps_cost(model, work, target), head_cost(model, work, target)
    return respond(model.num_hidden_layers, blocks, head, work, target).step_s


def _response(model: Architecture, work: Work, target: Target) -> Array:
    return forecast(model, work, target).response_s


def _blocks_prefill(model: Architecture, work: Work, target: Target) -> Array:
    blocks = _prompt_cost(model, work, target)
    return respond(model.num_hidden_layers, blocks, _NO_HEAD, work, target).prefill_blocks_s


def _blocks_decode(model: Architecture, work: Work, target: Target) -> Array:
    blocks = _steps_cost(model, work, target)
    return respond(model.num_hidden_layers, blocks, _NO_HEAD, work, target).decode_blocks_s


def _device_prefill(model: Architecture, work: Work, target: Target) -> Array:
    return _prompt_cost(model, work, target).prefill.seconds


def _device_decode(model: Architecture, work: Work, target: Target) -> Array:
    cost = _steps_cost(model, work, target)
    return 0.5 * (cost.first.seconds + cost.last.seconds)


def _host_prefill(model: Architecture, work: Work, target: Target) -> Array:
    return host_seconds(model.num_hidden_layers, _prompt_cost(model, work, target), target)[0]


def _host_decode(model: Architecture, work: Work, target: Target) -> Array:
    return host_seconds(model.num_hidden_layers, _steps_cost(model, work, target), target)[1]


def _head_prefill(model: Architecture, work: Work, target: Target) -> Array:
    head = head_cost(model, work, target).prefill
    return overlapped(head.kernels * target.runtime.launch_s, head.seconds, target.runtime.overlap_loss)


def _head_decode(model: Architecture, work: Work, target: Target) -> Array:
    head = head_cost(model, work, target).first
    return overlapped(head.kernels * target.runtime.launch_s, head.seconds, target.runtime.overlap_loss)


Formula = Callable[[Architecture, Work, Target], Array]
FORMULAS: dict[tuple[str, str, str], Formula] = {
    ("model", "prefill", "wall"): _prefill,
    ("model", "decode", "wall"): _forward,
    ("model", "decode", "loop"): _step,
    ("model", "response", "loop"): _response,
    ("blocks", "prefill", "wall"): _blocks_prefill,
    ("blocks", "decode", "wall"): _blocks_decode,
    ("blocks", "prefill", "device"): _device_prefill,
    ("blocks", "decode", "device"): _device_decode,
    ("blocks", "prefill", "host"): _host_prefill,
    ("blocks", "decode", "host"): _host_decode,
    ("head", "prefill", "wall"): _head_prefill,
    ("head", "decode", "wall"): _head_decode,
}
