"""Exact per-layer search: relaxed programmes bound it, exchanges find choices, branching closes the gap.

A relaxed programme gets the tangent that its solution breaks until it breaks none (Kelley 1960, "The cutting-plane
method for solving convex programs"). It is loose where layers are counted in fractions (the host's time is the same
for many blocks) and where the largest transient is: so those are branched on, best bound first (Land and Doig 1960,
"An automatic method of solving discrete programming problems"). A choice and a bound fix most columns: what lowers the
bound below the score found is in no better choice. What is left of a box in which nothing is loose is small, and
solved in whole numbers with tangents added where a solution breaks the limit (outer approximation, Duran and Grossmann
1986, "An outer-approximation algorithm for a class of mixed-integer nonlinear programs"). No step looks at the clock
but for the caller's own limit.
"""

import heapq
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import UsageError
from .costs import ENDS, Tangent
from .program import TOLERANCE, Box, Core, LayerProgram, Limits, Relaxed
from .swaps import Swaps

ROUNDS = 60
# Relaxed programmes are solved until their solution breaks the limit by no more than this share.
CLOSE = 1e-7
# Room for the solver's tolerance where a bound decides, and where a share is none.
SLACK = LOOSE = 1e-6


class _Node(NamedTuple):
    """A box still to look at, in the order of its heap: the highest bound first, of equal ones the first made."""

    negative_bound: float
    number: int
    box: Box
    core: Core


