"""The measuring loop, on simulated benches with a fake clock: nothing sleeps."""

import math
import statistics

import numpy as np
import pytest
from calibration_support import MemoryLog, case, task

from calibration.measure.bench import Hung, Times
from calibration.measure.rounds import disputed, measure
from calibration.measure.samples import Rules, sample
from calibration.measure.simulated import Disturbance, SimulatedLab, true_seconds
from calibration.measure.summary import Combined, combine, noise_level, observations, reference_level

RULES = Rules(rounds=2, block_s=0.001, sample_s=0.05)
REFERENCES = (case("reference-prefill", "prefill"), case("reference-decode"))


class Ticking:
    """A bench whose every run takes the next of a list of times (the last for ever)."""

    def __init__(self, *seconds: float) -> None:
        self.clock = 0.0
        self.calls: list[int] = []
        self._seconds = list(seconds)

    def time(self, runs: int) -> Times:
        self.calls.append(runs)
        each = self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        self.clock += runs * each
        return Times(runs * each)

    def close(self) -> None: ...


def lab(**disturbance: object) -> SimulatedLab:
    return SimulatedLab(
        task("cpu").start.target("transformers-eager"), disturbance=Disturbance(**disturbance), replay=False
    )  # type: ignore[arg-type]


def test_the_warm_up_run_does_not_count() -> None:
    bench = Ticking(5.0, 0.1)
    found = sample(bench, lambda: bench.clock, Rules(block_s=0.1, least_blocks=3))
    assert found.times.wall_s == pytest.approx(0.1)
    assert found.spread == 0.0


def test_a_short_case_is_warmed_up_for_a_while() -> None:
    """A clock that rises over 30 ms: what is kept was run after that."""
    bench = Ticking(*[2e-3] * 15, 1e-3)
    found = sample(bench, lambda: bench.clock, Rules(warm_up_s=0.04))
    assert found.times.wall_s == pytest.approx(1e-3) and found.spread == 0.0
    assert sample(Ticking(*[2e-3] * 15, 1e-3), lambda: 0.0, Rules(warm_up_s=0.0)).times.wall_s > 1e-3


def test_short_runs_are_timed_in_blocks_of_the_asked_length() -> None:
    bench = Ticking(1e-3)
    sample(bench, lambda: bench.clock, Rules(block_s=0.02))
    blocks = [runs for runs in bench.calls if runs > 1]
    assert blocks and set(blocks) == {20}  # 20 runs of 1 ms make a block of 20 ms


def test_a_steady_bench_stops_at_the_fewest_blocks_and_a_noisy_one_at_the_time_limit() -> None:
    steady, noisy = Ticking(0.03), Ticking(*[0.03, 0.05] * 200)
    assert sample(steady, lambda: steady.clock, Rules(sample_s=2.0)).blocks == 3
    sample(noisy, lambda: noisy.clock, Rules(sample_s=2.0))
    assert 2.0 <= noisy.clock <= 2.3  # two warm-up runs, then blocks until 2 s are over


def test_a_machine_that_stalls_in_the_first_block_still_tells_a_spread() -> None:
    stalling = Ticking(1e-3, 1e-3, 1.0)  # blocks of 20 runs, 20 s each where 0.4 s were meant
    found = sample(stalling, lambda: stalling.clock, Rules(sample_s=0.4, block_s=0.02, warm_up_s=0.0))
    assert found.blocks == 2 and math.isfinite(found.spread)


def test_a_run_that_does_not_come_back_is_given_up() -> None:
    bench = Ticking(0.01, 0.01, 500.0)
    with pytest.raises(Hung, match="500 s"):
        sample(bench, lambda: bench.clock, Rules(limit_s=60.0))


