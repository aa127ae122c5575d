"""The drafts that may be chosen: their shapes, how often a token of theirs is accepted, and what each costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import UsageError
from ...model.architecture import Architecture, uniform
from ...model.config import CONFIG_FIELDS, ModelConfig, Workload
from ...model.memory import Memory
from ...predict.acceptance import expected_tokens
from ...predict.columns import check_columns
from ...predict.inputs import work_of
from ...predict.passes import pass_cost, step_times
from ...predict.predictor import Predictor
from ..goals import call
from ..space import Span, expand

# Drafts that are looked at where none are given: shallow and narrow, every other dimension as it is where left out.
LAYERS, HIDDEN_SIZES = Span(1, 24), Span(256, 4096, 128)
LOOKAHEADS = tuple(range(1, 9))
MOST_DRAFTS = 20_000

Acceptance = float | Array | Callable[[Mapping[str, Array]], Array]


@dataclass(frozen=True)
class Drafts:
    """Shapes of drafts by Hugging Face name, each with the probability that a token of its is accepted."""

    columns: Mapping[str, Array]
    acceptance: Array

    def __len__(self) -> int:
        return int(self.acceptance.size)

    @property
    def architecture(self) -> Architecture:
        """All of them as one, with arrays for dimensions."""
        return uniform(**{name: self.columns[name].astype(np.float64) for name in CONFIG_FIELDS})

    def config(self, row: int) -> ModelConfig:
        """The shape of one."""
        values: dict[str, Any] = {name: int(self.columns[name][row]) for name in CONFIG_FIELDS}
        return ModelConfig(**{**values, "tie_word_embeddings": bool(values["tie_word_embeddings"])})


def grid(
    vocab_size: int, layers: Sequence[int] | Span = LAYERS, hidden_sizes: Sequence[int] | Span = HIDDEN_SIZES
) -> dict[str, Array]:
    """Every depth with every hidden size, as columns.

    Raises:
        UsageError: a value is out of range.
    """
    depths, widths = expand("draft layers", layers), expand("draft hidden sizes", hidden_sizes)
    depth, width = (np.array(column, dtype=np.float64) for column in zip(*product(depths, widths), strict=True))
    return {"num_hidden_layers": depth, "hidden_size": width, "vocab_size": np.full(depth.size, float(vocab_size))}


def drafts_of(columns: Mapping[str, Array], acceptance: Acceptance, vocab_size: int) -> Drafts:
    """Drafts from columns of shapes, what is left out filled in, and what is known of their acceptance: a number, one
    for each shape, or a function of the columns.

    Raises:
        UsageError: there are too many, one has another vocabulary than its target, or an acceptance is not between 0
            and 1; the draft is named.
    """
    rows, whole = check_columns({"vocab_size": vocab_size, **columns})
    if rows > MOST_DRAFTS:
        raise UsageError(f"{rows} drafts: give at most {MOST_DRAFTS}")
    full = {name: np.broadcast_to(whole[name], (rows,)) for name in CONFIG_FIELDS}
    others = full["vocab_size"] != vocab_size
    if others.any():
        row = int(np.argmax(others))
        raise UsageError(
            f"draft {_named(full, row)} has a vocabulary of {full['vocab_size'][row]:.0f} tokens, its target one of "
            f"{vocab_size}: drafted tokens would mean nothing to it"
        )
    if callable(acceptance):
        chance = call(acceptance, str(getattr(acceptance, "__name__", "acceptance")), full)
    else:
        chance = np.array(np.broadcast_to(np.asarray(acceptance, dtype=np.float64), (rows,)))
    wrong = ~((chance >= 0.0) & (chance <= 1.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UsageError(f"acceptance of draft {_named(full, row)} must lie between 0 and 1 (got {chance[row]:g})")
    return Drafts(full, chance)


def _named(columns: Mapping[str, Array], row: int) -> str:
    return f"{columns['num_hidden_layers'][row]:.0f}x{columns['hidden_size'][row]:.0f}"


class DraftCosts(NamedTuple):
    """What drafts take with one lookahead: seconds of their prefill and of a step, tokens of a round, memory."""

    prefill_s: Array
    step_s: Array
    tokens: Array
    memory: Memory


def draft_costs(predictor: Predictor, drafts: Drafts, workload: Workload, lookahead: int) -> DraftCosts:
    """As `predict.generation` prices a draft under its target's workload, row by row."""
    work, model = work_of(workload), drafts.architecture
    target = predictor.target(workload.dtype, work.numbers.format)
    ahead = 0.5 * (lookahead - 1)
    first, last = (step._replace(cached_tokens=step.cached_tokens + ahead) for step in work.decode())
    step = pass_cost(model, first, work.logits_all, work.numbers, target, last=last).times(target)
    prefill = step_times(model, work.prefill(), False, work.numbers, target)
    memory = predictor.memory(model, work._replace(new=work.new + lookahead))
    tokens = np.array([expected_tokens(chance, lookahead) for chance in drafts.acceptance.tolist()])
    return DraftCosts(prefill.seconds, step.seconds, tokens, Memory(*(_rows(part, tokens) for part in memory)))


def _rows(value: Array, like: Array) -> Array:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), like.shape)
