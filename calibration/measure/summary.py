"""Samples → observations: drift taken out by the reference, rounds combined, their spread as the noise."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..observations.record import Observation
from .cases import Case, Timing
from .reference import device_clock
from .rounds import Record

LEAST_NOISE = 0.003  # no clock and no machine repeat better
# What counts as undisturbed: this quantile of the reference's times, each the median of so many neighbours (a single
# lucky timing is no level). On a shared CPU two calibrations agreed within 2 % by it, within 8 % by the lower quartile.
QUIET = 0.05
NEIGHBOURS = 5
# A wall time so much longer than its kernels alone is the host's; one so close to them is the device's.
HOST_BOUND, DEVICE_BOUND = 1.3, 1.05

# Error (log units) of a sample, and of a correction as a share of itself: on an H100 with a shared host, samples that
# were corrected by a quarter and more were off by more than half of that in the median.
OWN_ERROR, SHIFT_ERROR = 0.02, 0.5


class Level(NamedTuple):
    """Seconds of the reference on the undisturbed device, by clock: wall times by phase, kernels by `device_clock`.

    `share` is how much of the reference's drift (log) samples have: 1 where all is slow when it is, 0 where its ups and
    downs are its own.
    """

    seconds: dict[str, float]
    share: float


def reference_level(records: Sequence[Record]) -> Level:
    """The level that samples are corrected to: what the reference takes while nothing disturbs the device.

    The share is the slope of the samples' logs over the reference's, between samples of one case (least absolute
    deviations: a reference that is noisy by itself lowers it, an outlier does not). Seen: 1.0 on an H100 whose host
    another used for some seconds, 0.02 for its graphs, which repeat within 0.3 %, and 0.4 to 0.6 on a CPU of two cores
    that three processes shared.
    """
    level = Level(_undisturbed(records), share=1.0)
    slopes: list[tuple[float, float]] = []  # of single samples about their case's mean, weighted by how far they moved
    for some in _by_case(record for record in records if not record.get("flags")).values():
        shifts = _about_mean([felt(record, level) for record in some])
        changes = _about_mean([math.log(record["wall_s"]) for record in some])
        slopes += [
            (change / shift, abs(shift)) for change, shift in zip(changes, shifts, strict=True) if abs(shift) > 1e-9
        ]
    return level._replace(share=min(max(_weighted_median(slopes), 0.0), 1.0) if slopes else 1.0)


def _about_mean(values: Sequence[float]) -> list[float]:
    mean = statistics.fmean(values)
    return [value - mean for value in values]


def _undisturbed(records: Sequence[Record]) -> dict[str, float]:
    rows = [record for record in records if "before" in record]
    clocks = rows[0]["before"] if rows else ()
    return {
        clock: _quantile(_smoothed([rows[0]["before"][clock], *(row["after"][clock] for row in rows)]), QUIET)
        for clock in clocks
    }


def _by_case(records: Iterable[Record]) -> dict[str, list[Record]]:
    by_case: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "sample":
            by_case.setdefault(record["case"], []).append(record)
    return by_case


def drift(record: Record, clock: str, level: Level) -> float:
    """Log of how much slower than undisturbed the device was around a sample; none by a clock that it has not."""
    if clock not in level.seconds:
        return 0.0
    before, after = record["before"][clock], record["after"][clock]
    return level.share * math.log(math.sqrt(before * after) / level.seconds[clock])


def felt(record: Record, level: Level) -> float:
    """The drift of a sample's wall time: the host's or the device's, whichever the sample waited for."""
    if record["replay_s"] is None:  # one thread for both, or a tiny model
        return drift(record, record["phase"], level)
    ratio: float = record["wall_s"] / record["replay_s"]
    share = min(max((ratio - DEVICE_BOUND) / (HOST_BOUND - DEVICE_BOUND), 0.0), 1.0)
    host, device = (drift(record, clock, level) for clock in (record["phase"], device_clock(record["phase"])))
    return share * host + (1.0 - share) * device


class Combined(NamedTuple):
    """One case: corrected seconds by clock, the spread between rounds (log units), what the samples were flagged."""

    case: Case
    seconds: dict[Timing, float]
    spread: float | None
    flags: tuple[str, ...]
    rounds: int  # samples that count


def combine(records: Sequence[Record], cases: Sequence[Case]) -> list[Combined]:
    """Every case that has a sample. Flagged samples count only where a case has no other."""
    level = reference_level(records)
    by_case = _by_case(records)
    return [_combined(case, by_case[case.name], level) for case in cases if case.name in by_case]


