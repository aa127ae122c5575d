"""Timing cases with a `Lab`: warm-up, block size, stop rule, random order over rounds, a reference against drift.

Knows a clock and benches, not a device: the same code drives CUDA, a CPU and the simulated device of the tests.
"""

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from latmodel.report.progress import Progress, no_progress

from .cases import Case


class OutOfMemory(Exception):  # noqa: N818  # what happened, in the words of torch
    """The case does not fit the device's memory; the message says how much it needs."""


class Hung(Exception):  # noqa: N818
    """A run took longer than any run may."""


FIRST_RUN = 10.0  # the first run of a case may take so many times as long as any other before it counts as hung


class Times(NamedTuple):
    """Seconds of some runs back to back, from three clocks; None where the device has no such clock.

    `wall_s` ends with one synchronisation, `device_s` is what events around the runs saw, `replay_s` the replay of a
    device graph of the same runs, which has no host term.
    """

    wall_s: float
    device_s: float | None = None
    replay_s: float | None = None


class Bench(Protocol):
    """One case, set up and ready to run."""

    def time(self, runs: int) -> Times:
        """Seconds of `runs` runs together."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Lab(Protocol):
    """A device with one runtime, as far as measuring is concerned."""

    def open(self, case: Case, keep: bool = False) -> Bench:
        """Set a case up; one that is kept stays open beside others.

        Raises:
            OutOfMemory: it does not fit.
        """
        ...

    def now(self) -> float:
        """Seconds on a steady clock."""
        ...

    def throttled(self) -> tuple[str, ...]:
        """Why the device runs slower than it can, at this moment; empty if it does not or cannot say."""
        ...


@dataclass(frozen=True)
class Rules:
    """When a sample is long enough and when it is good enough. Two numbers judge noise: `precision`, `max_drift`."""

    rounds: int = 2
    block_s: float = 0.02  # runs are timed in blocks at least this long, so that the clock's grain is nothing
    sample_s: float = 0.4  # a sample ends here at the latest (a started block is finished)
    least_blocks: int = 3
    precision: float = 0.004  # a sample ends when the standard error of its median is below this share
    max_drift: float = 0.15  # the reference may change this much (log) across a sample before it is repeated
    attempts: int = 3
    limit_s: float = 60.0  # one run longer than this is given up as hung


class Sample(NamedTuple):
    """Medians over blocks, seconds per run, and the relative spread of the blocks."""

    times: Times
    spread: float
    blocks: int


def sample(bench: Bench, now: Callable[[], float], rules: Rules) -> Sample:
    """Warm up, find the block size, repeat blocks until the rule says stop.

    Raises:
        Hung: a run took longer than `rules.limit_s`.
    """
    start = now()
    bench.time(1)
    _check((now() - start) / FIRST_RUN, rules)  # it may compile
    once = bench.time(1)
    runs = max(1, math.ceil(rules.block_s / once.wall_s))
    begin, blocks = now(), [] if runs > 1 else [once]
    while len(blocks) < rules.least_blocks or (
        now() - begin < rules.sample_s and _relative_error([b.wall_s for b in blocks]) > rules.precision
    ):
        before = now()
        blocks.append(_each(bench.time(runs), runs))
        _check(now() - before, rules, runs)
        if len(blocks) > 1 and now() - begin > 3.0 * rules.sample_s:  # one block alone has no spread
            break
    return Sample(
        Times(*(_median([block[i] for block in blocks]) for i in range(3))),  # type: ignore[arg-type]
        _relative_error([b.wall_s for b in blocks]) * math.sqrt(len(blocks)),
        len(blocks),
    )


def _check(seconds: float, rules: Rules, runs: int = 1) -> None:
    if seconds > rules.limit_s * runs:
        raise Hung(f"a run took {seconds / runs:.0f} s")


def _each(times: Times, runs: int) -> Times:
    return Times(*(None if value is None else value / runs for value in times))  # type: ignore[arg-type]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _relative_error(values: Sequence[float]) -> float:
    """Standard error of the median over the median, from the mean absolute deviation."""
    if len(values) < 2:
        return math.inf
    middle = statistics.median(values)
    deviation = statistics.fmean(abs(value - middle) for value in values)
    return 1.571 * deviation / (middle * math.sqrt(len(values)))  # √(π/2) twice: deviation → σ → error of a median


def device_clock(phase: str) -> str:
    """The name under which the reference of a phase tells the time of its kernels alone."""
    return f"{phase}_device"


class Reference:
    """One prefill and one decode case that stay open and are timed again and again: what they take is the drift."""

    LEAST_RUNS, MOST_RUNS = 3, 15
    LENGTH_S = 0.02  # of one timing, within those numbers of runs

    def __init__(self, lab: Lab, cases: Sequence[Case]) -> None:
        self._benches = {case.phase: lab.open(case, keep=True) for case in cases}

    def seconds(self) -> dict[str, float]:
        """Seconds of each reference, now: the wall time under its phase, a graph's replay under `phase_device`."""
        found: dict[str, float] = {}
        for phase, bench in self._benches.items():
            wall, replay = self._medians(bench)
            found[phase] = wall
            if replay is not None:
                found[device_clock(phase)] = replay
        return found

    def _medians(self, bench: Bench) -> tuple[float, float | None]:
        # Untimed: the case before left the caches cold, and gave back memory that must now be asked for again.
        once = bench.time(1).wall_s
        found = [bench.time(1) for _ in range(self.runs(once))]
        return statistics.median(times.wall_s for times in found), _median([times.replay_s for times in found])

    @classmethod
    def runs(cls, once_s: float) -> int:
        """How many runs of `once_s` seconds a timing takes the median of."""
        return min(max(math.ceil(cls.LENGTH_S / max(once_s, 1e-6)), cls.LEAST_RUNS), cls.MOST_RUNS)

    def close(self) -> None:
        """Give back what the reference holds."""
        for bench in self._benches.values():
            bench.close()


