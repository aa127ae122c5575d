"""Samples → observations: drift taken out by the reference, rounds combined, their spread as the noise."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .cases import Case, Timing
from .measure import Record, device_clock
from .observations import Observation

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

    `followed` says whether samples are slow when the reference is; else its ups and downs are its own.
    """

    seconds: dict[str, float]
    followed: bool


def reference_level(records: Sequence[Record]) -> Level:
    """The level that samples are corrected to: what the reference takes while nothing disturbs the device.

    Samples follow the reference where taking its drift out makes their rounds agree better. The time of a shared host
    comes and goes for all; a GPU's kernels repeat within 0.3 %, and there a reference would add its own scatter.
    """
    level = Level(_undisturbed(records), followed=True)
    cases = [some for some in _by_case(records).values() if len(some) > 1]
    if not cases:
        return level
    as_they_are = [statistics.stdev(math.log(r["wall_s"]) for r in some) for some in cases]
    corrected = [statistics.stdev(math.log(r["wall_s"]) - felt(r, level) for r in some) for some in cases]
    return level._replace(followed=statistics.fmean(corrected) <= statistics.fmean(as_they_are))


def _undisturbed(records: Sequence[Record]) -> dict[str, float]:
    rows = [record for record in records if "before" in record]
    clocks = rows[0]["before"] if rows else ()
    return {
        clock: _quantile(_smoothed([rows[0]["before"][clock], *(row["after"][clock] for row in rows)]), QUIET)
        for clock in clocks
    }


def _by_case(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "sample":
            found.setdefault(record["case"], []).append(record)
    return found


def drift(record: Record, clock: str, level: Level) -> float:
    """Log of how much slower than its level the reference was around a sample; none by a clock that it has not."""
    if not level.followed or clock not in level.seconds:
        return 0.0
    before, after = record["before"][clock], record["after"][clock]
    return math.log(math.sqrt(before * after) / level.seconds[clock])


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
    return Combined(case, seconds, statistics.stdev(walls) if len(walls) > 1 else None, flags)


def _surest(logs: Sequence[float], shifts: Sequence[float]) -> float:
    """Weighted median of corrected times: one that was corrected by much is less sure than an undisturbed one."""
    weights = [1.0 / (OWN_ERROR**2 + (SHIFT_ERROR * shift) ** 2) for shift in shifts]
    half, below = 0.5 * sum(weights), 0.0
    ordered = sorted(zip(logs, weights, strict=True))
    for (here, weight), (following, _) in zip(ordered, [*ordered[1:], ordered[-1]], strict=True):
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
    spreads = [one.spread for one in combined if one.spread is not None]
    # For two rounds |a − b|/√2 has the median 0.674 σ.
    return max(LEAST_NOISE, statistics.median(spreads) / 0.6745) if spreads else LEAST_NOISE


def observations(combined: Sequence[Combined], gpu: str) -> list[Observation]:
    """Observations of all cases. Noise of a case: its own spread and the typical one, pooled, over √rounds."""
    typical = noise_level(combined)
    rows = []
    for one in combined:
        own = typical if one.spread is None else one.spread
        noise = math.sqrt(0.5 * (own * own + typical * typical)) / math.sqrt(2.0)
        flags = (*one.flags, "noisy") if own > 5.0 * typical else one.flags
        for timing, seconds in one.seconds.items():
            rows.append(one.case.observation(gpu, timing, seconds, max(noise, LEAST_NOISE), flags))
    return rows


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
    found = {}
    for clock in level.seconds:
        values = [drift(record, clock, level) for record in rows]
        found[clock] = (min(values), max(values))
    return found