@dataclass
class _Search:
    """A search under way: the best choice so far with its score, boxes to look at, and a bound on those done with."""

    program: LayerProgram
    limits: Limits
    gap: float
    end_s: float
    tangents: list[Tangent] = field(default_factory=lambda: list(ENDS))
    picked: Array | None = None
    score: float = -np.inf
    settled: float = -np.inf
    nodes: list[_Node] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        self.swaps = Swaps(self.program, self.limits)

    @property
    def bound(self) -> float:
        """No choice scores more."""
        waiting = -self.nodes[0].negative_bound if self.nodes else -np.inf
        return max(waiting, self.settled, self.score)

    def open(self) -> bool:
        """Whether the gap is wider than asked, and there is time to close it."""
        wide = self.picked is None or self.bound - self.score > self.gap * abs(self.score)
        return wide and bool(self.nodes) and time.perf_counter() < self.end_s

    def push(self, bound: float, box: Box, core: Core) -> None:
        """Put a box among those to look at."""
        heapq.heappush(self.nodes, _Node(-bound, self.made, box, core))
        self.made += 1

    def step(self) -> None:
        """Look at the box with the highest bound: drop it, split it or solve it."""
        node = heapq.heappop(self.nodes)
        relaxed = self._relaxed(node)
        if relaxed is None or relaxed.bound <= self.score:
            return
        start = self.swaps.mend(node.core, self.program.read(node.core, relaxed.share))
        if start is not None:
            self._offer(self.swaps.improve(node.core, relaxed.reduced, start))
        room = relaxed.bound - self.score + SLACK * abs(relaxed.bound)
        kept = np.flatnonzero(relaxed.reduced <= room)
        core, boxes = node.core.take(kept), self._split(node, relaxed)
        for box in boxes:
            largest = self.program.costs.largest_bytes[:, core.choice]
            allowed = (largest <= box.high_bytes[:, None]).all(axis=0)
            self.push(relaxed.bound, box, core.take(np.flatnonzero(allowed)))
        if not boxes:
            self._settle(core, node.box, relaxed.bound)

    def _relaxed(self, node: _Node) -> Relaxed | None:
        """The relaxed programme with all the tangents that it needs."""
        costs = self.program.costs
        longest_s = np.inf if self.limits.seconds is None else self.limits.seconds * (1.0 + CLOSE)
        for _ in range(ROUNDS):
            relaxed = self.program.relax(node.core, node.box, self.limits, self.tangents)
            if relaxed is None:
                return None
            totals = costs.each[:, node.core.choice] @ relaxed.share
            tangent = costs.tangent(totals)
            if costs.response(totals) <= longest_s or tangent in self.tangents:
                break
            self.tangents.append(tangent)
        return relaxed

    def _split(self, node: _Node, relaxed: Relaxed) -> list[Box]:
        """The box in two where the relaxed programme is loose; nothing where it is not."""
        costs, box, used = self.program.costs, node.box, node.core.choice[relaxed.share > LOOSE]
        largest = costs.largest_bytes[:, used].max(axis=1)
        totals = costs.each[:, node.core.choice] @ relaxed.share
        kind = int(np.argmax(largest - box.low_bytes))
        if largest[kind] > box.low_bytes[kind] and costs.peak_bytes(totals, largest) > self.limits.memory_bytes:
            each, high, low = costs.largest_bytes[kind], box.high_bytes.copy(), box.low_bytes.copy()
            high[kind], low[kind] = each[each < largest[kind]].max(initial=0.0), largest[kind]
            return [box._replace(high_bytes=high), box._replace(low_bytes=low)]
        if costs.cuts_last and (boxes := self._by_layers(box, float(totals[0]))):
            return boxes
        classes = self.program.host_class
        counts = np.bincount(classes[node.core.choice], relaxed.share, minlength=box.least.size)
        number = int(np.argmax(np.abs(counts - np.rint(counts))))
        if abs(counts[number] - np.rint(counts[number])) <= LOOSE:
            return []
        most, least = box.most.copy(), box.least.copy()
        most[number], least[number] = np.floor(counts[number]), np.ceil(counts[number])
        return [box._replace(most=most), box._replace(least=least)]

    def _by_layers(self, box: Box, layers: float) -> list[Box]:
        """The box in two by how many layers are there; nothing where all its models have as many."""
        fewest, most = self.program.layers(box)
        if fewest >= most:
            return []
        number = self.program.host_class[self.program.costs.sums.present == 0.0][0]
        middle, every = min(max(np.floor(layers), fewest), most - 1.0), len(self.program.scores)
        few, many = box.least.copy(), box.most.copy()
        few[number], many[number] = every - middle, every - middle - 1.0
        return [box._replace(least=few), box._replace(most=many)]

    def _settle(self, core: Core, box: Box, bound: float) -> None:
        """Solve a box in whole numbers: solve, add the tangent that the solution breaks, solve again."""
        margin = 0.0
        for _ in range(ROUNDS):
            left_s = self.end_s - time.perf_counter()
            if left_s <= 0.0:
                break
            limits = self.limits.tightened(margin)
            solved = self.program.integer(core, box, limits, self.tangents, self.gap, left_s)
            if not margin:  # limits tightened bound nothing
                bound = min(bound, solved.bound)
            if solved.picked is None:
                break
            self._offer(solved.picked)
            if self.swaps.keeps(solved.picked):
                break
            tangent = self.program.costs.tangent(self.program.costs.total(solved.picked))
            if tangent not in self.tangents:
                self.tangents.append(tangent)
            else:  # broken by the solver's tolerance alone
                margin += TOLERANCE + self.swaps.broken(solved.picked)
        self.settled = max(self.settled, bound)

    def _offer(self, picked: Array) -> None:
        """Take a choice if it keeps the limits and is better."""
        score = float(self.program.scores[np.arange(picked.size), picked].sum())
        if score > self.score and self.swaps.keeps(picked):
            self.picked, self.score = picked, score


def best_choice(program: LayerProgram, limits: Limits, gap: float, time_limit_s: float) -> tuple[Array | None, float]:
    """The choice with the greatest score within the limits (None: there is none), and a bound on any choice's score.

    Raises:
        UsageError: nothing was found in the time given.
    """
    search = _Search(program, limits, gap, time.perf_counter() + time_limit_s)
    search.push(np.inf, program.whole(limits, ENDS), program.core())
    while search.open():
        search.step()
    if search.picked is None and search.bound > -np.inf:
        raise UsageError(f"the solver found nothing in {time_limit_s:g} s; give it more time_limit_s or a wider budget")
    return search.picked, search.bound


def quickest_choice(program: LayerProgram, memory_bytes: float) -> Array | None:
    """The choice that answers soonest; None if none fits in the memory."""
    core, tangents, limits = program.core(), list(ENDS), Limits(None, memory_bytes)
    box = program.whole(limits, tangents)
    for _ in range(ROUNDS):
        solved = program.integer(core, box, limits, tangents, CLOSE, np.inf)
        if solved.picked is None:
            return None
        totals = program.costs.total(solved.picked)
        tangent = program.costs.tangent(totals)
        if tangent in tangents or program.costs.response(totals) <= -solved.bound * (1.0 + 2.0 * CLOSE):
            break
        tangents.append(tangent)
    return solved.picked
