"""Per-layer search as a linear programme, relaxed or in whole numbers, solved by HiGHS through SciPy.

The response is convex in what the layers add, so it is the largest of its tangents; each tangent makes a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import UsageError
from .costs import LayerCosts, Tangent

# A budget broken by no more than this share is kept: the rounding of sums.
TOLERANCE = 1e-9


class Limits(NamedTuple):
    """Longest response (None: no matter how long) and most memory at the peak."""

    seconds: float | None
    memory_bytes: float

    def tightened(self, share: float) -> "Limits":
        """Both less by a share."""
        return Limits(None if self.seconds is None else self.seconds * (1.0 - share), self.memory_bytes * (1.0 - share))


class Core(NamedTuple):
    """Which (layer, choice) pairs are columns."""

    layer: Array
    choice: Array

    def take(self, rows: Array) -> "Core":
        """Some of them."""
        return Core(self.layer[rows], self.choice[rows])


class Box(NamedTuple):
    """A part of all choices: how many layers may be of each host time, and what the largest bytes of each kind may be
    (`LayerCosts.largest_bytes`)."""

    least: Array
    most: Array
    low_bytes: Array
    high_bytes: Array


class Relaxed(NamedTuple):
    """A programme solved with fractions: no choice scores more than `bound`; share of each column, and how much the
    bound falls by picking it."""

    bound: float
    share: Array
    reduced: Array


class Solved(NamedTuple):
    """A programme solved in whole numbers (None: it has no solution, or none was found in time), and its bound."""

    picked: Array | None
    bound: float


class _Rows(NamedTuple):
    """Sparse rows that are at most their right sides, and rows of each layer that equal 1."""

    upper: Any
    most: Array
    each: Any


@dataclass(frozen=True)
class LayerProgram:
    """Columns: the pairs of a core, then prefill and decode-step seconds of the whole model, and its largest bytes of
    each kind.

    Attributes:
        scores: [layers, choices]; minus infinity forbids a choice.
        unit: seconds that make the rows of time about one.
    """

    costs: LayerCosts
    scores: Array
    unit: float

    def core(self) -> Core:
        """All that is allowed and may be in a best choice.

        Not what another choice of its layer beats: none worse in score, time and memory, equally present. Of equals
        the first is kept.
        """
        each = np.vstack((self.costs.each[1:], self.costs.largest_bytes))
        present = self.costs.sums.present
        beats = (each[:, :, None] <= each[:, None, :]).all(axis=0) & (present[:, None] == present[None, :])
        same, before = beats & beats.T, np.tri(present.size, k=-1, dtype=bool).T
        kept = np.isfinite(self.scores)
        for layer, row in enumerate(self.scores):
            better = (row[:, None] > row[None, :]) | ((row[:, None] == row[None, :]) & (~same | before))
            kept[layer] &= ~(beats & better).any(axis=0)
        return Core(*np.nonzero(kept))

    @cached_property
    def host_class(self) -> Array:
        """A number for each choice that those of equal host time share; no layer at all has one of its own."""
        s = self.costs.sums
        hosts = np.stack((s.present, s.prefill_host, s.decode_host), axis=1)
        return np.unique(hosts, axis=0, return_inverse=True)[1].ravel()

    def whole(self, limits: Limits, tangents: Sequence[Tangent]) -> Box:
        """All choices with one layer at least, and as many as fit."""
        layers, absent = len(self.scores), self.costs.sums.present == 0.0
        least, most = np.zeros(self.host_class.max() + 1), np.full(self.host_class.max() + 1, float(layers))
        least[self.host_class[absent]] = layers - self._most_layers(limits, tangents)
        most[self.host_class[absent]] = layers - 1.0
        own = self.costs.fixed.largest_bytes
        return Box(least, most, own, np.full_like(own, np.inf))

    def layers(self, box: Box) -> tuple[float, float]:
        """The fewest and the most layers of a model in a box."""
        absent = self.host_class[self.costs.sums.present == 0.0]
        if not absent.size:
            return float(len(self.scores)), float(len(self.scores))
        return max(len(self.scores) - box.most[absent[0]], 1.0), len(self.scores) - box.least[absent[0]]

    def relax(self, core: Core, box: Box, limits: Limits, tangents: Sequence[Tangent]) -> Relaxed | None:
        """The programme with fractions of choices; None if even so nothing keeps the limits."""
        optimize, _ = _scipy()
        worth, scale = self._worth(core)
        rows = self._rows(core, box, limits, tangents)
        solution = optimize.linprog(
            np.concatenate((-worth / scale, np.zeros(2 + box.low_bytes.size))), rows.upper, rows.most, rows.each,
            np.ones(len(self.scores)), method="highs",
            bounds=[*[(0.0, None)] * (worth.size + 2), *((low, None) for low in box.low_bytes / limits.memory_bytes)],
        )  # fmt: skip
        if solution.x is None:
            return None
        share, reduced = solution.x[: worth.size], solution.lower.marginals[: worth.size]
        return Relaxed(-float(solution.fun) * scale, share, reduced * scale)

    def integer(
        self, core: Core, box: Box, limits: Limits, tangents: Sequence[Tangent], gap: float, time_limit_s: float
    ) -> Solved:
        """The programme in whole numbers; without a limit the quickest choice, its bound in negative seconds."""
        optimize, _ = _scipy()
        worth, scale = self._worth(core)
        if limits.seconds is None:
            worth, scale = np.zeros_like(worth), self.unit
        rows, n = self._rows(core, box, limits, tangents), worth.size
        kinds = box.low_bytes.size
        time = np.array([1.0, self.costs.new, *[0.0] * kinds]) * (limits.seconds is None)
        least = [0.0, 0.0, *box.low_bytes / limits.memory_bytes]
        solution = optimize.milp(
            np.concatenate((-worth / scale, time)),
            integrality=np.repeat([1, 0], (n, 2 + kinds)),
            bounds=optimize.Bounds(np.concatenate((np.zeros(n), least)), np.repeat([1.0, np.inf], (n, 2 + kinds))),
            constraints=[
                optimize.LinearConstraint(rows.upper, -np.inf, rows.most),
                optimize.LinearConstraint(rows.each, 1.0, 1.0),
            ],
            options={"mip_rel_gap": gap, "time_limit": time_limit_s},
        )  # fmt: skip
        if solution.mip_dual_bound is not None:
            bound = -float(solution.mip_dual_bound) * scale
        else:
            bound = np.inf if solution.status == 1 else -np.inf  # out of time, or no solution
        if limits.seconds is None:
            bound -= self.costs.fixed.prefill_s
        return Solved(None if solution.x is None else self.read(core, solution.x[:n]), bound)

    def read(self, core: Core, share: Array) -> Array:
        """The choice of each layer that has the largest share."""
        table = np.full(self.scores.shape, -1.0)
        table[core.layer, core.choice] = share
        return np.argmax(table, axis=1)

    def _worth(self, core: Core) -> tuple[Array, float]:
        worth = self.scores[core.layer, core.choice]
        return worth, max(float(np.abs(worth).max()), 1e-300)

    def _rows(self, core: Core, box: Box, limits: Limits, tangents: Sequence[Tangent]) -> _Rows:
        """Tangents of prefill and of a decode step, the limit, memory, layers of each host time; one choice a layer.

        Where the last layer is cut short, the prefill is that of the fewest layers in the box: no more than it takes.
        """
        sparse, c, f, unit = _scipy()[1], self.costs, self.costs.fixed, self.unit
        kinds = len(c.largest_bytes)
        none, share = (0.0,) * kinds, float(c.prompt_share(self.layers(box)[0]))
        rows = [(plane / unit, (-1.0, 0.0, *none), 0.0) for plane in c.prefill_along(share)]
        for per_layer, around in map(c.step_along, tangents):
            rows.append((per_layer / unit, (0.0, -1.0, *none), -around / unit))
        if limits.seconds is not None:
            rows.append((np.zeros(len(c.blocks)), (1.0, c.new, *none), (limits.seconds - f.prefill_s) / unit))
        held = c.sums.held_bytes / limits.memory_bytes
        rows.append((held, (0.0, 0.0, *[1.0] * kinds), 1.0 - f.held_bytes / limits.memory_bytes))
        for number, (least, most) in enumerate(zip(box.least, box.most, strict=True)):
            counted = (self.host_class == number) * 1.0
            rows += [(-counted, (0.0, 0.0, *none), -least), (counted, (0.0, 0.0, *none), most)]
        upper = np.array([np.concatenate((row[core.choice], others)) for row, others, _ in rows])
        layers, n, place = len(self.scores), core.layer.size, np.arange(core.layer.size)
        parts = [upper]
        for kind, each in enumerate(c.largest_bytes):
            widest = sparse.csr_matrix((each[core.choice] / limits.memory_bytes, (core.layer, place)), (layers, n))
            column = np.zeros(2 + kinds)
            column[2 + kind] = -1.0
            parts.append(sparse.hstack([widest, np.tile(column, (layers, 1))]))
        return _Rows(
            sparse.vstack(parts).tocsr(),
            np.concatenate(([right for *_, right in rows], np.zeros(kinds * layers))),
            sparse.csr_matrix((np.ones(n), (core.layer, place)), (layers, n + 2 + kinds)),
        )

    def _most_layers(self, limits: Limits, tangents: Sequence[Tangent]) -> float:
        """No more layers than this fit in the limit: a whole number, which the relaxed programme does not see.

        Each pair of a prefill plane and a tangent bounds the response from below by a sum over layers; the cheapest
        layer that is no gap, that many times, must keep the limit. (One layer's share of the prompt is the least.)
        """
        c, most = self.costs, float(len(self.scores))
        there = c.sums.present > 0.0
        if limits.seconds is None or not there.any():
            return most
        for prefill in c.prefill_along(float(c.prompt_share(1.0))):
            for step, around in map(c.step_along, tangents):
                least = float((prefill + c.new * step)[there].min())
                room = limits.seconds * (1.0 + TOLERANCE) - c.fixed.prefill_s - c.new * around
                most = min(most, float(np.floor(room / max(least, 1e-300))))
        return max(most, 0.0)


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import optimize, sparse
    except ImportError:
        raise UsageError("per-layer search needs SciPy; run `pip install 'latmodel[search]'`") from None
    return optimize, sparse
