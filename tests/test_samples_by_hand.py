"""One sample, its rules and the reference, step by step on a bench whose clock is the sum of its runs."""

import math
from collections.abc import Sequence

import pytest

from calibration.measure.bench import Bench, Hung, Lab, Times
from calibration.measure.cases import Case
from calibration.measure.reference import Reference, device_clock
from calibration.measure.samples import Rules, _relative_error, median, per_run, sample


class Scripted:
    """A bench whose calls take the given seconds a run in turn, the last for ever; its graph a tenth of that."""

    def __init__(self, *seconds: float, replay: bool = False) -> None:
        self.clock, self.calls, self.closed, self._replay = 100.0, list[int](), False, replay
        self._seconds = list(seconds)

    def time(self, runs: int) -> Times:
        self.calls.append(runs)
        each = self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        self.clock += runs * each
        return Times(runs * each, None, 0.1 * runs * each) if self._replay else Times(runs * each)

    def close(self) -> None:
        self.closed = True


def calls_of(rules: Rules, *seconds: float) -> list[int]:
    bench = Scripted(*seconds)
    sample(bench, lambda: bench.clock, rules)
    return bench.calls


def test_two_runs_warm_up_and_the_second_is_a_block_where_a_block_is_one_run() -> None:
    assert calls_of(Rules(), 0.5) == [1, 1, 1, 1]  # three blocks, one of which was the second run


def test_two_runs_a_block_are_not_warmed_up_with() -> None:
    """0.05 s are five runs of 10 ms; a block of 20 ms is two."""
    assert calls_of(Rules(warm_up_s=0.045), 0.01) == [1] * 5 + [2] * 3


def test_warming_up_lasts_two_runs_or_as_long_as_it_says() -> None:
    assert calls_of(Rules(warm_up_s=0.0), 0.004) == [1] * 2 + [5] * 3
    assert calls_of(Rules(warm_up_s=0.0155), 0.004) == [1] * 4 + [5] * 3
    assert calls_of(Rules(), 0.00395) == [1] * 13 + [6] * 3  # 13 · 3.95 ms exceed 50 ms


def test_the_block_is_sized_by_the_last_run_of_the_warm_up() -> None:
    assert calls_of(Rules(warm_up_s=0.0), 9.0, 0.01, 0.004) == [1, 1] + [2] * 3


def test_a_noisy_sample_ends_with_the_time_it_may_take() -> None:
    """The second run of the warm-up is a block of 0.1 s; five more of 0.2 and 0.1 s in turn pass 0.75 s."""
    rules = Rules(warm_up_s=0.0, sample_s=0.75)
    assert len(calls_of(rules, 1.0, *[0.1, 0.2] * 9)) == 2 + 5


def test_a_sample_ends_when_it_is_sure() -> None:
    """Of seven blocks of 1.00 and 1.02 s the median is sure to π/2 · 0.02 · 3/7 / √7 = 0.51 %, of eight to 0.55 %, of
    nine to π/2 · 0.02 · 4/9 / √9 = 0.47 %."""
    rules = Rules(warm_up_s=0.0, sample_s=99.0, precision=0.005)
    assert len(calls_of(rules, 1.0, *[1.00, 1.02] * 20)) == 1 + 9


def test_blocks_that_take_three_times_the_sample_end_it() -> None:
    """Ten blocks are asked for, but two more of 0.16 s pass 3 · 0.1 s; four of 0.09 s do."""
    assert len(calls_of(Rules(warm_up_s=0.0, sample_s=0.1, least_blocks=10), 0.16)) == 2 + 2
    assert len(calls_of(Rules(warm_up_s=0.0, sample_s=0.1, least_blocks=10), 0.09)) == 2 + 4


def test_one_slow_block_is_followed_by_another() -> None:
    """Ten runs a block: the first takes 10 s where 0.1 s were meant, and is no end by itself."""
    rules = Rules(warm_up_s=0.0, block_s=0.1, sample_s=0.1, least_blocks=3)
    assert calls_of(rules, 0.01, 0.01, 1.0) == [1, 1, 10, 10]


def test_medians_are_of_single_runs_by_each_clock() -> None:
    bench = Scripted(9.0, 0.01, 0.02, 0.01, 0.04, replay=True)
    found = sample(bench, lambda: bench.clock, Rules(warm_up_s=0.0, precision=9.0))
    assert bench.calls == [1, 1, 2, 2, 2] and found.blocks == 3
    assert found.times.wall_s == pytest.approx(0.02) and found.times.device_s is None
    assert found.times.replay_s == pytest.approx(0.002)
    # Of 0.01, 0.02 and 0.04: π / 2 times the mean distance from the median, 0.01, over the median.
    assert found.spread == pytest.approx(0.5 * math.pi * 0.01 / 0.02, rel=1e-3)


