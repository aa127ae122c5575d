"""Per-layer search as a linear programme, relaxed or in whole numbers, solved by HiGHS through SciPy.

The response is convex in what the layers add, so it is the largest of its tangents; each tangent makes a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .errors import UsageError
from .layer_costs import LayerCosts, Tangent

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


class Relaxed(NamedTuple):
    """A linear programme solved with fractions: no choice scores more than `bound`, share of each column, and how much
    the bound falls by picking a column."""

    bound: float
    share: Array
    reduced: Array


class Solved(NamedTuple):
    """A programme solved in whole numbers (None: it has no solution, or none was found in time), and its bound."""

    picked: Array | None
    bound: float


class _Rows(NamedTuple):
    """Sparse rows that are at most their right sides, and rows that equal theirs."""

    upper: Any
    most: Array
    equal: Any
    right: Array


@dataclass(frozen=True)
class LayerProgram:
    """Columns: the pairs of a core, then prefill and decode-step seconds of the whole model, the largest transient, and
    for whole numbers how many layers there are of each host time.

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
        each = np.vstack((self.costs.each[1:], self.costs.transient_bytes))
        present = self.costs.sums.present
        beats = (each[:, :, None] <= each[:, None, :]).all(axis=0) & (present[:, None] == present[None, :])
        same, before = beats & beats.T, np.tri(present.size, k=-1, dtype=bool).T
        kept = np.isfinite(self.scores)
        for layer, row in enumerate(self.scores):
            better = (row[:, None] > row[None, :]) | ((row[:, None] == row[None, :]) & (~same | before))
            kept[layer] &= ~(beats & better).any(axis=0)
        return Core(*np.nonzero(kept))

    def relax(self, core: Core, limits: Limits, tangents: Sequence[Tangent]) -> Relaxed | None:
        """The programme with fractions of choices; None if even so nothing keeps the limits."""
        optimize, _ = _scipy()
        worth, scale = self._worth(core)
        rows = self._rows(core, limits, tangents)
        found = optimize.linprog(
            np.concatenate((-worth / scale, np.zeros(3))), rows.upper, rows.most, rows.equal, rows.right,
            bounds=[*[(0.0, None)] * (worth.size + 2), (self._least_transient(limits), None)], method="highs",
        )  # fmt: skip
        if found.x is None:
            return None
        share, reduced = found.x[: worth.size], found.lower.marginals[: worth.size]
        return Relaxed(-float(found.fun) * scale, share, reduced * scale)

    def integer(
        self, core: Core, limits: Limits, tangents: Sequence[Tangent], gap: float, time_limit_s: float
    ) -> Solved:
        """The programme in whole numbers; without a limit the quickest choice, its bound in negative seconds.

        Layers of each host time are counted by columns of their own: where the host binds, the solver then branches on
        how many layers there are instead of on which.
        """
        optimize, _ = _scipy()
        worth, scale = self._worth(core)
        if limits.seconds is None:
            worth, scale = np.zeros_like(worth), self.unit
        rows = self._rows(core, limits, tangents, self._host_classes())
        n, counts = worth.size, rows.upper.shape[1] - worth.size - 3
        time = np.array([1.0, self.costs.new, 0.0]) * (limits.seconds is None)
        found = optimize.milp(
            np.concatenate((-worth / scale, time, np.zeros(counts))),
            integrality=np.concatenate((np.ones(n), np.zeros(3), np.ones(counts))),
            bounds=optimize.Bounds(
                np.concatenate((np.zeros(n + 2), [self._least_transient(limits)], np.zeros(counts))),
                np.concatenate((np.ones(n), np.full(3, np.inf), np.full(counts, len(self.scores)))),
            ),
            constraints=[
                optimize.LinearConstraint(rows.upper, -np.inf, rows.most),
                optimize.LinearConstraint(rows.equal, rows.right, rows.right),
            ],
            options={"mip_rel_gap": gap, "time_limit": time_limit_s},
        )  # fmt: skip
        if found.mip_dual_bound is not None:
            bound = -float(found.mip_dual_bound) * scale
        else:
            bound = np.inf if found.status == 1 else -np.inf  # out of time, or no solution
        if limits.seconds is None:
            bound -= self.costs.fixed.prefill_s
        return Solved(None if found.x is None else self.read(core, found.x[:n]), bound)

    def read(self, core: Core, share: Array) -> Array:
        """The choice of each layer that has the largest share."""
        table = np.full(self.scores.shape, -1.0)
        table[core.layer, core.choice] = share
        return np.argmax(table, axis=1)

    def _worth(self, core: Core) -> tuple[Array, float]:
        worth = self.scores[core.layer, core.choice]
        return worth, max(float(np.abs(worth).max()), 1e-300)

    def _least_transient(self, limits: Limits) -> float:
        return self.costs.fixed.transient_bytes / limits.memory_bytes

    def _host_classes(self) -> Array:
        """Choices of equal host time in prefill and decode share a number."""
        s = self.costs.sums
        hosts = np.stack((s.present, s.prefill_host, s.decode_host), axis=1)
        return np.unique(hosts, axis=0, return_inverse=True)[1].ravel()

    def _rows(self, core: Core, limits: Limits, tangents: Sequence[Tangent], classes: Array | None = None) -> _Rows:
        """Tangents of prefill and of a decode step, the limit, memory, the number of layers, one choice each."""
        sparse, c, f, unit = _scipy()[1], self.costs, self.costs.fixed, self.unit
        s, place, n = c.sums, np.arange(core.layer.size), core.layer.size
        rows = [(plane / unit, (-1.0, 0.0, 0.0), 0.0) for plane in c.prefill_along()]
        for per_layer, around in map(c.step_along, tangents):
            rows.append((per_layer / unit, (0.0, -1.0, 0.0), -around / unit))
        if limits.seconds is not None:
            rows.append((np.zeros_like(s.present), (1.0, c.new, 0.0), (limits.seconds - f.prefill_s) / unit))
        room = 1.0 - f.held_bytes / limits.memory_bytes
        rows.append((s.held_bytes / limits.memory_bytes, (0.0, 0.0, 1.0), room))
        rows.append((-s.present, (0.0, 0.0, 0.0), -1.0))
        rows.append((s.present, (0.0, 0.0, 0.0), self._most_layers(limits, tangents)))
        upper = [np.concatenate((row[core.choice], others)) for row, others, _ in rows]
        layers = len(self.scores)
        widest = sparse.csr_matrix(
            (c.transient_bytes[core.choice] / limits.memory_bytes, (core.layer, place)), (layers, n)
        )
        matrix = sparse.vstack([
            sparse.csr_matrix(np.array(upper)), sparse.hstack([widest, np.tile([0.0, 0.0, -1.0], (layers, 1))])
        ])  # fmt: skip
        most = np.concatenate(([right for *_, right in rows], np.zeros(layers)))
        each = sparse.csr_matrix((np.ones(n), (core.layer, place)), (layers, n + 3))
        if classes is None:
            return _Rows(matrix.tocsr(), most, each, np.ones(layers))
        count = int(classes.max()) + 1
        counted = sparse.csr_matrix((np.ones(n), (classes[core.choice], place)), (count, n + 3))
        equal = sparse.bmat([[each, None], [counted, -sparse.eye(count)]])
        wide = sparse.hstack([matrix, sparse.csr_matrix((matrix.shape[0], count))])
        return _Rows(wide.tocsr(), most, equal.tocsr(), np.repeat([1.0, 0.0], (layers, count)))

    def _most_layers(self, limits: Limits, tangents: Sequence[Tangent]) -> float:
        """No more layers than this fit in the limit: a whole number, which the relaxed programme does not see.

        Each pair of a prefill plane and a tangent bounds the response from below by a sum over layers; the cheapest
        layer that is no gap, that many times, must keep the limit.
        """
        c, most = self.costs, float(len(self.scores))
        there = c.sums.present > 0.0
        if limits.seconds is None or not there.any():
            return most
        for prefill in c.prefill_along():
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
