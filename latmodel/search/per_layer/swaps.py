"""Good choices of a per-layer search, quickly: a relaxed solution rounded, mended, and improved by exchanges."""

from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from .costs import LayerCosts
from .program import TOLERANCE, Core, LayerProgram, Limits

# Columns with the least reduced cost, of which every pair is tried at once.
PROMISING = 384
# A smaller gain than this share of the score is rounding.
NO_GAIN = 1e-12


@dataclass(frozen=True)
class Swaps:
    """Exchanges of one and of two layers' choices within limits."""

    program: LayerProgram
    limits: Limits

    @property
    def _costs(self) -> LayerCosts:
        return self.program.costs

    def excess(self, totals: Array, largest_bytes: Array) -> Array:
        """By what share sums break the limits; none of it where they are kept. Without a layer: infinity."""
        seconds, most = self.limits.tightened(-TOLERANCE)
        over = np.maximum(self._costs.peak_bytes(totals, largest_bytes) / most - 1.0, 0.0)
        if seconds is not None:
            over += np.maximum(self._costs.response(totals) / seconds - 1.0, 0.0)
        return np.where(totals[0] > 0.5, over, np.inf)

    def keeps(self, picked: Array) -> bool:
        """Whether a choice keeps the limits."""
        return not self.broken(picked)

    def broken(self, picked: Array) -> float:
        """By what share a choice breaks the limits."""
        return float(self.excess(self._costs.total(picked), self._costs.largest_bytes[:, picked].max(axis=1)))

    def mend(self, core: Core, picked: Array) -> Array | None:
        """Exchange one choice after another for the least loss of score per limit regained; None if that gets stuck."""
        picked = picked.copy()
        for _ in range(4 * picked.size):
            totals, delta, gain = self._moves(core, picked)
            excess = self.excess(totals, self._costs.largest_bytes[:, picked].max(axis=1))
            if not excess:
                return picked
            regained = np.minimum(excess, 1e300) - self.excess(totals[:, None] + delta, self._largest(core, picked))
            helps = np.flatnonzero(regained > 0.0)
            if not helps.size:
                return None
            price = np.where(gain[helps] < 0.0, gain[helps] / regained[helps], gain[helps] + regained[helps])
            best = helps[np.argmax(price)]
            picked[core.layer[best]] = core.choice[best]
        return None

    def improve(self, core: Core, reduced: Array, picked: Array) -> Array:
        """The best exchange of one layer's choice or of two layers', as long as there is one that gains."""
        few = core.take(np.sort(np.argsort(reduced, kind="stable")[:PROMISING]))
        apart = np.triu(few.layer[:, None] != few.layer[None, :])
        picked = picked.copy()
        while True:
            one, gain_one = self._best_one(core, picked)
            two, gain_two = self._best_two(few, apart, picked)
            if max(gain_one, gain_two) <= 0.0:
                return picked
            for layer, choice in one if gain_one >= gain_two else two:
                picked[layer] = choice

    def _moves(self, core: Core, picked: Array) -> tuple[Array, Array, Array]:
        """Sums of a choice, what each column put in its place adds to them, and what it gains."""
        now, scores = picked[core.layer], self.program.scores
        each = self._costs.each
        delta = each[:, core.choice] - each[:, now]
        return self._costs.total(picked), delta, scores[core.layer, core.choice] - scores[core.layer, now]

    def _largest(self, core: Core, picked: Array) -> Array:
        """The largest bytes of each kind of a choice with each column put in its place: [kinds, columns]."""
        largest = self._costs.largest_bytes[:, picked]
        others = np.repeat(largest.max(axis=1, keepdims=True), picked.size, axis=1)
        for kind, row in enumerate(largest):
            top = int(np.argmax(row))
            others[kind, top] = np.delete(row, top).max(initial=0.0)
        return np.maximum(others[:, core.layer], self._costs.largest_bytes[:, core.choice])

    def _best_one(self, core: Core, picked: Array) -> tuple[list[tuple[int, int]], float]:
        totals, delta, gain = self._moves(core, picked)
        kept = self.excess(totals[:, None] + delta, self._largest(core, picked)) == 0.0
        return self._best(core, np.flatnonzero(kept)[:, None], gain[kept], picked)

    def _best_two(self, few: Core, apart: Array, picked: Array) -> tuple[list[tuple[int, int]], float]:
        totals, delta, gain = self._moves(few, picked)
        pairs = np.argwhere(apart & (gain[:, None] + gain[None, :] > 0.0))
        first, second = pairs.T
        each = self._costs.largest_bytes
        # The largest before stays in the comparison: it may be what is exchanged, but seldom is.
        largest = np.maximum(
            np.maximum(each[:, few.choice[first]], each[:, few.choice[second]]),
            each[:, picked].max(axis=1, keepdims=True),
        )
        kept = self.excess(totals[:, None] + delta[:, first] + delta[:, second], largest) == 0.0
        return self._best(few, pairs[kept], (gain[first] + gain[second])[kept], picked)

    def _best(self, core: Core, moves: Array, gain: Array, picked: Array) -> tuple[list[tuple[int, int]], float]:
        """The move (columns to put in place) that gains most, and what; rounding is no gain."""
        score = np.abs(self.program.scores[np.arange(picked.size), picked]).sum()
        if not gain.size or gain.max() <= NO_GAIN * score:
            return [], 0.0
        best = int(np.argmax(gain))
        return [(int(core.layer[column]), int(core.choice[column])) for column in moves[best]], float(gain[best])
