"""The exact frontier of targets, each with the draft and the lookahead that answer soonest within the memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import BudgetError, UsageError
from ...model.config import CONFIG_FIELDS, MAX_DIMENSION, Workload
from ...predict.predictor import Predictor
from ...units import show_seconds
from ..archive import Front
from ..branch_and_bound import Search
from ..goals import TIMES, Corner, Limit, Objective, measures
from ..job import SAMPLE, Job
from ..run import DEFAULT_QUALITY, QualityLike, job_of, measure_of
from ..space import SearchSpace
from ..tables import PART_ENTRIES, SLACK, Tables, parts, thinned
from .check import CheckTables, check_tables
from .drafts import LOOKAHEADS, Acceptance, DraftCosts, Drafts, draft_costs, drafts_of, grid
from .envelope import Envelope, envelope
from .frontier import DraftedFrontier


class Round(NamedTuple):
    """Drafts with one lookahead: what each costs, and the envelope of the quickest."""

    lookahead: int
    costs: DraftCosts
    slope: Array
    offset: Array
    least: Envelope

    @classmethod
    def of(cls, predictor: Predictor, drafts: Drafts, workload: Workload, lookahead: int) -> "Round":
        """Every draft with this lookahead."""
        costs = draft_costs(predictor, drafts, workload, lookahead)
        slope = workload.new_tokens / costs.tokens
        offset = costs.prefill_s + slope * lookahead * costs.step_s
        kept = costs.memory.weight_bytes + costs.memory.cache_bytes
        return cls(lookahead, costs, slope, offset, envelope(slope, offset, kept))


class Choice(NamedTuple):
    """What answers soonest for each target: seconds, lookahead and draft; 0 and −1 where none is quicker."""

    seconds: Array
    lookahead: Array
    draft: Array


@dataclass(frozen=True)
class Together:
    """A target's response with whatever draft is best: a measure of a search, to be made small."""

    objective: Objective
    rounds: Sequence[Round]
    checks: Sequence[CheckTables]
    memory_bytes: float

    def of(self, shapes: Corner) -> Array:
        """Seconds of shapes."""
        return self.choose(shapes).seconds

    def bound(self, low: Corner, high: Corner) -> Array:
        """No more than the seconds of any shape between two corners: all that is added grows with a shape."""
        del high
        seconds = self._choose(low, exact=False).seconds
        return seconds - SLACK * np.abs(seconds) - 1e-300

    def choose(self, shapes: Corner) -> Choice:
        """The quickest way of each shape; a token a pass where no draft is quicker."""
        return self._choose(shapes, exact=True)

    def _choose(self, shapes: Corner, *, exact: bool) -> Choice:
        forecast = shapes.forecast(0)
        best = np.array(forecast.response_s)
        lookahead, draft = np.zeros(best.shape, dtype=np.int64), np.full(best.shape, -1, dtype=np.int64)
        for one, check in zip(self.rounds, self.checks, strict=True):
            memory = check.memory(shapes)
            kept = memory.weight_bytes + memory.cache_bytes
            room = self.memory_bytes - kept - memory.transient_bytes - memory.overhead_bytes
            check_s = check.seconds(shapes)
            least, index = one.least.least(check_s, room)
            if exact:
                self._refit(one, check_s, self.memory_bytes - kept, memory.transient_bytes, memory.overhead_bytes,
                            least, index)  # fmt: skip
            seconds = forecast.prefill_s + least
            better = seconds < best
            best = np.where(better, seconds, best)
            lookahead, draft = np.where(better, one.lookahead, lookahead), np.where(better, index, draft)
        return Choice(best, lookahead, draft)

    @staticmethod
    def _refit(
        one: Round, check_s: Array, beside: Array, transient: Array, overhead: Array, least: Array, index: Array
    ) -> None:
        """Choose anew where the draft's own transient is the larger one and does not fit beside the target."""
        m = one.costs.memory
        kept = m.weight_bytes + m.cache_bytes
        chosen = np.maximum(index, 0)
        needed = kept[chosen] + np.maximum(transient, m.transient_bytes[chosen])
        needed = needed + np.maximum(overhead, m.overhead_bytes[chosen])
        for row in np.flatnonzero((index >= 0) & (needed > beside)).tolist():
            need = kept + np.maximum(transient[row], m.transient_bytes)
            need = need + np.maximum(np.broadcast_to(overhead, check_s.shape)[row], m.overhead_bytes)
            seconds = np.where(need <= beside[row], one.offset + one.slope * check_s[row], np.inf)
            index[row] = int(np.argmin(seconds)) if np.isfinite(seconds).any() else -1
            least[row] = seconds.min(initial=np.inf)


