"""What is predicted of one step: seconds, host and device, an interval, and what of it was never measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, is_array
from ..model.step import Step
from .inputs import is_decode
from .intervals import Interval, lower_end, upper_end
from .passes import PassTimes
from .prediction import BOUNDS


@dataclass(frozen=True, slots=True)
class StepPrediction:
    """Seconds of a pass with the ends of their interval, of its host and of its kernels, which overlap.

    Numbers, or arrays where the step or the model holds arrays. An end is None (NaN in arrays) where none can be had.
    `bound` is what holds the largest share; `extrapolated_because` names what of a single pass was not measured.
    """

    seconds: Array
    low_s: Array
    high_s: Array
    host_s: Array
    device_s: Array
    bound: Array
    interval: float
    extrapolated: Array
    extrapolated_because: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def interval_width(step: Step, outside: Array, interval: Interval) -> Array:
    """What a pass may be longer or shorter by in log units, row by row.

    A decode step has the error of decode, a prefill that of prefill. A pass of several tokens over a cache has the
    larger of the two, widened as what is extrapolated.
    """
    decode, cached = is_decode(step), step.cached_tokens >= 1.0
    widths = [np.asarray(interval.width(phase, outside)) for phase in ("prefill", "decode")]
    width: Array = np.where(decode, widths[1], np.where(cached, np.maximum(*widths), widths[0]))
    return width if width.ndim else float(width)


def step_prediction(
    step: Step,
    times: PassTimes,
    ends: Sequence[PassTimes],
    interval: Interval,
    outside: Array,
    because: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> StepPrediction:
    """A step priced on the profile's host and on the fastest and slowest ones that its interval must hold."""
    width = interval_width(step, outside, interval)
    code = times.device_bound * 1 + times.compute_bound * 1
    return StepPrediction(
        times.seconds, _end(lower_end(times.seconds, ends[0].seconds, width)),
        _end(upper_end(times.seconds, ends[1].seconds, width)), times.host_s, times.device_s,
        np.asarray(BOUNDS)[code] if is_array(code) else BOUNDS[code], interval.level, outside > 0.0, because, notes,
    )  # fmt: skip


def _end(seconds: Array) -> Array:
    return None if not is_array(seconds) and seconds != seconds else seconds  # noqa: PLR0124  # NaN differs from itself
