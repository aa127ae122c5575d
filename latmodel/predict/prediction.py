"""`Prediction` and `Predictions`: what is said of one architecture, or of many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arrays import Array
from .forward import Times
from .frames import prediction_frame
from .intervals import TINY_S, Interval, lower_end, upper_end

if TYPE_CHECKING:
    import pandas

BOUNDS = ("host", "memory", "compute")


class Prediction(NamedTuple):
    """One prediction, by the names and units of the contract (seconds, bytes); an end is None where none is known.

    `extrapolated_because` names what was not measured, `notes` what must be known of the price.
    """

    num_parameters: int
    prefill_s: float
    decode_s_per_token: float
    response_s: float
    prefill_s_per_layer: float
    decode_s_per_layer: float
    prefill_s_low: float | None
    prefill_s_high: float | None
    decode_s_per_token_low: float | None
    decode_s_per_token_high: float | None
    response_s_low: float | None
    response_s_high: float | None
    interval: float
    peak_memory_bytes: float
    fits_memory: bool
    bound: str
    extrapolated: bool
    gpu: str
    runtime: str
    profile: str
    host: str = "published"
    response_s_low_published: float | None = None
    response_s_high_published: float | None = None
    extrapolated_because: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def holds(self, name: str, seconds: float) -> bool:
        """Whether the interval of `prefill_s`, `decode_s_per_token` or `response_s` holds a time; none holds none."""
        low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
        return low is not None and high is not None and bool(low <= seconds <= high)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the contract."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}


class Values(NamedTuple):
    """What the formulas give, as plain numbers or as arrays. Seconds, bytes; `bound_code` indexes BOUNDS."""

    num_parameters: Array
    prefill_s: Array
    decode_s_per_token: Array
    response_s: Array
    prefill_s_per_layer: Array
    decode_s_per_layer: Array
    peak_memory_bytes: Array
    bound_code: Array
    outside: Array  # 0, or how far it lies outside what was measured (`extrapolation.outside`)


class Ends(NamedTuple):
    """The same models on the fastest and on the slowest host that an interval must hold."""

    fastest: Times
    slowest: Times


class Explained(NamedTuple):
    """What of a row was not measured, and what must be known of its price."""

    because: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Source(NamedTuple):
    """What a prediction was made by: the interval, the memory of the device, names, and whose host it is for.

    `published` says that the host was measured on one machine, so that an interval for that one alone can be told.
    """

    interval: Interval
    memory_bytes: float
    gpu: str
    runtime: str
    profile: str
    host: str
    published: bool


def own_times(values: Values) -> Times:
    """Seconds on the host of the profile."""
    return Times(values.prefill_s, values.decode_s_per_token, values.response_s)


def _end(seconds: float) -> float | None:
    return None if seconds != seconds else seconds  # noqa: PLR0124  # NaN alone differs from itself


def one_prediction(
    values: Values,
    source: Source,
    ends: Ends | None = None,
    *,
    because: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Prediction:
    """Plain numbers as a prediction, with the intervals, memory and names of what they come from.

    With `ends`, the times on the fastest and the slowest host, an interval is as wide as those and the residuals are in
    quadrature (`lower_end`); without, it is that of the profile's own host.
    """
    own = own_times(values)
    share = own.prefill / own.response if own.response else 1.0
    widths = source.interval.widths(float(values.outside), share)
    fast, slow = ends or Ends(own, own)
    lows = [None if end != end else end for end in map(lower_end, own, fast, widths)]  # noqa: PLR0124  # NaN: none known
    highs = [None if end != end else end for end in map(upper_end, own, slow, widths)]  # noqa: PLR0124
    alone = math.exp(widths.response) if ends is not None and source.published else math.nan
    return Prediction(
        num_parameters=int(values.num_parameters),
        prefill_s=values.prefill_s,
        decode_s_per_token=values.decode_s_per_token,
        response_s=values.response_s,
        prefill_s_per_layer=values.prefill_s_per_layer,
        decode_s_per_layer=values.decode_s_per_layer,
        prefill_s_low=lows[0],
        prefill_s_high=highs[0],
        decode_s_per_token_low=lows[1],
        decode_s_per_token_high=highs[1],
        response_s_low=lows[2],
        response_s_high=highs[2],
        interval=source.interval.level,
        peak_memory_bytes=values.peak_memory_bytes,
        fits_memory=values.peak_memory_bytes <= source.memory_bytes,
        bound=BOUNDS[int(values.bound_code)],
        extrapolated=bool(values.outside),
        gpu=source.gpu,
        runtime=source.runtime,
        profile=source.profile,
        host=source.host,
        response_s_low_published=_end(own.response / alone),
        response_s_high_published=_end(own.response * alone),
        extrapolated_because=because,
        notes=notes,
    )


def joined_ends(parts: Sequence[Ends], rows: Sequence[int]) -> Ends:
    """Parts of `rows` rows each, one after another."""
    return (
        Ends(
            *(
                Times(
                    *(
                        np.concatenate([np.zeros(0), *(np.broadcast_to(c, n) for c, n in zip(some, rows, strict=True))])
                        for some in zip(*sides, strict=True)
                    )
                )
                for sides in zip(*parts, strict=True)
            )
        )
        if parts
        else Ends(Times(*[np.zeros(0)] * 3), Times(*[np.zeros(0)] * 3))
    )


@dataclass(frozen=True, slots=True)
class Predictions:
    """Many predictions: arrays of one value for each row given, by the names of `Prediction`."""

    values: Values
    source: Source
    # Of all rows, worked out when first asked for; and why one row is extrapolated.
    price_ends: Callable[[], Ends] | None = field(default=None, repr=False, compare=False)
    explain: Callable[[int], Explained] | None = field(default=None, repr=False, compare=False)
    _kept: dict[str, Ends] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def joined(
        cls,
        parts: Sequence[Values],
        rows: Sequence[int],
        source: Source,
        price_ends: Callable[[], Ends] | None = None,
        explain: Callable[[int], Explained] | None = None,
    ) -> "Predictions":
        """Parts of `rows` rows each, one after another; what a part holds as one number is of all its rows."""
        if not parts:
            return cls(Values(*(np.zeros(0) for _ in Values._fields)), source)
        columns = (
            np.concatenate([np.broadcast_to(column, count) for column, count in zip(some, rows, strict=True)])
            for some in zip(*parts, strict=True)
        )
        return cls(Values(*(column.astype(np.float64, copy=False) for column in columns)), source, price_ends, explain)

    def __len__(self) -> int:
        return int(self.values.response_s.size)

    @property
    def num_parameters(self) -> Array:
        """All parameters."""
        return self.values.num_parameters

    @property
    def prefill_s(self) -> Array:
        """Seconds of the prefill."""
        return self.values.prefill_s

    @property
    def decode_s_per_token(self) -> Array:
        """Seconds a generated token, mean over the growing context."""
        return self.values.decode_s_per_token

    @property
    def response_s(self) -> Array:
        """Seconds of the prefill and all decode steps."""
        return self.values.response_s

    @property
    def prefill_s_per_layer(self) -> Array:
        """Mean over the blocks, embedding and head apart."""
        return self.values.prefill_s_per_layer

    @property
    def decode_s_per_layer(self) -> Array:
        """Mean over the blocks, embedding and head apart."""
        return self.values.decode_s_per_layer

    @property
    def peak_memory_bytes(self) -> Array:
        """Bytes on the device at the peak."""
        return self.values.peak_memory_bytes

    @property
    def fits_memory(self) -> Array:
        """Whether they fit the predictor's memory."""
        return self.values.peak_memory_bytes <= self.source.memory_bytes

    @property
    def extrapolated(self) -> Array:
        """Whether a dimension lies outside what the profile was fitted on."""
        return self.values.outside.astype(bool)

    @property
    def bound(self) -> Array:
        """Names of what holds the largest share of each response."""
        return np.asarray(BOUNDS)[self.values.bound_code.astype(np.int8)]

    def low_high(self, phase: str) -> tuple[Array, Array]:
        """Lower and upper ends of the interval of `prefill`, `decode` or `response`, in seconds."""
        own, outside = own_times(self.values), self.values.outside
        ends, share = self.ends or Ends(own, own), own.prefill / np.maximum(own.response, TINY_S)
        width, times = self.source.interval.width(phase, outside, share), getattr(own, phase)
        return (
            lower_end(times, getattr(ends.fastest, phase), width),
            upper_end(times, getattr(ends.slowest, phase), width),
        )

    @property
    def ends(self) -> Ends | None:
        """Times on the fastest and slowest host that the intervals hold; None where they are for the profile's own."""
        if self.price_ends is None:
            return None
        if "ends" not in self._kept:
            self._kept["ends"] = self.price_ends()
        return self._kept["ends"]

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame: a row for each model, named as in `Prediction`; NaN where an interval cannot be had.

        Raises:
            UsageError: pandas is not installed.
        """
        return prediction_frame(self)

    def __getitem__(self, index: int) -> Prediction:
        ends = self.ends
        if ends is not None:
            ends = Ends(*(Times(*(float(column[index]) for column in times)) for times in ends))
        known = Explained() if self.explain is None else self.explain(index)
        values = Values(*(float(column[index]) for column in self.values))
        return one_prediction(values, self.source, ends, because=known.because, notes=known.notes)
