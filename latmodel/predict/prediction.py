"""`Prediction` and `Predictions`: what is said of one architecture, or of many."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from .intervals import Interval

BOUNDS = ("host", "memory", "compute")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction, by the names and units of the contract (seconds, bytes)."""

    num_parameters: int
    prefill_s: float
    decode_s_per_token: float
    response_s: float
    prefill_s_per_layer: float
    decode_s_per_layer: float
    prefill_s_low: float
    prefill_s_high: float
    decode_s_per_token_low: float
    decode_s_per_token_high: float
    response_s_low: float
    response_s_high: float
    interval: float
    peak_memory_bytes: float
    fits_memory: bool
    bound: str
    extrapolated: bool
    gpu: str
    runtime: str
    profile: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the contract."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


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
    outside: Array  # 1 where a dimension lies outside what was measured


class Source(NamedTuple):
    """What a prediction was made by: the interval, the memory of the device, and names."""

    interval: Interval
    memory_bytes: float
    gpu: str
    runtime: str
    profile: str


def one_prediction(values: Values, source: Source) -> Prediction:
    """Plain numbers as a prediction, with the intervals, memory and names of what they come from."""
    outside = values.outside > 0.0
    prefill, decode, response = source.interval.factors(outside)
    return Prediction(
        num_parameters=int(values.num_parameters),
        prefill_s=values.prefill_s,
        decode_s_per_token=values.decode_s_per_token,
        response_s=values.response_s,
        prefill_s_per_layer=values.prefill_s_per_layer,
        decode_s_per_layer=values.decode_s_per_layer,
        prefill_s_low=values.prefill_s / prefill,
        prefill_s_high=values.prefill_s * prefill,
        decode_s_per_token_low=values.decode_s_per_token / decode,
        decode_s_per_token_high=values.decode_s_per_token * decode,
        response_s_low=values.response_s / response,
        response_s_high=values.response_s * response,
        interval=source.interval.level,
        peak_memory_bytes=values.peak_memory_bytes,
        fits_memory=values.peak_memory_bytes <= source.memory_bytes,
        bound=BOUNDS[int(values.bound_code)],
        extrapolated=outside,
        gpu=source.gpu,
        runtime=source.runtime,
        profile=source.profile,
    )


@dataclass(frozen=True, slots=True)
class Predictions:
    """Many predictions: arrays of one value for each row given, by the names of `Prediction`."""

    values: Values
    source: Source

    @classmethod
    def joined(cls, parts: Sequence[Values], rows: Sequence[int], source: Source) -> "Predictions":
        """Parts of `rows` rows each, one after another; what a part holds as one number is of all its rows."""
        if not parts:
            return cls(Values(*(np.zeros(0) for _ in Values._fields)), source)
        columns = (
            np.concatenate([np.broadcast_to(column, count) for column, count in zip(some, rows, strict=True)])
            for some in zip(*parts, strict=True)
        )
        return cls(Values(*(column.astype(np.float64, copy=False) for column in columns)), source)

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
        return self.values.outside > 0.0

    @property
    def bound(self) -> Array:
        """Names of what holds the largest share of each response."""
        return np.asarray(BOUNDS)[self.values.bound_code.astype(np.int8)]

    def low_high(self, phase: str) -> tuple[Array, Array]:
        """Lower and upper ends of the interval of `prefill`, `decode` or `response`, in seconds."""
        center = {"prefill": self.prefill_s, "decode": self.decode_s_per_token, "response": self.response_s}[phase]
        factor = np.exp(self.source.interval.width(phase, self.extrapolated))
        return center / factor, center * factor

    def __getitem__(self, index: int) -> Prediction:
        return one_prediction(Values(*(float(column[index]) for column in self.values)), self.source)
