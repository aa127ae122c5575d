"""Samples → observations: drift taken out by the reference, rounds combined, their spread as the noise."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .cases import Case, Timing
from .measure import Record
from .observations import Observation

LEAST_NOISE = 0.003  # no clock and no machine repeat better
# What counts as undisturbed: this quantile of the reference's times, each the median of so many neighbours (a single
# lucky timing is no level). On a shared CPU two calibrations agreed within 2 % by it, within 8 % by the lower quartile.
QUIET = 0.05
NEIGHBOURS = 5


class Level(NamedTuple):
    """Seconds of the reference on the undisturbed device by phase, and its own scatter (log units) from one timing to
    the next."""

    seconds: dict[str, float]
    scatter: dict[str, float]


def reference_level(records: Sequence[Record]) -> Level:
    """The level that samples are corrected to: what the reference takes while nothing disturbs the device."""
    seconds, scatter = {}, {}
    rows = [record for record in records if "before" in record]
    for phase in ("prefill", "decode"):
        times = [record["after"][phase] for record in rows]
        if rows:
            times.append(rows[0]["before"][phase])
            seconds[phase] = _quantile(_smoothed(times), QUIET)
            changes = [abs(math.log(r["after"][phase] / r["before"][phase])) for r in rows]
            scatter[phase] = 1.4826 * statistics.median(changes) / math.sqrt(2.0)
    return Level(seconds, scatter)


def drift(record: Record, phase: str, level: Level) -> float:
    """Log of how much slower than its level the device was around a sample."""
    here = 0.5 * (math.log(record["before"][phase]) + math.log(record["after"][phase]))
    return here - math.log(level.seconds[phase])


class Combined(NamedTuple):
    """One case: corrected seconds by clock, the spread between rounds (log units), what the samples were flagged."""

    case: Case
    seconds: dict[Timing, float]
    spread: float | None
    flags: tuple[str, ...]


def combine(records: Sequence[Record], cases: Sequence[Case]) -> list[Combined]:
    """Every case that has a sample. Flagged samples count only where a case has no other."""
    level = reference_level(records)
    by_case: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "sample":
            by_case.setdefault(record["case"], []).append(record)
    return [_combined(case, by_case[case.name], level) for case in cases if case.name in by_case]


def _combined(case: Case, samples: Sequence[Record], level: Level) -> Combined:
    clean = [record for record in samples if not record["flags"]] or list(samples)
    flags = tuple(sorted({flag for record in clean for flag in record["flags"]}))
    shifts = [drift(record, case.phase, level) for record in clean]
    seconds: dict[Timing, float] = {}
    logs: list[float] = []
    clocks: tuple[tuple[Timing, str], ...] = (("loop" if _is_loop(case) else "wall", "wall_s"), ("device", "replay_s"))
    for timing, clock in clocks:
        values = [
            math.log(record[clock]) - shift
            for record, shift in zip(clean, shifts, strict=True)
            if record.get(clock) is not None
        ]
        if values and not (timing == "device" and case.part != "blocks"):
            seconds[timing] = math.exp(statistics.median(values))
            logs = logs or values
    spread = statistics.stdev(logs) if len(logs) > 1 else None
    return Combined(case, seconds, spread, flags)


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
    """Least and greatest drift (log) of the run by phase: what the correction had to bridge."""
    rows = [record for record in records if "before" in record]
    found = {}
    for phase in level.seconds:
        values = [drift(record, phase, level) for record in rows]
        found[phase] = (min(values), max(values))
    return found
