"""What a search wants: objectives and limits, each a measure of a shape on some device under some workload.

Inside a search every measure is a number to make small. A box of shapes is bounded by its corners: what grows with a
shape is least at the low corner and greatest at the high one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from ..model.config import CONFIG_FIELDS, Workload
from ..predict.forward import Forecast
from ..predict.intervals import lower_end, upper_end
from ..predict.predictor import Predictor
from .charged import CHARGES, NO_CHARGE, Charge
from .tables import SLACK, Tables

SHAPE = CONFIG_FIELDS  # columns of a row of shapes, in this order

# Scores of size alone: the quickest to search, and free in every dimension.
PARAMETER_COUNTS = ("params", "non-embedding-params")
TIMES = {"prefill": "prefill_s", "decode": "step_s", "response": "response_s"}
METRICS = (*PARAMETER_COUNTS, *TIMES, "memory", "throughput", *CHARGES)
# What is better larger.
GAINS = (*PARAMETER_COUNTS, "throughput")
UNITS = {
    "prefill": "s", "decode": "s_per_token", "response": "s", "memory": "bytes", "throughput": "tokens_per_s"
} | CHARGES  # fmt: skip

Function = Callable[[Mapping[str, Array]], Array]
End = Literal["value", "low", "high"]


@dataclass(frozen=True)
class Scenario:
    """A device with its runtime, and the workload it runs."""

    predictor: Predictor
    workload: Workload = field(default_factory=Workload)

    def __str__(self) -> str:
        return f"{self.predictor.profile.gpu}/{self.predictor.runtime}"


@dataclass(frozen=True)
class Objective:
    """One thing to make large or small.

    Args:
        metric: "params", "non-embedding-params", "prefill", "decode", "response", "memory", "throughput" (tokens a
            second of all sequences together), "energy" (joules a token), "cost" (money for a million), or a function
            of a mapping of Hugging Face names to arrays that returns
            as many finite numbers.
        scenario: the device and the work that times, memory and throughput are of; the search's own if None.
        end: of a time, the prediction itself or an end of its interval.
        maximise: of a function, whether it is better large. Metrics know.
        monotone: of a function, that it never falls as depth or FFN size grows; its own attribute `monotone` if None.
            Without it every shape within the limits is looked at.
        charge: of energy and cost, the power limit and the price.

    Raises:
        UsageError: no such metric, or an end of something that has no interval.
    """

    metric: str | Function
    scenario: Scenario | None = None
    end: End = "value"
    maximise: bool | None = None
    monotone: bool | None = None
    charge: Charge = NO_CHARGE

    def __post_init__(self) -> None:
        if not callable(self.metric) and self.metric not in METRICS:
            raise UsageError(f"{str(self.metric)[:40]!r} is neither a function nor one of {', '.join(METRICS)}")
        if self.end not in ("value", "low", "high"):
            raise UsageError(f"{self.end!r} is no end of an interval: give value, low or high")
        if self.end != "value" and self.metric not in TIMES:
            raise UsageError(f"{self.name} has no interval; only {', '.join(TIMES)} have")

    @property
    def name(self) -> str:
        """The metric, the unit in its name, or the function's name."""
        if callable(self.metric):
            return str(getattr(self.metric, "__name__", type(self.metric).__name__))
        return self.metric

    @property
    def gain(self) -> bool:
        """True for what is better large."""
        if callable(self.metric):
            return True if self.maximise is None else self.maximise
        return self.metric in GAINS

    @property
    def rises(self) -> bool | None:
        """Whether it grows with depth and FFN size; None if that is not known."""
        if callable(self.metric):
            known = getattr(self.metric, "monotone", False) if self.monotone is None else self.monotone
            return True if known else None
        return self.metric != "throughput"

    @property
    def column(self) -> str:
        """Its name in a table: unit, interval end and scenario included."""
        name = self.name.replace("-", "_")
        if self.metric in UNITS:
            unit = UNITS[self.name]
            name = f"{name}_{unit}"
        if self.end != "value":
            name += f"_{self.end}"
        return name if self.scenario is None else f"{name}@{self.scenario}"

    def at_most(self, limit: float) -> "Limit":
        """This objective as a limit from above."""
        return Limit(self, limit, above=False)

    def at_least(self, limit: float) -> "Limit":
        """This objective as a limit from below."""
        return Limit(self, limit, above=True)


@dataclass(frozen=True)
class Limit:
    """A bound that every answer keeps; made by `Objective.at_most` and `at_least`.

    Raises:
        UsageError: the bound is not a finite number, or a time, memory or throughput is bounded from its good side.
    """

    objective: Objective
    bound: float
    above: bool

    def __post_init__(self) -> None:
        if not np.isfinite(self.bound):
            raise UsageError(f"limit of {self.objective.name}: {self.bound} is not a finite number")
        fixed = self.objective.metric in UNITS
        if fixed and self.above != self.objective.gain:
            side = "at most" if self.objective.metric != "throughput" else "at least"
            raise UsageError(f"limit of {self.objective.name}: only '{side}' makes sense")

    def __str__(self) -> str:
        return f"{self.objective.column} {'>=' if self.above else '<='} {self.bound:.6g}"


