"""One forward pass as the operators see it: rows, context, and the query-key pairs that attention computes."""

from dataclasses import dataclass
from typing import Literal

from ..arrays import Array, indicator, is_array, minimum
from .ops import ATTENTION, OpKind
from .record import Record

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Step(Record):
    """One forward pass: `new_tokens` positions for each of `batch_size` sequences over `cached_tokens` seen before.

    A prefill has an empty cache; a decode step is one new token over a cache that is not. A pass of several tokens over
    a cache (a cached prefix, a chunk of a prompt, the check of drafted tokens) is priced as a prefill that attends to
    the cache too: vLLM runs the prompt's attention kernel there, whose tiles of 128 queries do not split the context
    (RTX 4090, casys-kaist/LLMServingSim@5daddb2: 16 queries over 4096 positions take 137 us, one takes 24). A runtime
    whose kernel splits the context for a few queries is faster.

    Values are numbers or arrays that broadcast; those of one step are all of one phase.
    """

    new_tokens: Array
    cached_tokens: Array = 0.0
    batch_size: Array = 1.0

    @property
    def phase(self) -> Phase:
        """Which laws price the pass; a cache given as an array is one that holds something."""
        if is_array(self.new_tokens) or self.new_tokens != 1.0:
            return "prefill"
        return "decode" if is_array(self.cached_tokens) or self.cached_tokens else "prefill"

    @property
    def needs_mask(self) -> Array:
        """1 where several tokens follow a cache: which of its positions each sees, no kernel's causal switch says."""
        new, cached = self.new_tokens, self.cached_tokens
        if (type(new) is float and new <= 1.0) or (type(cached) is float and cached <= 0.0):
            return 0.0  # a prompt or a decode step of plain numbers: asked for most of the time
        return indicator((new > 1.0) & (cached > 0.0), self.context)

    @property
    def context(self) -> Array:
        """Positions of a sequence once the new ones are in."""
        return self.cached_tokens + self.new_tokens

    @property
    def rows(self) -> Array:
        """Rows of every activation matrix."""
        return self.batch_size * self.new_tokens

    @property
    def attention_kind(self) -> OpKind:
        """The kind of attention operator that the step runs."""
        return ATTENTION[self.phase]


def attended_pairs(step: Step, window: Array | None) -> Array:
    """Query-key pairs of one causal head and sequence: Σ min(position, window) over the new positions.

    Half a square in prefill, `context` in decode; what a sliding window hides is not counted.
    """
    return _pairs_up_to(step.context, window) - _pairs_up_to(step.cached_tokens, window)


def _pairs_up_to(length: Array, window: Array | None) -> Array:
    seen = length if window is None else minimum(length, window)
    return 0.5 * seen * (seen + 1.0) + (length - seen) * seen


def seen_positions(step: Step, window: Array | None) -> Array:
    """Positions whose keys some query of the pass attends to."""
    return step.context if window is None else minimum(step.context, window + step.new_tokens - 1.0)