def test_times_are_the_planted_ones_and_every_round_is_kept() -> None:
    cases = [case("a"), case("b", "prefill"), case("c", layers=8)]
    log = MemoryLog()
    measure(lab(noise=0.0, jitter=0.0, reference_noise=0.0), cases, REFERENCES, log, RULES)
    assert sorted((r["case"], r["round"]) for r in log.records) == sorted((c.name, i) for c in cases for i in (0, 1))
    target = task("cpu").start.target("transformers-eager")
    for one in combine(log.records, cases):
        assert one.seconds["wall"] == pytest.approx(true_seconds(one.case, target)[0], rel=1e-9)


def test_rounds_have_orders_of_their_own() -> None:
    cases = [case(f"c{i}") for i in range(12)]
    log = MemoryLog()
    measure(lab(), cases, REFERENCES, log, RULES, seed=3)
    first, second = ([r["case"] for r in log.records if r["round"] == i and not r["attempt"]] for i in (0, 1))
    assert sorted(first) == sorted(second) == sorted(c.name for c in cases)
    assert first != second


def test_drift_is_taken_out_by_the_reference() -> None:
    cases = [case(f"c{i}", layers=4 + i) for i in range(10)]
    log = MemoryLog()
    quiet = {"noise": 0.0, "jitter": 0.0, "reference_noise": 0.0}
    swinging = lab(**quiet, drift=0.4, drift_period_s=30.0)
    measure(swinging, cases, REFERENCES, log, RULES)
    target = task("cpu").start.target("transformers-eager")
    errors = [math.log(one.seconds["wall"] / true_seconds(one.case, target)[0]) for one in combine(log.records, cases)]
    assert max(errors) - min(errors) < 0.03  # uncorrected they would differ by up to 40 %


def gpu(**disturbance: object) -> SimulatedLab:
    return SimulatedLab(task("cuda").start.target("transformers-eager"), disturbance=Disturbance(**disturbance))  # type: ignore[arg-type]


def test_the_drift_of_a_gpus_host_is_taken_out_of_its_own_time_alone() -> None:
    narrow = [case(f"n{i}", layers=4 + i) for i in range(6)]  # waits for the host
    wide = [case(f"w{i}", "prefill", layers=2, hidden=8192, ffn=16384 + 64 * i, heads=64) for i in range(6)]
    swinging = gpu(noise=0.0, jitter=0.0, reference_noise=0.0, host_drift=0.5, drift_period_s=2.0)
    target, log = swinging.target, MemoryLog()
    measure(swinging, narrow + wide, REFERENCES, log, RULES)
    found = combine(log.records, narrow + wide)
    walls, devices = (
        [math.log(one.seconds[timing] / true_seconds(one.case, target)[i]) for one in found]
        for i, timing in enumerate(("wall", "device"))
    )
    uncorrected = [
        math.log(r["wall_s"] / true_seconds(c, target)[0]) for r in log.records for c in narrow if c.name == r["case"]
    ]
    assert max(uncorrected) - min(uncorrected) > 0.2
    assert max(walls[:6]) - min(walls[:6]) < 0.1
    assert max(map(abs, walls[6:])) < 5e-3  # the host shows in its hundredth that does not hide
    assert max(map(abs, devices)) < 1e-9


def test_a_reference_that_scatters_by_itself_is_not_followed() -> None:
    cases = [case(f"c{i}", layers=4 + i) for i in range(20)]
    steady, log = gpu(noise=0.0, jitter=0.0, reference_noise=0.2), MemoryLog()
    measure(steady, cases, REFERENCES, log, RULES)
    assert reference_level(log.records).share < 0.05
    for one in combine(log.records, cases):
        assert one.seconds["wall"] == pytest.approx(true_seconds(one.case, steady.target)[0], rel=0.01)


def test_throttled_samples_are_repeated_then_kept_with_their_flag() -> None:
    for_ever = lab(throttled=((0.0, math.inf),))
    log = MemoryLog()
    measure(for_ever, [case("a")], REFERENCES, log, RULES)
    tries = [r for r in log.records if r["round"] == 0]
    assert len(tries) == RULES.attempts
    (row,) = observations(combine(log.records, [case("a")]), "toy")
    assert "throttled:heat" in row.flags  # all were flagged: none is discarded