Record = dict[str, Any]


class Log(Protocol):
    """Where records go, one at a time, and which are there already."""

    def append(self, record: Record) -> None:
        """Keep a record for good before returning."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """All records kept so far, those of earlier runs included."""
        ...


def measure(
    lab: Lab,
    cases: Sequence[Case],
    references: Sequence[Case],
    log: Log,
    rules: Rules,
    seed: int = 0,
    progress: Progress = no_progress,
) -> None:
    """Time every case once a round, in an order of its own each round, and keep every sample as it comes.

    What the log holds already is not measured again. A sample across which the reference drifts, or during which the
    device throttles, is repeated at the end of its round, `rules.attempts` times in all; every sample is kept.
    """
    skipped = {r["case"] for r in log.records if r["kind"] == "skip"}
    tries = _tries(log.records)
    reference = Reference(lab, references)
    total = rules.rounds * len(cases)
    try:
        for one in range(rules.rounds + 1):
            # After the planned rounds, one more for the cases whose rounds disagree.
            chosen = cases if one < rules.rounds else disputed(cases, tries)
            todo = [c for c in _shuffled(chosen, seed, one) if not _is_done(tries.get((c.name, one), []), rules)]
            before = reference.seconds() if todo else {}
            while todo:
                case = todo.pop(0)
                if case.name in skipped:
                    continue
                progress(min(one * len(cases) + len(chosen) - len(todo) - 1, total), total, case.name)
                record = _measure_one(lab, case, rules)
                after = reference.seconds()
                past = tries.setdefault((case.name, one), [])
                record |= {"round": one, "attempt": len(past), "before": before, "after": after}
                record["flags"] = [*record.get("flags", ()), *_drifted(case, before, after, rules)]
                log.append(record)
                past.append(record)
                if record["kind"] == "skip":
                    skipped.add(case.name)
                elif not _is_done(past, rules):
                    todo.append(case)  # again at the end of its round
                before = after
    finally:
        reference.close()
    progress(total, total, "")


DISPUTED = 4.0  # rounds that differ by so many times the typical difference need another to decide


def disputed(cases: Sequence[Case], tries: Mapping[tuple[str, int], Sequence[Record]]) -> list[Case]:
    """Cases whose rounds differ much more than those of the others, drift taken out."""
    spreads = {}
    for case in cases:
        logs = [
            math.log(record["wall_s"] / math.sqrt(record["before"][case.phase] * record["after"][case.phase]))
            for (name, _), records in tries.items() if name == case.name
            for record in records[-1:] if record["kind"] == "sample"
        ]  # fmt: skip
        if len(logs) > 1:
            spreads[case.name] = max(logs) - min(logs)
    typical = statistics.median(spreads.values()) if spreads else 0.0
    return [case for case in cases if spreads.get(case.name, 0.0) > DISPUTED * typical > 0.0]


def _shuffled(cases: Sequence[Case], seed: int, one: int) -> list[Case]:
    order = list(cases)
    random.Random(f"{seed}/{one}").shuffle(order)
    return order


def _tries(records: Sequence[Record]) -> dict[tuple[str, int], list[Record]]:
    tries: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if record["kind"] in ("sample", "skip"):
            tries.setdefault((record["case"], record["round"]), []).append(record)
    return tries


def _is_done(past: Sequence[Record], rules: Rules) -> bool:
    return bool(past) and (not past[-1]["flags"] or len(past) >= rules.attempts or past[-1]["kind"] == "skip")


def _measure_one(lab: Lab, case: Case, rules: Rules) -> Record:
    try:
        bench = lab.open(case)
    except OutOfMemory as error:
        return {"kind": "skip", "case": case.name, "reason": "out of memory", "detail": str(error)[:200]}
    try:
        found = sample(bench, lab.now, rules)
    except OutOfMemory as error:
        return {"kind": "skip", "case": case.name, "reason": "out of memory", "detail": str(error)[:200]}
    except Hung as error:
        return {"kind": "skip", "case": case.name, "reason": "hung", "detail": str(error)[:200]}
    finally:
        bench.close()
    each = _each(found.times, case.units)
    flags = [f"throttled:{reason}"[:40] for reason in lab.throttled()]
    return {
        "kind": "sample", "case": case.name, "phase": case.phase, "wall_s": each.wall_s, "device_s": each.device_s,
        "replay_s": each.replay_s, "spread": found.spread, "blocks": found.blocks, "flags": flags,
    }  # fmt: skip


def _drifted(case: Case, before: Mapping[str, float], after: Mapping[str, float], rules: Rules) -> list[str]:
    change = abs(math.log(after[case.phase] / before[case.phase]))
    return ["drifting"] if change > rules.max_drift else []
