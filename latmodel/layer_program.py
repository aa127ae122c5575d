"""Per-layer search as an integer linear programme, solved by HiGHS through SciPy, with tangents added as they break."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .architecture import Architecture, Block, Group
from .arrays import Array
from .config import Workload
from .errors import UsageError
from .forward import block_cost, head_cost
from .predict import Predictor, work_of
from .timeline import mean_overlapped

ROUNDS = 60
MIN_SOLVE_S = 1.0
# Scaled rows are kept to 1e-7 by the solver; a budget broken by no more than this share is kept.
TOLERANCE = 1e-9


# Slopes of a decode step in host, first and last device seconds.
Tangent = tuple[float, float, float]


class Sums(NamedTuple):
    """What one layer of each choice adds: itself (0: left out), host and device seconds, bytes. One value a choice."""

    present: Array
    prefill_host: Array
    prefill_device: Array
    decode_host: Array
    first_device: Array
    last_device: Array
    held_bytes: Array
    transient_bytes: Array


class Fixed(NamedTuple):
    """What the parts around the layers add: to the response, to a decode step's timelines, to memory."""

    prefill_s: float
    decode_host: float
    decode_device: float
    held_bytes: float
    transient_bytes: float


class LayerProgram:
    """A per-layer search as an integer linear programme.

    Columns: one per layer and choice, then prefill and decode-step seconds of the whole model, then the transient.
    """

    def __init__(
        self, predictor: Predictor, blocks: tuple[Block, ...], shared: tuple[float, float, float],
        workload: Workload, scores: Array, memory_bytes: float,
    ) -> None:  # fmt: skip
        self.predictor, self.blocks, self.shared = predictor, blocks, shared
        self.workload, self.scores, self.memory_bytes = workload, scores, memory_bytes
        self.work = work_of(workload)
        self.target = predictor.target(workload.dtype)
        self.loss = self.target.runtime.overlap_loss
        self.layers, self.count = scores.shape
        self.sums, self.fixed = self._sums(), self._fixed()

    def _sums(self) -> Sums:
        r, hidden = self.target.runtime, self.shared[0]
        rows = []
        for block in self.blocks:
            present = float(block.attention is not None or block.feed_forward is not None)
            cost = block_cost(block, hidden, self.work, self.target)
            memory = self.predictor.memory(self.model([(present, block)]), self.work)
            bare = self.predictor.memory(self.model([]), self.work)
            decode_host = cost.first.kernels * r.launch_s + r.block_s
            rows.append((
                present,
                present * (cost.prefill.kernels * r.launch_s + r.block_s + r.prefill_block_s),
                present * cost.prefill.seconds, present * decode_host,
                present * cost.first.seconds, present * cost.last.seconds,
                memory.weight_bytes - bare.weight_bytes + memory.cache_bytes,
                memory.transient_bytes if present else 0.0,
            ))  # fmt: skip
        return Sums(*np.array(rows, dtype=np.float64).T)

    def _fixed(self) -> Fixed:
        r, model = self.target.runtime, self.model([])
        head = head_cost(model, self.work, self.target)
        memory = self.predictor.memory(model, self.work)
        host, device = head.prefill.kernels * r.launch_s, head.prefill.seconds
        return Fixed(
            max(host, device) + self.loss * min(host, device) + r.pass_s,
            head.first.kernels * r.launch_s + r.pass_s + r.token_s,
            head.first.seconds,
            memory.weight_bytes + memory.overhead_bytes,
            memory.transient_bytes,
        )

    def model(self, groups: Sequence[tuple[float, Block]]) -> Architecture:
        """Groups of blocks with the head around them."""
        return Architecture(tuple(Group(count, block) for count, block in groups), *self.shared)

    def response(self, picked: Array) -> float:
        """Seconds of a choice (one block for each layer), by adding."""
        s, f, loss = Sums(*(column[picked].sum() for column in self.sums)), self.fixed, self.loss
        prefill = max(s.prefill_host, s.prefill_device) + loss * min(s.prefill_host, s.prefill_device) + f.prefill_s
        step = mean_overlapped(
            s.decode_host + f.decode_host, s.first_device + f.decode_device, s.last_device + f.decode_device, loss
        )
        return float(prefill + self.work.new * step)

    def solve(self, budget_s: float | None, gap: float, time_limit_s: float) -> tuple[Array | None, float]:
        """The best choice within the budget (None: there is none) and a bound on any choice's score.

        Solve, add the tangent that a solution breaks, solve again. Without a budget, the choice of least response.
        """
        unit = budget_s or self.response(np.zeros(self.layers, dtype=np.int64))
        tangents = [(1.0, 0.0, 0.0), (0.0, 0.5, 0.5)]  # all of a step bound by the host; all of it by the device
        limit, bound, end_s = budget_s, np.inf, time.perf_counter() + time_limit_s
        for _ in range(ROUNDS):
            # Half of what is left for each solve: a later one must still be able to mend a broken budget.
            left_s = max(0.5 * (end_s - time.perf_counter()), MIN_SOLVE_S)
            picked, found = self._milp(limit, unit, tangents, gap, left_s)
            bound = found if limit == budget_s else bound  # a limit tightened below the budget bounds nothing
            if picked is None:
                return None, -np.inf
            if budget_s is None:
                lower = bound
                if self.response(picked) <= -lower * unit * (1.0 + 1e-7) + 1e-15:
                    return picked, bound
            elif self.response(picked) <= budget_s * (1.0 + TOLERANCE):
                return picked, bound
            tangent = self._tangent(picked)
            if tangent in tangents:  # broken by the solver's tolerance alone
                if budget_s is None:
                    return picked, bound
                limit = float(limit or unit) - (self.response(picked) - budget_s) - TOLERANCE * budget_s
            tangents.append(tangent)
        raise UsageError(f"the budget could not be met in {ROUNDS} rounds; widen it a little")

    def _tangent(self, picked: Array) -> Tangent:
        """Slopes of a decode step's mean max(host, device) in host, first and last device seconds at a choice.

        The device grows evenly from first to last; from the share t of the step on, it exceeds the host:
        t, (1 - t)² / 2 and (1 - t²) / 2.
        """
        host = self.sums.decode_host[picked].sum() + self.fixed.decode_host
        first = self.sums.first_device[picked].sum() + self.fixed.decode_device
        last = self.sums.last_device[picked].sum() + self.fixed.decode_device
        t = float(np.clip((host - first) / max(last - first, 1e-300), 0.0, 1.0))
        return t, (1.0 - t) ** 2 / 2.0, (1.0 - t * t) / 2.0

    def _milp(
        self, limit_s: float | None, unit: float, tangents: Sequence[Tangent], gap: float,
        time_limit_s: float,
    ) -> tuple[Array | None, float]:  # fmt: skip
        """One linear programme: best choice, and the bound on its objective (negative seconds/unit without a limit)."""
        optimize, sparse = _scipy()
        size = self.layers * self.count
        rows, low, high = self._rows(unit, limit_s, tangents)
        if limit_s is not None:
            rows.append(np.concatenate((np.zeros(size), [1.0, self.work.new, 0.0])))
            low.append(-np.inf)
            high.append((limit_s - self.fixed.prefill_s) / unit)
        ones = sparse.kron(sparse.eye(self.layers), np.ones((1, self.count)))
        transient = sparse.kron(sparse.eye(self.layers), self.sums.transient_bytes[None, :] / self.memory_bytes)
        each = sparse.hstack([ones, sparse.csr_matrix((self.layers, 3))])
        widest = sparse.hstack([transient, np.zeros((self.layers, 2)), np.full((self.layers, 1), -1.0)])
        matrix = sparse.vstack([sparse.csr_matrix(np.array(rows)), each, widest]).tocsr()
        bottom = np.concatenate((low, np.ones(self.layers), np.full(self.layers, -np.inf)))
        top = np.concatenate((high, np.ones(self.layers), np.zeros(self.layers)))
        allowed = np.isfinite(self.scores).ravel()
        worth = np.where(allowed, self.scores.ravel(), 0.0)
        scale = max(np.abs(worth).max(), 1e-300)
        objective = np.concatenate((-worth / scale, np.zeros(3)))
        if limit_s is None:
            objective = np.concatenate((np.zeros(size), [1.0, self.work.new, 0.0]))
        least = self.fixed.transient_bytes / self.memory_bytes
        found = optimize.milp(
            objective,
            integrality=np.concatenate((np.ones(size), np.zeros(3))),
            bounds=optimize.Bounds(
                np.concatenate((np.zeros(size), [0.0, 0.0, least])), np.concatenate((allowed * 1.0, [np.inf] * 3))
            ),
            constraints=optimize.LinearConstraint(matrix, bottom, top),
            options={"mip_rel_gap": gap, "time_limit": time_limit_s},
        )
        if found.x is None:
            if found.status == 1:
                raise UsageError(f"the solver found nothing in {time_limit_s:g} s; give it more time_limit_s")
            return None, -np.inf
        dual = found.mip_dual_bound if found.mip_dual_bound is not None else found.fun
        if limit_s is None:
            return self._read(found.x), -(dual + self.fixed.prefill_s / unit)
        return self._read(found.x), -dual * scale

    def _read(self, solution: Array) -> Array:
        return np.argmax(solution[: self.layers * self.count].reshape(self.layers, self.count), axis=1)

    def _rows(
        self, unit: float, limit_s: float | None, tangents: Sequence[Tangent]
    ) -> tuple[list[Array], list[float], list[float]]:
        """Rows of the programme: tangents of prefill and of a decode step, memory, at least one layer. In `unit`s."""
        s, f, loss = self.sums, self.fixed, self.loss
        rows, high = [], []
        for host, device in ((1.0, loss), (loss, 1.0)):  # max(h, d) + loss · min(h, d)
            rows.append(self._row((host * s.prefill_host + device * s.prefill_device) / unit, (-1.0, 0.0, 0.0)))
            high.append(0.0)
        for tangent in tangents:
            per_layer, around = self._step(tangent)
            rows.append(self._row(per_layer / unit, (0.0, -1.0, 0.0)))
            high.append(-around / unit)
        rows.append(self._row(s.held_bytes / self.memory_bytes, (0.0, 0.0, 1.0)))
        high.append(1.0 - f.held_bytes / self.memory_bytes)
        low = [-np.inf] * len(rows)
        rows.append(self._row(s.present, (0.0, 0.0, 0.0)))
        return rows, [*low, 1.0], [*high, self._most_layers(unit, limit_s, tangents)]

    def _most_layers(self, unit: float, limit_s: float | None, tangents: Sequence[Tangent]) -> float:
        """No more layers than this fit in the limit: a whole number, which the solver's relaxation does not see.

        Each pair of a prefill row and a tangent bounds the response from below by a sum over layers; the cheapest
        layer that is no gap, that many times, must keep the limit.
        """
        s, f, loss, most = self.sums, self.fixed, self.loss, float(self.layers)
        if limit_s is None or not s.present.any():
            return most
        for host, device in ((1.0, loss), (loss, 1.0)):
            prefill = host * s.prefill_host + device * s.prefill_device
            for tangent in tangents:
                step, around = self._step(tangent)
                least = (prefill + self.work.new * step)[s.present > 0.0].min()
                room = limit_s * (1.0 + TOLERANCE) - f.prefill_s - self.work.new * around
                most = min(most, np.floor(room / max(least, 1e-300)))
        return max(most, 0.0)

    def _step(self, tangent: Tangent) -> tuple[Array, float]:
        """Seconds that a tangent gives a decode step: of a layer of each choice, and of what is around the layers."""
        s, f, loss = self.sums, self.fixed, self.loss
        host, first, last = np.array(tangent) * (1.0 - loss) + loss * np.array([1.0, 0.5, 0.5])
        per_layer = host * s.decode_host + first * s.first_device + last * s.last_device
        return per_layer, float(host * f.decode_host + (first + last) * f.decode_device)

    def _row(self, per_choice: Array, others: tuple[float, float, float]) -> Array:
        return np.concatenate((np.tile(per_choice, self.layers), others))


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import optimize, sparse
    except ImportError:
        raise UsageError("per-layer search needs SciPy; run `pip install 'latmodel[search]'`") from None
    return optimize, sparse