def _combined(case: Case, samples: Sequence[Record], level: Level) -> Combined:
    clean = [record for record in samples if not record["flags"]] or list(samples)
    flags = tuple(sorted({flag for record in clean for flag in record["flags"]}))
    shifts = [felt(record, level) for record in clean]
    walls = [math.log(record["wall_s"]) - shift for record, shift in zip(clean, shifts, strict=True)]
    seconds: dict[Timing, float] = {"loop" if _is_loop(case) else "wall": math.exp(_surest(walls, shifts))}
    replayed = [record for record in clean if record["replay_s"] is not None]
    if replayed and case.part == "blocks":
        shifts = [drift(record, device_clock(case.phase), level) for record in replayed]
        replays = [math.log(record["replay_s"]) - shift for record, shift in zip(replayed, shifts, strict=True)]
        seconds["device"] = math.exp(_surest(replays, shifts))
    return Combined(case, seconds, statistics.stdev(walls) if len(walls) > 1 else None, flags, len(walls))


def _surest(logs: Sequence[float], shifts: Sequence[float]) -> float:
    """Weighted median of corrected times: one that was corrected by much is less sure than an undisturbed one."""
    weights = [1.0 / (OWN_ERROR**2 + (SHIFT_ERROR * shift) ** 2) for shift in shifts]
    return _weighted_median(list(zip(logs, weights, strict=True)))


def _weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """Of values with weights; halfway between two values where the weights on both sides are the same."""
    ordered = sorted(pairs)
    half, below = 0.5 * sum(weight for _, weight in ordered), 0.0
    for (here, weight), (following, _) in pairwise(ordered):
        below += weight
        if below > half * (1.0 + 1e-9):
            return here
        if below > half * (1.0 - 1e-9):
            return 0.5 * (here + following)
    return ordered[-1][0]


def _is_loop(case: Case) -> bool:
    return case.part == "model" and case.phase == "decode"


def noise_level(combined: Sequence[Combined]) -> float:
    """Typical standard deviation of log(seconds) between rounds, over all cases (robust)."""
    spreads = [one.spread / _median_spread(one.rounds) for one in combined if one.spread is not None]
    return max(LEAST_NOISE, statistics.median(spreads)) if spreads else LEAST_NOISE


def _median_spread(rounds: int) -> float:
    """Median of the sample standard deviation of so many normal values, over the true one (0.674 of two).

    √(median of χ² / n) with n = rounds − 1 degrees of freedom; beyond two by Wilson and Hilferty (1931), within 1 %.
    """
    freedom = rounds - 1
    return 0.6745 if freedom == 1 else (1.0 - 2.0 / (9.0 * freedom)) ** 1.5


def observations(combined: Sequence[Combined], gpu: str) -> list[Observation]:
    """Observations of all cases. Noise of a case: its own spread and the typical one, pooled as if the latter stood for
    one more round, times the error of a median of its rounds."""
    typical = noise_level(combined)
    rows = []
    for one in combined:
        own = typical if one.spread is None else one.spread
        pooled = math.sqrt(((one.rounds - 1) * own * own + typical * typical) / one.rounds)
        noise = pooled * _median_error(one.rounds)
        flags = (*one.flags, "noisy") if own > 5.0 * typical else one.flags
        for timing, seconds in one.seconds.items():
            rows.append(one.case.observation(gpu, timing, seconds, max(noise, LEAST_NOISE), flags))
    return rows


def _median_error(rounds: int) -> float:
    """Standard deviation of the median of so many normal values of standard deviation 1; √(π / 2n) for many of them.

    Of up to six by simulation (400,000 draws); the median of two is their mean.
    """
    few = {1: 1.0, 2: math.sqrt(0.5), 3: 0.670, 4: 0.546, 5: 0.536, 6: 0.464}
    return few.get(rounds) or math.sqrt(0.5 * math.pi / rounds)


def _smoothed(times: Sequence[float]) -> list[float]:
    """Running medians of `NEIGHBOURS` times."""
    width = min(NEIGHBOURS, len(times))
    return [statistics.median(times[i : i + width]) for i in range(len(times) - width + 1)]


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))]


def drift_range(records: Sequence[Record], level: Level) -> Mapping[str, tuple[float, float]]:
    """Least and greatest drift (log) of the run by clock: what the correction had to bridge."""
    rows = [record for record in records if "before" in record]
    ranges = {}
    for clock in level.seconds:
        values = [drift(record, clock, level) for record in rows]
        ranges[clock] = (min(values), max(values))
    return ranges
