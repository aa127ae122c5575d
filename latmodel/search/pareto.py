"""The frontier: shapes with the most quality for their time, within a budget, and what a user does with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..arrays import Array
from ..config import ModelConfig, Workload
from ..errors import UsageError
from ..predict import Predictor
from ..prediction import Prediction, Predictions
from .branch_and_bound import Effort
from .goals import SHAPE, Function, Limit, Objective, Scenario, objective_named
from .job import Job
from .space import SearchSpace
from .tables import parts

if TYPE_CHECKING:
    import os

    import pandas

    from .executors import Executor

QualityLike = str | Objective | Function


@dataclass(frozen=True)
class Baseline:
    """A model to compare with: its shape and what is predicted of it."""

    config: ModelConfig
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class Frontier:
    """Shapes of a search with all that is predicted of them, best in the first objective first.

    Attributes:
        columns: one array of whole numbers for each Hugging Face name.
        objectives: what the shapes were chosen by, the quality first.
        values: of each objective, one array; by `Objective.column`.
        limits: what every shape keeps.
        searched: shapes in the space.
        effort: boxes bounded and shapes priced to find these.
        missing: depths asked for at which nothing meets the limits.
    """

    predictor: Predictor
    workload: Workload
    columns: Mapping[str, Array]
    objectives: tuple[Objective, ...]
    values: Mapping[str, Array]
    limits: tuple[Limit, ...]
    budget_s: float | None
    memory_bytes: float
    searched: int
    effort: Effort
    missing: tuple[int, ...] = ()
    baseline: Baseline | None = field(default=None)

    def __len__(self) -> int:
        return int(self.quality.size)

    @property
    def quality(self) -> Array:
        """Values of the first objective."""
        return self.values[self.objectives[0].column]

    @property
    def quality_name(self) -> str:
        """Name of the first objective."""
        return self.objectives[0].name

    @cached_property
    def predictions(self) -> Predictions:
        """Latency, memory, bound and interval of every shape."""
        return self.predictor.predict_many(self.columns, self.workload)

    @property
    def response_s(self) -> Array:
        """Predicted response of every shape, in seconds."""
        return self.predictions.response_s

    @property
    def num_parameters(self) -> Array:
        """Parameters of every shape."""
        return self.predictions.num_parameters

    def take(self, rows: Any) -> "Frontier":
        """Some of the shapes: a slice, indices or a mask."""
        columns, values = ({k: v[rows] for k, v in table.items()} for table in (self.columns, self.values))
        return replace(self, columns=columns, values=values)

    def against(self, config: ModelConfig) -> "Frontier":
        """The same with a baseline: rows then carry ratios of parameters and of speed to it."""
        return replace(self, baseline=Baseline(config, self.predictor.predict(config, self.workload)))

    def config(self, row: int) -> ModelConfig:
        """The shape of one row."""
        values: dict[str, Any] = {name: int(column[row]) for name, column in self.columns.items()}
        return ModelConfig(**{**values, "tie_word_embeddings": bool(values["tie_word_embeddings"])})

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each shape: Hugging Face names, quality, prediction, and ratios to the baseline."""
        return [self._row(index) for index in range(len(self))]

    def _row(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = {name: int(column[index]) for name, column in self.columns.items()}
        row["tie_word_embeddings"] = bool(row["tie_word_embeddings"])
        row["quality"] = float(self.quality[index])
        row |= self.predictions[index].as_dict()
        for name, values in self.values.items():
            row.setdefault(name, float(values[index]))
        if self.baseline is not None:
            base = self.baseline.prediction
            row["parameters_ratio"] = row["num_parameters"] / base.num_parameters
            row["speed_ratio"] = base.response_s / row["response_s"]
        return row

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame with the columns of `to_rows`.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("to_pandas needs pandas; run `pip install pandas`") from None
        return pandas.DataFrame(self.to_rows())

    def plot(self, path: "str | os.PathLike[str]") -> None:
        """Draw the shapes to a file: parameters against response, coloured by depth, budget and baseline marked.

        Raises:
            UsageError: matplotlib is not installed, or the path cannot be written.
        """
        from .picture import draw_frontier

        draw_frontier(self, path)

    def _repr_html_(self) -> str:
        from .picture import html_table

        return html_table(thin(self).to_rows(), self.predictor.interval.level)


def frontier(
    predictor: Predictor,
    space: SearchSpace | None = None,
    workload: Workload | None = None,
    *,
    budget_s: float | None = None,
    memory_bytes: float | None = None,
    quality: QualityLike = "params",
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
        workload: what is asked of a shape.
        budget_s: seconds that a response may take; None for no limit.
        memory_bytes: memory that a shape may take at its peak; the predictor's device if None.
        quality: what to make large beside the response being short: "params", "non-embedding-params", an
            `Objective`, or a function of the shapes.
        objectives: instead of quality and response, any number of them; three and more need moocore.
        limits: more that every answer must keep: `Objective("decode").at_most(0.05)`.
        also: other devices or workloads in which budget and memory must be kept too.
        sure: the budget holds for the upper end of the predictor's interval, not for the prediction.
        executor: what runs the parts of the search: "process" (if None and `workers` > 1), "dask", "ray", "slurm", or
            anything with `submit`. The answer is the same, to the last bit.
        workers: how many at once.
        checkpoint: a file that finished parts are written to, and that a search goes on from.

    Raises:
        BudgetError: no shape keeps the limits; the one that binds is named, with the shape that comes closest.
        LatmodelError: a part of the search failed three times.
        UsageError: a limit is not a positive number, an objective cannot be used, or moocore is missing.
    """
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
    quality: QualityLike = "params",
    limits: Sequence[Limit] = (),
    also: Sequence[Scenario] = (),
    sure: bool = False,
) -> Frontier:
    """For each depth, in the order given, the shape with the most quality that keeps the limits.

    Depths at which nothing does are left out and listed in `missing`. Arguments and errors as for `frontier`.
    """
    pinned = (space or SearchSpace()).pin(num_hidden_layers=tuple(depths))
    job = job_of(predictor, pinned, workload, budget_s, memory_bytes, quality, None, limits, also, sure)
    fronts = {depth: job.nothing_yet() for depth in depths}
    for part in parts(job.space):
        costs = job.tables(part)
        for depth, front in fronts.items():
            fronts[depth] = job.search_depths(costs, np.array([depth]), front)
    found = [front for front in fronts.values() if len(front)]
    # The last row of a front, sorted by response, has the most quality; the result is turned round.
    values, shapes = (
        np.concatenate([part[-1:] for part in reversed(parts_)]) if parts_ else np.zeros((0, 2))
        for parts_ in ([f.values for f in found], [f.shapes for f in found])
    )
    missing = tuple(depth for depth, front in fronts.items() if not len(front))
    return replace(result(job, values, shapes), missing=missing)


def thin(front: Frontier, rows: int = 20) -> Frontier:
    """At most so many rows of a frontier, as `thin_rows` picks them."""
    return front if len(front) <= rows else front.take(thin_rows(front, rows))


def thin_rows(front: Frontier, rows: int) -> Array:
    """Indices of at most so many rows: the first, the last, and between them one for each even step of log time.

    Where times hardly differ (every shape is host-bound, say) only the most capable of them is kept. A front by other
    objectives, where times are in no order, keeps rows at even steps.
    """
    if len(front) <= rows:
        return np.arange(len(front))
    scale = np.log(front.response_s)
    if (np.diff(scale) > 1e-9).any():
        return np.unique(np.linspace(0, len(front) - 1, rows).astype(np.int64))
    wanted = np.linspace(scale[0], scale[-1], rows)
    first_within = np.searchsorted(-scale, -wanted)  # of the rows that answer by then, the most capable
    return np.unique(np.clip(first_within, 0, len(front) - 1))


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
    return Job(own, space or SearchSpace(), chosen, (*kept, *limits), budget_s, memory, turned=objectives is None)


def result(job: Job, values: Array, shapes: Array) -> Frontier:
    """What a search found, with all that was asked.

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
