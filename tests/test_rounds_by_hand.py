"""Rounds on benches that answer from a script: what is logged, repeated, skipped, given up, resumed."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from calibration_support import MemoryLog, case

from calibration.measure.bench import Bench, Hung, OutOfMemory, Times
from calibration.measure.cases import Case
from calibration.measure.rounds import disputed, measure
from calibration.measure.samples import Rules

RULES = Rules(rounds=2, warm_up_s=0.0)
REFERENCES = (case("reference-prefill", "prefill"), case("reference-decode"))


class Steady:
    """A bench of a fixed time, or an error instead of its first run; a reference takes what the lab says."""

    def __init__(self, lab: "Scripted", seconds: float, error: Exception | None, reference: bool) -> None:
        self._lab, self._seconds, self._error, self._reference = lab, seconds, error, reference

    def time(self, runs: int) -> Times:
        if self._error is not None:
            raise self._error
        return Times(runs * (self._lab.reference_s if self._reference else self._seconds), None, 0.25 * runs)

    def close(self) -> None:
        self._lab.closed += 1


class Scripted:
    """A lab of steady benches; `slower` scales the reference after the first so many cases were opened."""

    def __init__(
        self, seconds: Mapping[str, float] | None = None, errors: Mapping[str, Exception] | None = None,
        slower: Mapping[int, float] | None = None, throttled: Mapping[int, str] | None = None,
    ) -> None:  # fmt: skip
        self._seconds, self._errors, self._slower = seconds or {}, errors or {}, slower or {}
        self._throttled = throttled or {}
        self.opened, self.closed, self.full = list[str](), 0, frozenset[str]()

    @property
    def reference_s(self) -> float:
        return 2.0 * math.prod(factor for count, factor in self._slower.items() if len(self.opened) >= count)

    def open(self, case: Case, keep: bool = False) -> Bench:
        if case.name in self.full:
            raise OutOfMemory("x" * 500)
        if not keep:
            self.opened.append(case.name)
        return Steady(self, self._seconds.get(case.name, 1.0), self._errors.get(case.name), keep)

    def now(self) -> float:
        return 0.0

    def throttled(self) -> tuple[str, ...]:
        reason = self._throttled.get(len(self.opened))
        return () if reason is None else (reason,)


def run(lab: Scripted, names: str, rules: Rules = RULES, log: MemoryLog | None = None) -> list[dict[str, Any]]:
    kept = log or MemoryLog()
    measure(lab, [case(name) for name in names], REFERENCES, kept, rules)
    return kept.records


def test_a_sample_as_it_is_kept() -> None:
    """Two steps a run: what is kept is one step's time; the reference, of two seconds, stands around it."""
    first, second = run(Scripted(), "a")
    around = dict.fromkeys(("prefill", "decode"), 2.0) | dict.fromkeys(("prefill_device", "decode_device"), 0.25)
    assert first == {
        "kind": "sample", "case": "a", "phase": "decode", "wall_s": 0.5, "device_s": None, "replay_s": 0.125,
        "spread": 0.0, "blocks": 3, "flags": [], "round": 0, "attempt": 0, "before": around, "after": around,
    }  # fmt: skip
    assert second == {**first, "round": 1}


def test_the_reference_after_one_sample_is_the_one_before_the_next() -> None:
    records = run(Scripted(slower={2: 1.1}), "ab", Rules(rounds=1, warm_up_s=0.0))
    assert [r["before"]["decode"] for r in records] == [2.0, 2.0]
    assert [r["after"]["decode"] for r in records] == pytest.approx([2.0, 2.2])


@pytest.mark.parametrize(("factor", "flags"), [(1.15, []), (1.18, ["drifting"]), (0.87, []), (0.85, ["drifting"])])
def test_a_reference_that_moved_by_more_than_15_percent_flags_the_sample(factor: float, flags: list[str]) -> None:
    """In log units: 0.15 is a factor of 1.162, or 0.861."""
    records = run(Scripted(slower={1: factor}), "a", Rules(rounds=1, warm_up_s=0.0))
    assert records[0]["flags"] == flags


def test_a_flagged_sample_is_repeated_at_the_end_of_its_round() -> None:
    records = run(Scripted(throttled={1: "heat"}), "ab", Rules(rounds=1, warm_up_s=0.0))
    names = [r["case"] for r in records]
    assert names == [names[0], names[1], names[0]] and len({*names}) == 2
    assert [r["attempt"] for r in records] == [0, 0, 1]
    assert [r["flags"] for r in records] == [["throttled:heat"], [], []]


def test_two_rounds_in_orders_of_the_first_seed_unless_told_otherwise() -> None:
    orders = []
    for more in ({}, {"seed": 0}, {"seed": 1}):
        lab = Scripted()
        measure(lab, [case(f"c{i}") for i in range(9)], REFERENCES, MemoryLog(), Rules(warm_up_s=0.0), **more)
        orders.append(lab.opened)
        assert len(lab.opened) == 18 and lab.opened[:9] != lab.opened[9:]
    assert orders[0] == orders[1] != orders[2]


def test_three_attempts_and_no_more() -> None:
    """A name of a reason is cut to what an observation may keep."""
    records = run(Scripted(throttled=dict.fromkeys(range(99), "y" * 90)), "a", Rules(rounds=1, warm_up_s=0.0))
    assert [r["attempt"] for r in records] == [0, 1, 2]
    assert all(r["flags"] == [("throttled:" + "y" * 90)[:40]] for r in records)


