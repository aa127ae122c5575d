"""Running a search: the exact frontier of a space within its limits, and the best shape of each depth."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from ..model.config import Workload
from ..predict.predictor import Predictor
from .frontier import Frontier
from .goals import SHAPE, Function, Limit, Objective, Scenario, objective_named
from .job import Job
from .scored import near_usual, quality_from
from .space import SearchSpace
from .tables import parts

if TYPE_CHECKING:
    import os

    from .executors import Executor

QualityLike = str | Objective | Function
DEFAULT_QUALITY = "effective-params"  # as on the command line


def frontier(
    predictor: Predictor,
    space: SearchSpace | None = None,
    workload: Workload | None = None,
    *,
    budget_s: float | None = None,
    memory_bytes: float | None = None,
    quality: QualityLike = DEFAULT_QUALITY,
    tokens: float | None = None,
    objectives: Sequence[QualityLike] | None = None,
    limits: Sequence[Limit] = (),
    also: Sequence[Scenario] = (),
    sure: bool = False,
    executor: "str | Executor | None" = None,
    workers: int = 1,
    checkpoint: "str | os.PathLike[str] | None" = None,
) -> Frontier:
    """The exact set of shapes of which none is as good as another in every objective, best first.

    Args:
        predictor: what prices a shape.
        space: shapes to search; the default space if None.
        workload: prompt, new tokens, batch and number formats; the default `Workload` if None.
        budget_s: seconds that a response may take; None for no limit.
        memory_bytes: memory that a shape may take at its peak; the predictor's device if None.
        quality: what to make large beside the response being short: the name of a score (`latmodel.quality.NAMES`), an
            `Objective`, or a function of the shapes. Under a score that sees depth and width alone, FFN ratio and query
            groups are held near the usual where the space leaves them free (`scored.near_usual`).
        tokens: training tokens, for a score that is a loss.
        objectives: instead of quality and response, any number of them; three and more need moocore.
        limits: more that every answer must keep: `Objective("decode").at_most(0.05)`.
        also: other devices or workloads in which budget and memory must be kept too.
        sure: the budget holds for the upper end of the predictor's interval, not for the prediction.
        executor: what runs the parts of the search: "process" (if None and `workers` > 1), "dask", "ray", "slurm", or
            anything with `submit`. The answer is the same, to the last bit.
        workers: how many run at once.
        checkpoint: a file that finished parts are written to, and that a search goes on from.

    Raises:
        BudgetError: no shape keeps the limits; the one that binds is named, with the shape that comes closest.
        LatmodelError: a part of the search failed three times.
        UsageError: a limit is not a positive number, an objective cannot be used, or moocore is missing.
    """
    quality, space = measure_of(quality, tokens, space, objectives)
    job = job_of(predictor, space, workload, budget_s, memory_bytes, quality, objectives, limits, also, sure)
    if executor is None and workers == 1 and checkpoint is None:
        front = job.look()
        for part in parts(job.space):
            front = job.search(part, front)
    else:
        from .sweep import sweep

        front = sweep(job, executor or "process", workers, None if checkpoint is None else Path(checkpoint))
    return result(job, front.values, front.shapes)


def best_per_depth(
    predictor: Predictor,
    depths: Sequence[int],
    space: SearchSpace | None = None,
    workload: Workload | None = None,
    *,
    budget_s: float | None = None,
    memory_bytes: float | None = None,
    quality: QualityLike = DEFAULT_QUALITY,
    tokens: float | None = None,
    limits: Sequence[Limit] = (),
    also: Sequence[Scenario] = (),
    sure: bool = False,
) -> Frontier:
    """For each depth, in the order given, the shape with the most quality that keeps the limits.

    Depths at which nothing does are left out and listed in `missing`. Arguments and errors as for `frontier`.
    """
    quality, space = measure_of(quality, tokens, space, None)
    pinned = (space or SearchSpace()).pin(num_hidden_layers=tuple(depths))
    job = job_of(predictor, pinned, workload, budget_s, memory_bytes, quality, None, limits, also, sure)
    fronts = {depth: job.nothing_yet() for depth in depths}
    for part in parts(job.space):
        costs = job.tables(part)
        for depth, front in fronts.items():
            fronts[depth] = job.search_depths(costs, np.array([depth]), front)
    reached = [front for front in fronts.values() if len(front)]
    # The last row of a front, sorted by response, has the most quality; the result is turned round.
    values, shapes = (
        np.concatenate([part[-1:] for part in reversed(parts_)]) if parts_ else np.zeros((0, 2))
        for parts_ in ([f.values for f in reached], [f.shapes for f in reached])
    )
    missing = tuple(depth for depth, front in fronts.items() if not len(front))
    return replace(result(job, values, shapes), missing=missing)


def measure_of(
    quality: QualityLike, tokens: float | None, space: SearchSpace | None, objectives: Sequence[QualityLike] | None
) -> tuple[QualityLike, SearchSpace | None]:
    """What to maximise and the space to search it in, from the name of a score.

    Raises:
        UsageError: there is no such score, or it needs tokens.
    """
    if objectives is not None or not isinstance(quality, str):
        return quality, space
    measure, score = quality_from(quality, tokens)
    return measure, space if score is None else near_usual(space or SearchSpace())


def job_of(
    predictor: Predictor,
    space: SearchSpace | None,
    workload: Workload | None,
    budget_s: float | None,
    memory_bytes: float | None,
    quality: QualityLike,
    objectives: Sequence[QualityLike] | None,
    limits: Sequence[Limit],
    also: Sequence[Scenario],
    sure: bool,
) -> Job:
    """A checked search from what a user gives."""
    for name, bound in (("budget_s", budget_s), ("memory_bytes", memory_bytes)):
        if bound is not None and not 0.0 < bound < np.inf:
            raise UsageError(f"{name}: {bound} is not a positive number")
    own = Scenario(predictor, workload or Workload())
    memory = predictor.memory_bytes if memory_bytes is None else memory_bytes
    kept = [Objective("memory").at_most(memory)]
    kept += [Objective("memory", where).at_most(where.predictor.memory_bytes) for where in also]
    if budget_s is not None:
        end: Literal["high", "value"] = "high" if sure else "value"
        kept += [Objective("response", where, end).at_most(budget_s) for where in (None, *also)]
    if objectives is None:
        # By response first: times hardly ever tie, which makes fronts quick to sort. The result is turned round.
        chosen: tuple[Objective, ...] = (Objective("response"), objective_named(quality))
    else:
        chosen = tuple(objective_named(given) for given in objectives)
        if len(chosen) < 2 or len({one.column for one in chosen}) < len(chosen):
            raise UsageError("objectives: give two or more, each once")
    searched = space or SearchSpace()
    form = own.workload.numbers().format
    if form is not None and form.multiple > 1:
        searched = searched.in_multiples(form.multiple, f"weights in {form.name}")
    return Job(own, searched, chosen, (*kept, *limits), budget_s, memory, turned=objectives is None)


def result(job: Job, values: Array, shapes: Array) -> Frontier:
    """What a search found, with the objectives and limits that it kept.

    Raises:
        BudgetError: it found nothing.
    """
    if not len(values):
        raise job.nothing()
    objectives = job.objectives
    if job.turned:
        objectives, values, shapes = objectives[::-1], values[::-1, ::-1], shapes[::-1]
    natural = {one.column: (-column if one.gain else column) for one, column in zip(objectives, values.T, strict=True)}
    return Frontier(
        job.own.predictor, job.own.workload, dict(zip(SHAPE, shapes.T, strict=True)), objectives, natural,
        job.limits, job.budget_s, job.memory_bytes, len(job.space), job.effort,
    )  # fmt: skip
