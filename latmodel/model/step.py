"""One forward pass as the operators see it: rows, context, and the query-key pairs that attention computes."""

from typing import NamedTuple

from ..arrays import Array, minimum
from .ops import ATTENTION, OpKind


class Step(NamedTuple):
    """One forward pass: `tokens` new positions for each of `batch` sequences, `context` positions once they are in."""

    batch: Array
    tokens: Array
    context: Array
    phase: str  # "prefill" or "decode"

    @property
    def rows(self) -> Array:
        """Rows of every activation matrix."""
        return self.batch * self.tokens

    @property
    def attention_kind(self) -> OpKind:
        """The kind of attention operator that the step runs."""
        return ATTENTION[self.phase]


def attended_pairs(step: Step, window: Array | None) -> Array:
    """Query-key pairs of one causal head and sequence: Σ min(position, window) over the new positions.

    Half a square in prefill, `context` in decode; what a sliding window hides is not counted.
    """
    return _pairs_up_to(step.context, window) - _pairs_up_to(step.context - step.tokens, window)


def _pairs_up_to(length: Array, window: Array | None) -> Array:
    seen = length if window is None else minimum(length, window)
    return 0.5 * seen * (seen + 1.0) + (length - seen) * seen


def seen_positions(step: Step, window: Array | None) -> Array:
    """Positions whose keys some query of the pass attends to."""
    return step.context if window is None else minimum(step.context, window + step.tokens - 1.0)
