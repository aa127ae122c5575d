"""The frontier: shapes with the most quality for their time, within a budget, and what a user does with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Array
from .config import ModelConfig, Workload
from .errors import BudgetError, UsageError
from .predict import Prediction, Predictions, Predictor, work_of
from .search import SHAPE, Effort, Front, Limits, Quality, Search
from .space import SearchSpace
from .tables import PART_ENTRIES, parts, tables, thinned
from .units import show_bytes, show_seconds

if TYPE_CHECKING:
    import os

    import pandas

QualityLike = str | Quality | Callable[[Mapping[str, Array]], Array]

# FFN sizes and depths that a first look at a space keeps of each hidden size: it finds a front to prune by.
SAMPLE = 12


@dataclass(frozen=True)
class Baseline:
    """A model to compare with: its shape and what is predicted of it."""

    config: ModelConfig
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class Frontier:
    """Shapes of a search with all that is predicted of them, best first.

    Attributes:
        columns: one array of whole numbers for each Hugging Face name.
        quality: what was maximised, one value a shape.
        searched: shapes in the space.
        effort: boxes bounded and shapes priced to find these.
        missing: depths asked for at which nothing meets the limits.
    """

    predictor: Predictor
    workload: Workload
    columns: Mapping[str, Array]
    quality: Array
    quality_name: str
    budget_s: float | None
    memory_bytes: float
    searched: int
    effort: Effort
    missing: tuple[int, ...] = ()
    baseline: Baseline | None = field(default=None)

    def __len__(self) -> int:
        return int(self.quality.size)

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
        return replace(
            self, columns={name: column[rows] for name, column in self.columns.items()}, quality=self.quality[rows]
        )

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

        return html_table(thin(self).to_rows())


def frontier(
    predictor: Predictor,
    space: SearchSpace | None = None,
    workload: Workload | None = None,
    *,
    budget_s: float | None = None,
    memory_bytes: float | None = None,
    quality: QualityLike = "params",
) -> Frontier:
    """The exact set of shapes of which none is both as good and as quick as another, best first.

    Args:
        predictor: what prices a shape.
        space: shapes to search; the default space if None.
        workload: what is asked of a shape.
        budget_s: seconds that a response may take; None for no limit.
        memory_bytes: memory that a shape may take at its peak; the predictor's device if None.
        quality: "params", "non-embedding-params", or a function of the shapes (see `search.Quality`).

    Raises:
        BudgetError: no shape meets the limits; the quickest there is, is named.
        UsageError: a limit is not a positive number, or the quality function cannot be used.
    """
    job = _job(predictor, space, workload, budget_s, memory_bytes, quality)
    front = job.look()
    for part in parts(job.space):
        front = job.search(part, front)
    if not front.seconds.size:
        raise job.nothing()
    return job.result(front.shapes[::-1], front.quality[::-1])


def best_per_depth(
    predictor: Predictor,
    depths: Sequence[int],
    space: SearchSpace | None = None,
    workload: Workload | None = None,
    *,
    budget_s: float | None = None,
    memory_bytes: float | None = None,
    quality: QualityLike = "params",
) -> Frontier:
    """For each depth, in the order given, the shape with the most quality that meets the limits.

    Depths at which nothing does are left out and listed in `missing`. Arguments and errors as for `frontier`.
    """
    pinned = (space or SearchSpace()).pin(num_hidden_layers=tuple(depths))
    job = _job(predictor, pinned, workload, budget_s, memory_bytes, quality)
    fronts = {depth: Front.empty() for depth in depths}
    for part in parts(job.space):
        table = job.tables(part)
        for depth, front in fronts.items():
            fronts[depth] = Search(table, np.array([depth]), job.quality, job.limits, job.effort).run(front)
    found = [front for front in fronts.values() if front.seconds.size]
    if not found:
        raise job.nothing()
    missing = tuple(depth for depth, front in fronts.items() if not front.seconds.size)
    shapes, values = (np.concatenate([getattr(f, name)[-1:] for f in found]) for name in ("shapes", "quality"))
    return replace(job.result(shapes, values), missing=missing)


def thin(front: Frontier, rows: int = 20) -> Frontier:
    """At most so many rows of a frontier: the best, the quickest, and between them one for each even step of log time.

    Where times hardly differ (every shape is host-bound, say) only the most capable of them is kept.
    """
    if len(front) <= rows or (np.diff(front.quality) >= 0).any():  # rows of a depth table stay as they are
        return front
    scale = np.log(front.response_s)  # falls with the row, as quality does
    wanted = np.linspace(scale[0], scale[-1], rows)
    first_within = np.searchsorted(-scale, -wanted)  # of the rows that answer by then, the most capable
    chosen = np.zeros(len(front), dtype=bool)
    chosen[np.clip(first_within, 0, len(front) - 1)] = True
    return front.take(chosen)


@dataclass(frozen=True)
class Job:
    """A checked search: what to search, by what, within what."""

    predictor: Predictor
    space: SearchSpace
    workload: Workload
    quality: Quality
    limits: Limits
    effort: Effort = field(default_factory=Effort)

    def tables(self, part: tuple[int, int], keep: int | None = None) -> Any:
        """Costs of the layers of one part of the space."""
        args = (self.predictor, self.space, work_of(self.workload), self.workload.dtype, part)
        return tables(*args) if keep is None else tables(*args, keep)

    def look(self) -> Front:
        """The front of an even sample of the space, from which the search proper starts."""
        if len(self.space) <= PART_ENTRIES:
            return Front.empty()
        table = self.tables((0, self.space.hiddens.size), SAMPLE)
        depths = thinned(self.space.depths, SAMPLE)
        return Search(table, depths, self.quality, self.limits, self.effort).run(Front.empty())

    def search(self, part: tuple[int, int], front: Front) -> Front:
        """The front of a part's shapes and the given ones."""
        return Search(self.tables(part), self.space.depths, self.quality, self.limits, self.effort).run(front)

    def result(self, shapes: Array, quality: Array) -> Frontier:
        """Shapes with what was asked."""
        limits = self.limits
        return Frontier(
            self.predictor, self.workload, dict(zip(SHAPE, shapes.T, strict=True)), quality, self.quality.name,
            limits.seconds if np.isfinite(limits.seconds) else None, limits.memory_bytes, len(self.space), self.effort,
        )  # fmt: skip

    def nothing(self) -> BudgetError:
        """What to say when no shape meets the limits: the quickest shape there is, and what it takes."""
        quickest = self._quickest()
        if quickest is None:
            shape, size = self._smallest()
            return BudgetError(
                f"no shape of the space fits in {show_bytes(self.limits.memory_bytes)}: the smallest, {shape}, "
                f"takes {show_bytes(size)}; raise --memory or widen the space"
            )
        seconds = self.predictor.predict_many(quickest, self.workload)[0].response_s
        return BudgetError(
            f"no shape of the space answers within {show_seconds(self.limits.seconds)}: the quickest, "
            f"{_name(quickest)}, takes {show_seconds(seconds)}; raise --budget or widen the space"
        )

    def _quickest(self) -> dict[str, Array] | None:
        """The shape with the shortest response within the memory; None if none fits."""
        same = Quality("none", lambda columns: np.zeros(len(columns["hidden_size"])), monotone=True)
        limits, front = Limits(np.inf, self.limits.memory_bytes), Front.empty()
        for part in parts(self.space):
            front = Search(self.tables(part), self.space.depths, same, limits, self.effort).run(front)
        return dict(zip(SHAPE, front.shapes[-1:].T, strict=True)) if front.seconds.size else None

    def _smallest(self) -> tuple[str, float]:
        """The shape that takes least memory, and its bytes: memory only grows with depth and FFN size."""
        found = []
        for part in parts(self.space):
            table, depth = self.tables(part), self.space.depths[0]
            size = table.memory_bytes(np.arange(len(table.stems)), table.offset, depth)
            row = int(np.argmin(size))
            columns = table.columns(np.array([row]), table.offset[row : row + 1], np.array([depth]))
            found.append((float(size[row]), _name(columns)))
        size, shape = min(found)
        return shape, size


def _job(
    predictor: Predictor,
    space: SearchSpace | None,
    workload: Workload | None,
    budget_s: float | None,
    memory_bytes: float | None,
    quality: QualityLike,
) -> Job:
    for name, limit in (("budget_s", budget_s), ("memory_bytes", memory_bytes)):
        if limit is not None and not 0.0 < limit < np.inf:
            raise UsageError(f"{name}: {limit} is not a positive number")
    limits = Limits(
        np.inf if budget_s is None else budget_s, predictor.memory_bytes if memory_bytes is None else memory_bytes
    )
    return Job(predictor, space or SearchSpace(), workload or Workload(), Quality.of(quality), limits)


def _name(shape: Mapping[str, Array]) -> str:
    layers, hidden, ffn = (int(shape[name][0]) for name in SHAPE[:3])
    return f"{layers} layers x hidden {hidden} x FFN {ffn}"