def test_what_cannot_run_is_skipped_for_good_with_the_reason() -> None:
    errors = {"b": OutOfMemory("z" * 500), "c": Hung("w" * 500)}
    lab = Scripted(errors=errors)
    lab.full = frozenset("a")
    skips = {r["case"]: r for r in run(lab, "abcd") if r["kind"] == "skip"}
    assert {name: r["reason"] for name, r in skips.items()} == {"a": "out of memory", "b": "out of memory", "c": "hung"}
    assert [len(r["detail"]) for r in skips.values()] == [200] * 3
    assert sorted(lab.opened) == ["b", "c", "d", "d"]  # `a` was never open; nothing is tried again but what ran
    assert lab.closed == 2 + 4  # the references and all that were open


def test_a_run_goes_on_where_another_stopped() -> None:
    log = MemoryLog()
    whole = run(Scripted(), "abc", log=log)
    for cut in range(len(whole) + 1):
        lab, kept = Scripted(), MemoryLog(whole[:cut])
        assert run(lab, "abc", log=kept) == whole
        assert lab.opened == [r["case"] for r in whole[cut:]]


def test_what_was_skipped_before_is_not_tried_again() -> None:
    skip = {"kind": "skip", "case": "a", "round": 0, "reason": "hung", "flags": []}
    lab = Scripted()
    run(lab, "ab", log=MemoryLog([skip]))
    assert lab.opened == ["b", "b"]


def test_a_flagged_sample_of_before_counts_as_one_attempt() -> None:
    whole = run(Scripted(), "a", Rules(rounds=1, warm_up_s=0.0))
    lab = Scripted(throttled=dict.fromkeys(range(99), "heat"))
    records = run(lab, "a", Rules(rounds=1, warm_up_s=0.0), MemoryLog([{**whole[0], "flags": ["drifting"]}]))
    assert [r["attempt"] for r in records] == [0, 1, 2]


def test_progress_counts_planned_samples_up_to_all_of_them() -> None:
    told: list[tuple[int, int, str]] = []
    cases = [case(name) for name in "abc"]
    measure(Scripted(), cases, REFERENCES, MemoryLog(), RULES, progress=lambda *what: told.append(what))
    assert [(done, total) for done, total, _ in told] == [(i, 6) for i in range(7)]
    assert sorted(name for *_, name in told[:3]) == ["a", "b", "c"] and told[-1][2] == ""


def test_progress_never_passes_the_end() -> None:
    """The extra round of a case whose rounds disagree is beyond the plan."""
    told: list[tuple[int, int, str]] = []
    whole = run(Scripted(), "abcde")
    logged = [{**r, "wall_s": r["wall_s"] * (2.0 if r["case"] == "c" and r["round"] else 1.0 + 0.01 * r["round"])}
              for r in whole]  # fmt: skip
    measure(Scripted(), [case(n) for n in "abcde"], REFERENCES, MemoryLog(logged), RULES,
            progress=lambda *what: told.append(what))  # fmt: skip
    assert told == [(10, 10, "c"), (10, 10, "")]


def tries(**walls: tuple[float, ...]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Samples of decode cases by round, around which the reference took 1 and 4 s."""
    around = {"before": {"decode": 1.0, "prefill": 7.0}, "after": {"decode": 4.0, "prefill": 9.0}}
    return {
        (name, one): [{"kind": "sample", "wall_s": wall, **around}]
        for name, some in walls.items()
        for one, wall in enumerate(some)
    }


@pytest.mark.parametrize(("times", "chosen"), [(3.9, []), (4.1, ["c"])])
def test_four_times_the_typical_difference_is_disputed(times: float, chosen: list[str]) -> None:
    """The other cases differ by 0.01, 0.02 and 0.03 between their rounds: 0.02 is typical. One has a single round."""
    found = tries(
        a=(1.0, math.exp(0.01)), b=(1.0, math.exp(0.02)), d=(1.0, math.exp(0.01)), e=(1.0, math.exp(0.03)),
        c=(math.exp(0.02 * times), 1.0), single=(5.0,),
    )  # fmt: skip
    assert [c.name for c in disputed([case(n) for n in ("a", "b", "c", "d", "e", "single")], found)] == chosen


def test_three_rounds_differ_by_their_extremes_and_the_last_attempt_counts() -> None:
    found = tries(a=(1.0, 1.01), b=(1.0, 1.01), c=(1.0, 1.3, 1.0), d=(1.0, 1.01))
    found["d", 0].insert(0, {**found["d", 0][0], "wall_s": 9.0})
    found["d", 1].append({"kind": "skip"})
    assert [c.name for c in disputed([case(n) for n in "abcd"], found)] == ["c"]


def test_drift_is_no_dispute() -> None:
    """The reference doubled with the sample."""
    found = tries(a=(1.0, 1.01), b=(1.0, 1.01), c=(1.0, 2.0))
    slow = {phase: 2.0 * value for phase, value in found["c", 1][0]["before"].items()}
    found["c", 1][0] |= {"before": slow, "after": {phase: 4.0 * value for phase, value in slow.items()}}
    assert not disputed([case(n) for n in "abc"], found)


def test_rounds_that_agree_to_the_digit_are_typical() -> None:
    assert not disputed([case(n) for n in "abc"], tries(a=(1.0, 1.0), b=(1.0, 1.0), c=(1.0, 1.5)))
    assert not disputed([case("a")], {})