def test_the_error_of_a_median_is_that_of_normal_values() -> None:
    """σ = √(π/2) times the mean distance; a median's error √(π/2) σ / √n."""
    assert _relative_error([1.0, 1.0, 2.0, 2.0]) == pytest.approx(0.5 * math.pi * 0.5 / (1.5 * 2.0), rel=1e-3)
    assert _relative_error([2.0, 4.0]) == pytest.approx(0.5 * math.pi * 1.0 / (3.0 * math.sqrt(2.0)), rel=1e-3)
    assert _relative_error([1.0]) == math.inf


def test_times_of_some_runs_and_their_medians() -> None:
    assert per_run(Times(6.0, None, 3.0), 3) == Times(2.0, None, 1.0)
    assert median([None, 3.0, 1.0, 2.0]) == 2.0 and median([None]) is None


def test_the_first_run_may_take_ten_times_as_long_as_any() -> None:
    assert calls_of(Rules(), 590.0, 0.5) == [1, 1, 1, 1]
    with pytest.raises(Hung, match="a run took 61 s"):
        calls_of(Rules(), 610.0, 0.5)


@pytest.mark.parametrize(("slow_s", "hangs"), [(59.0, False), (61.0, True)])
def test_a_run_may_take_a_minute_and_a_block_as_many_as_it_has_runs(slow_s: float, hangs: bool) -> None:
    rules = Rules(warm_up_s=0.0, block_s=20.0, sample_s=1e3)
    script = (5.0, 5.0, slow_s, 5.0)  # blocks of four runs
    if hangs:
        with pytest.raises(Hung, match=f"a run took {slow_s:.0f} s"):
            calls_of(rules, *script)
    else:
        assert calls_of(rules, *script)[:3] == [1, 1, 4]


@pytest.mark.parametrize(
    ("run_s", "jitter", "expected"),
    [
        (0.003, 0.008, 0.05 + 2.0 * math.pi * 0.021),  # blocks of 7 runs; (0.008 / 0.004)² · π / 2 of them
        (0.003, 0.0, 0.05 + 3 * 0.021),  # three at least
        (0.003, 0.1, 0.05 + 0.4),  # ended by time
        (0.03, 0.0, 0.06 + 3 * 0.03 - 0.03),  # the second run of the warm-up is the first block
        (0.01, 0.0, 0.05 + 3 * 0.02),  # two runs a block: it is not
        (0.5, 0.0, 1.0 + 3 * 0.5 - 0.5),
        (0.5, 0.1, 1.0 + 3 * 0.5 - 0.5),  # longer than a sample may take: the fewest blocks
        (0.0, 0.0, 0.05 + 3 * 0.02),
    ],
)
def test_what_a_sample_takes_by_its_rules(run_s: float, jitter: float, expected: float) -> None:
    assert Rules().expected_s(run_s, jitter) == pytest.approx(expected)


@pytest.mark.parametrize(("once_s", "runs"), [(0.0, 15), (0.001, 15), (0.0015, 14), (0.0041, 5), (0.0067, 3), (0.1, 3)])
def test_a_reference_is_timed_for_20_ms_three_to_fifteen_times(once_s: float, runs: int) -> None:
    assert Reference.runs(once_s) == runs


class Two:
    """A lab of a prefill bench with a graph and a decode bench without."""

    def __init__(self, benches: Sequence[Scripted]) -> None:
        self._benches, self.kept = list(benches), list[bool]()

    def open(self, case: Case, keep: bool = False) -> Bench:
        self.kept.append(keep)
        return self._benches[len(self.kept) - 1]

    def now(self) -> float:
        return 0.0

    def throttled(self) -> tuple[str, ...]:
        return ()


def test_the_reference_is_a_median_after_one_run_that_does_not_count() -> None:
    from calibration_support import case

    benches = Scripted(0.01, 0.02, 0.03, 0.07, 0.04, replay=True), Scripted(0.005, 0.01, 0.02, 0.03, 0.05)
    two = Two(benches)
    lab: Lab = two
    reference = Reference(lab, [case("p", "prefill"), case("d", "decode")])
    assert two.kept == [True, True]
    # The first of 10 ms asks for two, the least is three; the other of 5 ms for four.
    assert reference.seconds() == pytest.approx({"prefill": 0.03, device_clock("prefill"): 0.003, "decode": 0.025})
    assert [bench.calls for bench in benches] == [[1] * 4, [1] * 5]
    reference.close()
    assert all(bench.closed for bench in benches)
