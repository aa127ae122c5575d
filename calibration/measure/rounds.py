"""Every case once a round, in an order of its own, with the reference around each sample; kept as they come."""

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from latmodel.report.progress import Progress, no_progress

from .bench import Hung, Lab, OutOfMemory
from .cases import Case
from .reference import Reference
from .samples import Rules, per_run, sample

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
        timed = sample(bench, lab.now, rules)
    except OutOfMemory as error:
        return {"kind": "skip", "case": case.name, "reason": "out of memory", "detail": str(error)[:200]}
    except Hung as error:
        return {"kind": "skip", "case": case.name, "reason": "hung", "detail": str(error)[:200]}
    finally:
        bench.close()
    each = per_run(timed.times, case.units)
    flags = [f"throttled:{reason}"[:40] for reason in lab.throttled()]
    return {
        "kind": "sample", "case": case.name, "phase": case.phase, "wall_s": each.wall_s, "device_s": each.device_s,
        "replay_s": each.replay_s, "spread": timed.spread, "blocks": timed.blocks, "flags": flags,
    }  # fmt: skip


def _drifted(case: Case, before: Mapping[str, float], after: Mapping[str, float], rules: Rules) -> list[str]:
    change = abs(math.log(after[case.phase] / before[case.phase]))
    return ["drifting"] if change > rules.max_drift else []