def test_a_sample_that_was_throttled_once_is_replaced_by_its_repetition() -> None:
    briefly = lab(noise=0.0, throttled=((0.0, 0.5),))
    log = MemoryLog()
    measure(briefly, [case("a"), case("b")], REFERENCES, log, RULES)
    assert any(r["flags"] for r in log.records)
    assert all(not row.flags for row in observations(combine(log.records, [case("a"), case("b")]), "toy"))


def test_too_large_and_hanging_cases_are_skipped_and_the_rest_goes_on() -> None:
    huge = case("huge", hidden=4096, ffn=16384, heads=64, kv_heads=64)
    one = lab(hangs=frozenset({"stuck"}))
    one.memory_bytes = 1e8
    log = MemoryLog()
    measure(one, [case("a"), huge, case("stuck")], REFERENCES, log, RULES)
    assert {r["case"]: r["reason"] for r in log.records if r["kind"] == "skip"} == {
        "huge": "out of memory",
        "stuck": "hung",
    }
    assert [one.case.name for one in combine(log.records, [case("a"), huge, case("stuck")])] == ["a"]
    assert one.opened.count("stuck") == 1  # not tried again


def test_cases_whose_rounds_disagree_get_one_more() -> None:
    cases = [case(f"c{i}") for i in range(6)]
    tries = {
        (c.name, one): [{"kind": "sample", "wall_s": 1.0 + 0.01 * one + (0.5 * one if c.name == "c3" else 0.0),
                         "before": {"decode": 1.0}, "after": {"decode": 1.0}}]
        for c in cases for one in (0, 1)
    }  # fmt: skip
    assert [c.name for c in disputed(cases, tries)] == ["c3"]


def test_noise_is_the_spread_between_rounds() -> None:
    cases = [case(f"c{i}") for i in range(60)]
    log = MemoryLog()
    measure(lab(noise=0.05, jitter=0.0, reference_noise=0.0), cases, REFERENCES, log, RULES)
    assert noise_level(combine(log.records, cases)) == pytest.approx(0.05, rel=0.35)


@pytest.mark.parametrize("rounds", [2, 3, 4])
def test_noise_is_that_of_the_samples_however_many_rounds(rounds: int) -> None:
    """Of one sample the level, of a median of rounds the noise of an observation: 400 normal samples of 5 %."""
    draw = np.random.default_rng(rounds).normal(0.0, 0.05, (400, rounds))
    all_of_them = [
        Combined(case(f"c{i}"), {"wall": math.exp(statistics.median(some))}, statistics.stdev(some), (), rounds)
        for i, some in enumerate(draw.tolist())
    ]
    assert noise_level(all_of_them) == pytest.approx(0.05, rel=0.08)
    noise = math.sqrt(statistics.fmean(row.noise**2 for row in observations(all_of_them, "here")))
    assert noise == pytest.approx(statistics.stdev(np.median(draw, axis=1).tolist()), rel=0.1)


def test_what_is_in_the_log_is_not_measured_again() -> None:
    cases = [case("a"), case("b")]
    log = MemoryLog()
    measure(lab(), cases, REFERENCES, log, RULES)
    again = lab()
    kept = len(log.records)
    measure(again, cases, REFERENCES, log, RULES)
    assert again.opened == []
    assert len(log.records) == kept


def test_the_reference_level_is_that_of_the_quiet_device() -> None:
    log = MemoryLog()
    cases = [case(f"c{i}") for i in range(10)]
    one = lab(noise=0.0, reference_noise=0.0, throttled=((1.0, 2.0),))
    measure(one, cases, REFERENCES, log, RULES)
    true = true_seconds(REFERENCES[1], one.target)[0] * REFERENCES[1].units
    assert reference_level(log.records).seconds["decode"] == pytest.approx(true, rel=0.02)
