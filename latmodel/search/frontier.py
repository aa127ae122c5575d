"""`Frontier`: the shapes that a search found, with all that is predicted of them, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ..arrays import Array
from ..configs.models import NamedModel, read_model
from ..errors import LatmodelError
from ..model.architecture import Architecture
from ..model.config import ModelConfig, Workload
from ..predict.frames import data_frame
from ..predict.prediction import Prediction, Predictions
from ..predict.predictor import Predictor
from .branch_and_bound import Effort
from .goals import Limit, Objective, Scenario

if TYPE_CHECKING:
    import os

    import pandas


# What a row holds of a device other than the search's own, as `response_s@rtx-3090/cuda-graph`.
ELSEWHERE = (
    "response_s", "response_s_low", "response_s_high", "peak_memory_bytes", "fits_memory", "extrapolated_because",
)  # fmt: skip


class Drawing(Protocol):
    """What `report` gives a frontier: a picture in a file, and a table for a notebook."""

    def draw(self, front: "Frontier", path: "str | os.PathLike[str] | None") -> Any: ...
    def html(self, front: "Frontier") -> str: ...


@dataclass(frozen=True)
class Baseline:
    """A model to compare with: its name and what is predicted of it."""

    name: str
    model: ModelConfig | Architecture
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
        missing: depths of the request at which nothing meets the limits.
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
    # Bound by `report.frontier_picture`, which stands to the right of this module; `latmodel` loads it.
    drawing: ClassVar["Drawing | None"] = None

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

    @cached_property
    def scenarios(self) -> dict[str, Scenario]:
        """Where limits and objectives lie beside the search's own device and work, by device and runtime."""
        measured = [*(limit.objective for limit in self.limits), *self.objectives]
        found: list[Scenario] = []
        for scenario in (one.scenario for one in measured):
            if scenario is not None and scenario not in found:
                found.append(scenario)
        names = [str(one) for one in found]
        return {
            name if names.index(name) == place else f"{name} {names[: place + 1].count(name)}": one
            for place, (name, one) in enumerate(zip(names, found, strict=True))
        }

    @cached_property
    def elsewhere(self) -> dict[str, Predictions]:
        """Of every shape what is predicted in each of `scenarios`."""
        return {name: one.predictor.predict_many(self.columns, one.workload) for name, one in self.scenarios.items()}

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

    def against(self, model: Any) -> "Frontier":
        """The same with a baseline: rows then carry ratios of parameters and of speed to it.

        `model` is whatever `Predictor.predict` takes.
        """
        named = model if isinstance(model, NamedModel) else read_model(model)
        prediction = self.predictor.predict(named.model, named.under(self.workload))
        return replace(self, baseline=Baseline(named.name, named.model, prediction))

    def config(self, row: int) -> ModelConfig:
        """The shape of one row."""
        values: dict[str, Any] = {name: int(column[row]) for name, column in self.columns.items()}
        return ModelConfig(**{**values, "tie_word_embeddings": bool(values["tie_word_embeddings"])})

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each shape: Hugging Face names, quality, prediction, and ratios to the baseline.

        Of each of `scenarios` a row holds the fields `ELSEWHERE`, as `response_s@GPU/RUNTIME`.
        """
        return [self._row(index) for index in range(len(self))]

    def _row(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = {name: int(column[index]) for name, column in self.columns.items()}
        row["tie_word_embeddings"] = bool(row["tie_word_embeddings"])
        row["quality"] = float(self.quality[index])
        row |= self.predictions[index].as_dict()
        for name, predictions in self.elsewhere.items():
            there = predictions[index].as_dict()
            row |= {f"{field}@{name}": there[field] for field in ELSEWHERE}
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
        return data_frame(self.to_rows())

    def plot(self, path: "str | os.PathLike[str] | None" = None) -> Any:
        """A matplotlib figure of the first objective against the second, written to a file where a path is given.

        Raises:
            UsageError: matplotlib is not installed, or the path cannot be written.
        """
        return _drawing().draw(self, path)

    def _repr_html_(self) -> str:
        return _drawing().html(thin(self))


def _drawing() -> Drawing:
    if Frontier.drawing is None:
        raise LatmodelError("pictures of a frontier need latmodel.report; import Frontier from latmodel")
    return Frontier.drawing


def thin(front: Frontier, rows: int = 20) -> Frontier:
    """At most so many rows of a frontier, as `thin_rows` picks them."""
    return front if len(front) <= rows else front.take(thin_rows(front, rows))


def thin_rows(front: Frontier, rows: int) -> Array:
    """Indices of at most so many rows: the first, the last, and between them one for each even step of log time.

    Where times hardly differ (every shape is host-bound, say) only the most capable of them is kept. A front by other
    objectives, where times are in no order, keeps rows at even steps.
    """
    return thin_indices(front.response_s, rows)


def thin_indices(response_s: Array, rows: int) -> Array:
    """The same of responses alone, the longest first."""
    if len(response_s) <= rows:
        return np.arange(len(response_s))
    scale = np.log(response_s)
    if (np.diff(scale) > 1e-9).any():
        return _distinct(np.linspace(0, len(response_s) - 1, rows))
    wanted = np.linspace(scale[0], scale[-1], rows)
    return _distinct(np.searchsorted(-scale, -wanted))  # of the rows that answer by then, the most capable


def _distinct(rows: Array) -> Array:
    """Each index once, in order; `np.unique` of a few would load all of NumPy's masked arrays."""
    return np.array(sorted({int(row) for row in rows}), dtype=np.int64)
