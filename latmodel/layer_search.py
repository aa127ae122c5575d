"""Exact per-layer search: a relaxed programme bounds it, exchanges find a choice, whole numbers settle what is left.

The relaxed programme gets the tangent that its solution breaks until it breaks none (Kelley 1960, "The cutting-plane
method for solving convex programs"). A choice and the bound then fix most columns: what lowers the bound below the
score found is in no better choice. Only if the gap is still too wide, the columns left are solved in whole numbers,
with tangents added where a solution breaks the limit (outer approximation, Duran and Grossmann 1986, "An
outer-approximation algorithm for a class of mixed-integer nonlinear programs"). No step looks at the clock but for the
caller's own limit.
"""

import time
from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .errors import UsageError
from .layer_costs import ENDS, Tangent
from .layer_program import TOLERANCE, Core, LayerProgram, Limits, Relaxed
from .layer_swaps import Swaps

ROUNDS = 60
# Relaxed programmes are solved until their solution breaks the limit by no more than this share.
CLOSE = 1e-7
# Room for the solver's tolerance where a bound decides.
SLACK = 1e-6


@dataclass
class _Known:
    """The best choice so far with its score, and a bound on every score."""

    program: LayerProgram
    swaps: Swaps
    picked: Array | None = None
    score: float = -np.inf
    bound: float = np.inf

    def offer(self, picked: Array | None) -> None:
        """Take a choice if it keeps the limits and is better."""
        if picked is None or not self.swaps.keeps(picked):
            return
        score = float(self.program.scores[np.arange(picked.size), picked].sum())
        if score > self.score:
            self.picked, self.score = picked, score

    def within(self, gap: float) -> bool:
        """Whether no choice can score more by this share."""
        return self.picked is not None and self.bound - self.score <= gap * abs(self.score)


def best_choice(program: LayerProgram, limits: Limits, gap: float, time_limit_s: float) -> tuple[Array | None, float]:
    """The choice with the greatest score within the limits (None: there is none), and a bound on any choice's score.

    Raises:
        UsageError: nothing was found in the time given.
    """
    end_s = time.perf_counter() + time_limit_s
    tangents: list[Tangent] = list(ENDS)
    core = program.core()
    relaxed = _relaxed(program, core, limits, tangents)
    if relaxed is None:
        return None, -np.inf
    known = _Known(program, Swaps(program, limits), bound=relaxed.bound)
    start = known.swaps.mend(core, program.read(core, relaxed.share))
    if start is not None:
        known.offer(known.swaps.improve(core, relaxed.reduced, start))
    if not known.within(gap):
        room = known.bound - known.score + SLACK * abs(known.bound)
        _settle(known, core.take(np.flatnonzero(relaxed.reduced <= room)), tangents, gap, end_s)
    if known.picked is None and known.bound > -np.inf:
        raise UsageError(f"the solver found nothing in {time_limit_s:g} s; give it more time_limit_s or a wider budget")
    return known.picked, known.bound


def _relaxed(program: LayerProgram, core: Core, limits: Limits, tangents: list[Tangent]) -> Relaxed | None:
    """The relaxed programme with all the tangents that it needs, which are added to the list."""
    longest_s = np.inf if limits.seconds is None else limits.seconds * (1.0 + CLOSE)
    for _ in range(ROUNDS):
        relaxed = program.relax(core, limits, tangents)
        if relaxed is None:
            return None
        totals = program.costs.each[:, core.choice] @ relaxed.share
        tangent = program.costs.tangent(totals)
        if program.costs.response(totals) <= longest_s or tangent in tangents:
            break
        tangents.append(tangent)
    return relaxed


def _settle(known: _Known, core: Core, tangents: list[Tangent], gap: float, end_s: float) -> None:
    """Solve the core in whole numbers: solve, add the tangent that the solution breaks, solve again."""
    program, swaps, margin = known.program, known.swaps, 0.0
    for _ in range(ROUNDS):
        left_s = end_s - time.perf_counter()
        if left_s <= 0.0:
            return
        found = program.integer(core, swaps.limits.tightened(margin), tangents, gap, left_s)
        if not margin:  # limits tightened bound nothing
            known.bound = min(known.bound, max(found.bound, known.score))
        if found.picked is None:
            return
        known.offer(found.picked)
        if swaps.keeps(found.picked):
            return
        totals = program.costs.total(found.picked)
        tangent = program.costs.tangent(totals)
        if tangent not in tangents:
            tangents.append(tangent)
        else:  # broken by the solver's tolerance alone
            margin += TOLERANCE + swaps.broken(found.picked)


def quickest_choice(program: LayerProgram, memory_bytes: float) -> Array | None:
    """The choice that answers soonest; None if none fits in the memory."""
    core, tangents, limits = program.core(), list(ENDS), Limits(None, memory_bytes)
    for _ in range(ROUNDS):
        found = program.integer(core, limits, tangents, CLOSE, np.inf)
        if found.picked is None:
            return None
        totals = program.costs.total(found.picked)
        tangent = program.costs.tangent(totals)
        if tangent in tangents or program.costs.response(totals) <= -found.bound * (1.0 + 2.0 * CLOSE):
            break
        tangents.append(tangent)
    return found.picked