class Corner:
    """Shapes by index, in the tables of every scenario; forecasts are made once.

    With `least`, times are no more than those of any shape with as large an FFN and depth.
    """

    def __init__(self, tables: Sequence[Tables], stem: Array, ffn: Array, depth: Array, least: bool = False) -> None:
        self.tables, self.stem, self.ffn, self.depth, self.least = tables, stem, ffn, depth, least
        self._forecasts: dict[int, Forecast] = {}

    def forecast(self, scenario: int) -> Forecast:
        """Times in one scenario."""
        if scenario not in self._forecasts:
            self._forecasts[scenario] = self.tables[scenario].forecast(self.stem, self.ffn, self.depth, self.least)
        return self._forecasts[scenario]

    def columns(self) -> dict[str, Array]:
        """The shapes by their Hugging Face names."""
        return self.tables[0].columns(self.stem, self.ffn, self.depth)

    def take(self, rows: Array) -> "Corner":
        """Some of them."""
        some = Corner(self.tables, self.stem[rows], self.ffn[rows], self.depth[rows], self.least)
        for scenario, forecast in self._forecasts.items():
            some._forecasts[scenario] = Forecast(*(times[rows] for times in forecast))
        return some

    @property
    def size(self) -> int:
        """How many."""
        return int(self.stem.size)


@dataclass(frozen=True)
class Measure:
    """An objective within a search: which scenario's tables it reads, its sign (+1: make it small), and of an end of an
    interval the scenario of the host there (`at_end`)."""

    objective: Objective
    scenario: int
    where: Scenario
    sign: float
    at_end: int | None = None

    def of(self, shapes: Corner) -> Array:
        """Values of shapes, to be made small.

        Raises:
            UsageError: a function failed, or returned NaN, infinity or another number of values; the row is named.
        """
        return self.sign * self._value(shapes)

    def bound(self, low: Corner, high: Corner) -> Array:
        """No more than the value of any shape between two corners."""
        rises = self.objective.rises
        if rises is None:
            return np.full(low.size, -np.inf)
        value = self.of(low if rises == (self.sign > 0) else high)
        return value - SLACK * np.abs(value) - 1e-300

    def _value(self, shapes: Corner) -> Array:
        metric, table = self.objective.metric, shapes.tables[self.scenario]
        if callable(metric):
            columns = table.counted if getattr(metric, "counted", False) else table.columns
            return call(metric, self.objective.name, columns(shapes.stem, shapes.ffn, shapes.depth))
        if metric in PARAMETER_COUNTS:
            return table.parameters(shapes.stem, shapes.ffn, shapes.depth)[PARAMETER_COUNTS.index(metric)]
        if metric == "memory":
            return table.memory_bytes(shapes.stem, shapes.ffn, shapes.depth)
        forecast = shapes.forecast(self.scenario)
        if metric in CHARGES:
            device_s = table.device_s(shapes.stem, shapes.ffn, shapes.depth, shapes.least)
            where = self.where
            return self.objective.charge.of(metric, where.predictor, where.workload, forecast.response_s, device_s)
        if metric == "throughput":
            tokens = float(self.where.workload.batch_size * self.where.workload.new_tokens)
            return tokens / forecast.response_s
        seconds = getattr(forecast, TIMES[metric])
        return seconds if self.at_end is None else self._end(shapes, self.at_end, seconds)

    def _end(self, shapes: Corner, at_end: int, seconds: Array) -> Array:
        """An end of the interval of `seconds`; of a corner, no more than that of any of its shapes."""
        high, metric = self.objective.end == "high", str(self.objective.metric)
        interval = self.where.predictor.interval
        if not interval.attainable(metric):
            raise UsageError(f"{metric} has no interval in this profile, so that no end of it can be kept")
        there = getattr(shapes.forecast(at_end), TIMES[metric])
        if shapes.least:
            form = self.where.workload.numbers().format  # another device's may not divide the widths of the space
            width: Array = interval.extremes(metric, form is not None and form.multiple > 1)[0 if high else 1]
        else:
            own = shapes.forecast(self.scenario)
            outside = self.where.predictor.extrapolates(shapes.columns(), self.where.workload)
            width = interval.width(metric, outside, own.prefill_s / own.response_s)
        return upper_end(seconds, there, width) if high else lower_end(seconds, there, width)


def call(function: Function, name: str, columns: Mapping[str, Array]) -> Array:
    """Values of a user's function, checked.

    Raises:
        UsageError: it failed, or returned NaN, infinity or another number of values; the row is named.
    """
    rows = len(columns["hidden_size"])
    if not rows:
        return np.zeros(0)
    try:
        values = np.asarray(function(columns), dtype=np.float64)
    except Exception as error:
        raise UsageError(f"function {name} failed: {type(error).__name__}: {str(error)[:120]}") from error
    if values.shape != (rows,):
        raise UsageError(f"function {name} returned shape {values.shape} for {rows} shapes")
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = {column: int(columns[column][int(np.argmax(wrong))]) for column in SHAPE[:5]}
        raise UsageError(f"function {name} returned {values[wrong][0]} for {row}")
    return values


def measures(
    objectives: Sequence[Objective], limits: Sequence[Limit], own: Scenario
) -> tuple[list[Measure], list[tuple[Measure, float]], list[Scenario]]:
    """Objectives and limits as numbers to make small, and the scenarios that they need, the search's own first."""
    scenarios = [own]

    def number(where: Scenario) -> int:
        if where not in scenarios:
            scenarios.append(where)
        return scenarios.index(where)

    def measure(objective: Objective, sign: float) -> Measure:
        where, at_end = objective.scenario or own, None
        if objective.end != "value":
            at_end = number(Scenario(where.predictor.at_end(objective.end, where.workload), where.workload))
        return Measure(objective, number(where), where, sign, at_end)

    goals = [measure(objective, -1.0 if objective.gain else 1.0) for objective in objectives]
    signs = [-1.0 if limit.above else 1.0 for limit in limits]
    bounds = [(measure(limit.objective, sign), sign * limit.bound) for limit, sign in zip(limits, signs, strict=True)]
    return goals, bounds, scenarios


def objective_named(given: Any, scenario: Scenario | None = None) -> Objective:
    """An objective from its name, a function, or itself.

    Raises:
        UsageError: no such metric.
    """
    return given if isinstance(given, Objective) else Objective(given, scenario)
