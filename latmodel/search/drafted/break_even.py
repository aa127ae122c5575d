"""With one acceptance for all drafts the least would always win: what each draft must reach to pay at all."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array
from ...model.architecture import Architecture
from ...model.config import CONFIG_FIELDS, Workload
from ...model.totals import num_parameters
from ...predict.acceptance import break_even_acceptance
from ...predict.inputs import work_of
from ...predict.passes import pass_cost
from ...predict.predictor import Predictor
from .drafts import LOOKAHEADS, Drafts, draft_costs, drafts_of, grid


class BreakEven(NamedTuple):
    """A draft for one target: its step, the least acceptance at which it pays, and what it gains at the one given."""

    draft: dict[str, int]
    num_parameters: float
    draft_step_s: float
    break_even_acceptance: float | None  # at the best lookahead for it, which is `pays_with`; None: it never pays
    pays_with: int | None
    acceptance: float
    speedup: float  # of decoding, at `lookahead`, the best for that acceptance
    lookahead: int

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        return self._asdict()


def break_even(
    predictor: Predictor,
    target: Architecture,
    acceptance: float,
    workload: Workload,
    *,
    drafts: Mapping[str, Array] | None = None,
    lookaheads: Sequence[int] = LOOKAHEADS,
) -> list[BreakEven]:
    """Every draft for a target, those that pay from the least acceptance on first.

    A draft pays where a token of a round takes less than one a pass; both prompts and the memory are not looked at.

    Raises:
        UsageError: a draft has another vocabulary, or the acceptance is not between 0 and 1.
    """
    vocabulary = int(target.vocab_size)
    known = drafts_of(grid(vocabulary) if drafts is None else drafts, acceptance, vocabulary)
    plain_s, step_s = _decode_s(predictor, target, workload), draft_costs(predictor, known, workload, 1).step_s
    sizes = np.broadcast_to(num_parameters(known.architecture), (len(known),))
    rounds = {k: _round(predictor, target, known, workload, k) for k in sorted(set(lookaheads))}
    rows = [
        BreakEven(
            known.config(row).model_dump(include=set(CONFIG_FIELDS)), float(sizes[row]), float(step_s[row]),
            *_least({k: break_even_acceptance(float(seconds[row]), plain_s, k) for k, (seconds, _) in rounds.items()}),
            acceptance,
            *max((plain_s * float(tokens[row] / seconds[row]), k) for k, (seconds, tokens) in rounds.items()),
        )
        for row in range(len(known))
    ]  # fmt: skip
    return sorted(rows, key=lambda one: (one.break_even_acceptance is None, one.break_even_acceptance or 0.0))


def _round(
    predictor: Predictor, target: Architecture, drafts: Drafts, workload: Workload, lookahead: int
) -> tuple[Array, Array]:
    """Seconds and tokens of a round with each draft."""
    work = work_of(workload)
    on = predictor.target(workload.dtype, work.numbers.format)
    first, last = (one._replace(new_tokens=lookahead + 1.0) for one in work.decode())
    check = pass_cost(target, first, True, work.numbers, on, last=last).times(on)
    costs = draft_costs(predictor, drafts, workload, lookahead)
    return lookahead * costs.step_s + float(check.seconds), costs.tokens


def _decode_s(predictor: Predictor, target: Architecture, workload: Workload) -> float:
    """Seconds of the mean decode step without a draft."""
    work = work_of(workload)
    on = predictor.target(workload.dtype, work.numbers.format)
    first, last = work.decode()
    return float(pass_cost(target, first, work.logits_all, work.numbers, on, last=last).times(on).seconds)


def _least(by_lookahead: Mapping[int, float | None]) -> tuple[float | None, int | None]:
    """The least acceptance that pays, and the lookahead with which it does."""
    paying = [(value, k) for k, value in by_lookahead.items() if value is not None]
    return min(paying) if paying else (None, None)