def frontier_with_draft(
    predictor: Predictor,
    acceptance: Acceptance,
    space: SearchSpace | None = None,
    workload: Workload | None = None,
    *,
    drafts: Mapping[str, Array] | None = None,
    lookaheads: Sequence[int] = LOOKAHEADS,
    budget_s: float | None = None,
    memory_bytes: float | None = None,
    quality: QualityLike = DEFAULT_QUALITY,
    tokens: float | None = None,
    limits: Sequence[Limit] = (),
) -> DraftedFrontier:
    """The exact frontier of quality and response where each target has the draft and lookahead that suit it best.

    Response and memory are those of `predict --draft`: both models' prompts, rounds of `lookahead` drafted tokens and a
    check, both models in memory. A target that answers soonest a token a pass has no draft.

    Args:
        predictor: what prices both models.
        acceptance: how often a draft's token is accepted: one for each draft, or a function of the columns of drafts
            that returns as many. With one number for all the least draft would always win: see `break_even`.
        space: shapes of targets; of one vocabulary, which drafts share.
        workload: prompt, new tokens, batch and number formats, of both models.
        drafts: columns of their dimensions; every depth to 24 with every width to 4096 if None.
        lookaheads: tokens that a draft may give a round.
        budget_s: seconds that a response may take; None for no limit.
        memory_bytes: what both models may take at their peak; the predictor's device if None.
        quality: as for `frontier`, of the target.
        tokens: training tokens, for a score that is a loss.
        limits: more that every target must keep, of its size or memory alone.

    Raises:
        BudgetError: no target keeps the budget, whatever its draft.
        UsageError: several vocabularies, lookaheads or acceptances out of range, or limits of times.
    """
    quality, space = measure_of(quality, tokens, space, None)
    _check(lookaheads, limits)
    job = job_of(predictor, space, workload, None, memory_bytes, quality, None, limits, (), False)
    vocabularies = set(job.space.stems.vocab_size.tolist())
    if len(vocabularies) > 1:
        raise UsageError("a draft shares its target's vocabulary: search one --vocab at a time")
    if not job.own.workload.new_tokens:
        raise UsageError("a draft is of tokens to generate, and there are none (--generate 0)")
    vocabulary = vocabularies.pop()
    known = drafts_of(grid(vocabulary) if drafts is None else drafts, acceptance, vocabulary)
    rounds = [Round.of(predictor, known, job.own.workload, k) for k in sorted(set(lookaheads))]
    search = _Drafted(job, rounds, budget_s)
    front = search.sample()
    for part in parts(job.space):
        front = search.run(part, front)
    if not len(front):
        raise search.nothing()
    return search.result(front, known)


def _check(lookaheads: Sequence[int], limits: Sequence[Limit]) -> None:
    for value in lookaheads or (0,):
        if not (isinstance(value, int) and 1 <= value <= MAX_DIMENSION):
            raise UsageError(f"lookahead must be a whole number from 1 to {MAX_DIMENSION} (got {value})")
    for limit in limits:
        if limit.objective.metric in (*TIMES, "throughput", "energy", "cost"):
            raise UsageError(
                f"limit of {limit.objective.name}: with a draft only --budget and limits of size and memory are kept"
            )


@dataclass
class _Drafted:
    """A search of targets with drafts, part by part."""

    job: Job
    rounds: Sequence[Round]
    budget_s: float | None

    def sample(self) -> Front:
        """The front of an even sample of the space, from which the search proper starts."""
        if len(self.job.space) <= PART_ENTRIES:
            return self.job.nothing_yet()
        whole = (0, self.job.space.hiddens.size)
        return self._search(whole, self.job.nothing_yet(), thinned(self.job.space.depths, SAMPLE), SAMPLE)

    def run(self, part: tuple[int, int], front: Front) -> Front:
        """The front of a part's shapes and the given ones."""
        return self._search(part, front, self.job.space.depths, MAX_DIMENSION)

    def _search(self, part: tuple[int, int], front: Front, depths: Array, keep: int) -> Front:
        goals, limits, tables, together = self._measures(part, keep)
        if self.budget_s is not None:
            limits.append((together, self.budget_s))
        return Search(tables, depths, goals, limits, self.job.effort).run(front)

    def _measures(
        self, part: tuple[int, int], keep: int
    ) -> tuple[list[Any], list[tuple[Any, float]], list[Tables], Together]:
        """Goals and limits as numbers to make small, the tables that they read, and the first goal."""
        tables = self.job.tables(part, keep)
        checks = [check_tables(self.job.space, self.job.own, one.lookahead, part, keep) for one in self.rounds]
        (plain, quality), limits, _ = measures(self.job.objectives, self.job.limits, self.job.own)
        together = Together(plain.objective, self.rounds, checks, self.job.memory_bytes)
        return [together, quality], [*limits], tables, together

    def nothing(self) -> BudgetError:
        """What to say when no target keeps the budget: the quickest there is."""
        budget, self.budget_s = self.budget_s, None
        quickest = np.inf
        for part in parts(self.job.space):
            front = self.run(part, self.job.nothing_yet())
            quickest = min(quickest, float(front.values[0, 0])) if len(front) else quickest
        if budget is None or not np.isfinite(quickest):
            return self.job.nothing()
        return BudgetError(
            f"no target of the space answers within {show_seconds(budget)} with any of these drafts: the quickest "
            f"takes {show_seconds(quickest)}; raise --budget or widen the space"
        )

    def result(self, front: Front, drafts: Drafts) -> DraftedFrontier:
        """The targets found, with the choice of each made again."""
        job, values, shapes = self.job, front.values[::-1], front.shapes[::-1]
        columns = dict(zip(CONFIG_FIELDS, shapes.T, strict=True))
        plain = job.own.predictor.predict_many(columns, job.own.workload).response_s
        lookahead, draft = self._choices(columns)
        sign = -1.0 if job.objectives[1].gain else 1.0
        return DraftedFrontier(
            job.own.predictor, job.own.workload, columns, job.objectives[1].name, sign * values[:, 1], values[:, 0],
            plain, lookahead, draft, drafts, self.budget_s, job.memory_bytes, len(job.space), job.effort,
        )  # fmt: skip

    def _choices(self, columns: Mapping[str, Array]) -> tuple[Array, Array]:
        """Lookahead and draft of each target, part by part."""
        lookahead, draft = (np.zeros(columns["hidden_size"].size, dtype=np.int64) for _ in range(2))
        for first, end in parts(self.job.space):
            hidden = columns["hidden_size"]
            rows = np.flatnonzero(np.isin(hidden, self.job.space.hiddens[first:end]))
            if rows.size:
                _, _, tables, together = self._measures((first, end), MAX_DIMENSION)
                shapes = tables[0].rows_of({name: column[rows] for name, column in columns.items()})
                choice = together.choose(Corner(tables, *shapes))
                lookahead[rows], draft[rows] = choice.lookahead, choice.draft
        return lookahead, draft
