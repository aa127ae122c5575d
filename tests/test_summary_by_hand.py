"""Samples → observations, by hand: levels and drift, weights of medians, noise of few rounds, what is flagged."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from calibration_support import case

from calibration.measure.summary import (
    Combined,
    Level,
    _median_error,
    _median_spread,
    _quantile,
    _smoothed,
    _surest,
    _weighted_median,
    combine,
    drift,
    drift_range,
    felt,
    noise_level,
    observations,
    reference_level,
)

E = math.exp


def record(
    name: str = "a", wall_s: float = 1.0, before: float = 1.0, after: float | None = None, replay_s: float | None = None,
    flags: Sequence[str] = (), phase: str = "decode", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A sample with the reference of its phase around it; a reference of the other phase that never changes."""
    other = "prefill" if phase == "decode" else "decode"
    return {
        "kind": "sample", "case": name, "phase": phase, "wall_s": wall_s, "replay_s": replay_s, "flags": list(flags),
        "before": {phase: before, other: 7.0}, "after": {phase: before if after is None else after, other: 7.0}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)], 2.0),
        ([(1.0, 1.0), (2.0, 1.0)], 1.5),  # halfway
        ([(4.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 1.0)], 2.5),
        ([(1.0, 1.0), (2.0, 1.05)], 2.0),
        ([(1.0, 1.05), (2.0, 1.0)], 1.0),
        ([(1.0, 5.0), (2.0, 1.0), (3.0, 1.0)], 1.0),
        ([(1.0, 1.0), (2.0, 1.0), (3.0, 5.0)], 3.0),
        ([(1.0, 2.0), (2.0, 1.0), (3.0, 1.0)], 1.5),
        ([(8.0, 0.3)], 8.0),
    ],
)
def test_a_weighted_median_has_half_of_the_weight_on_either_side(
    pairs: list[tuple[float, float]], expected: float
) -> None:
    assert _weighted_median(pairs) == expected


def test_a_corrected_time_weighs_by_its_error() -> None:
    """A shift of 0.04 is unsure by half of itself, as much as any sample is: twice the variance, half of the weight.

    Two of them stand against one that was not shifted.
    """
    assert _surest([0.0, 1.0, 1.0], [0.0, 0.04, -0.04]) == pytest.approx(0.5)
    assert _surest([0.0, 1.0, 1.0], [0.0, 0.041, 0.041]) == 0.0
    assert _surest([0.0, 1.0, 1.0], [0.0, 0.039, 0.039]) == 1.0


def test_a_quantile_is_the_nearest_rank() -> None:
    assert [_quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.2, 0.4, 1.0)] == [1.0, 1.0, 2.0, 3.0]


def test_five_neighbours_smooth_a_time() -> None:
    assert _smoothed([1.0, 9.0, 2.0, 3.0, 4.0, 9.0, 5.0]) == [3.0, 4.0, 4.0]
    assert _smoothed([1.0, 2.0, 9.0]) == [2.0]
    assert _smoothed([5.0, 1.0, 2.0, 4.0, 3.0]) == [3.0]


def test_the_undisturbed_level_is_the_5_percent_quantile_of_smoothed_times() -> None:
    """Before the first, after each: 1, 2 … 21 s; medians of five are 3 … 19, the second of these 17 is the quantile."""
    records = [record(f"c{i}", before=float(i), after=i + 1.0) for i in range(1, 21)]
    assert reference_level([{"kind": "header"}, *records]).seconds == {"decode": 4.0, "prefill": 7.0}
    backwards = [record(f"c{i}", before=float(i), after=i - 1.0) for i in range(21, 1, -1)]
    assert reference_level(backwards).seconds["decode"] == 4.0


def test_the_level_of_two_times_is_between_them() -> None:
    assert reference_level([record(before=1.0, after=3.0)]).seconds["decode"] == 2.0
    assert reference_level([]).seconds == {} and reference_level([]).share == 1.0


def moved(share: float, *shifts: float, name: str = "a") -> list[dict[str, Any]]:
    """Samples of one case whose logs follow a share of the reference's."""
    return [record(name, E(0.3 + share * shift), before=E(shift)) for shift in shifts]


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.4, 0.4), (0.0, 0.0), (-0.7, 0.0), (1.8, 1.0)])
def test_how_much_samples_follow_the_reference_is_learnt(share: float, expected: float) -> None:
    assert reference_level(moved(share, 0.0, 0.1, 0.4)).share == pytest.approx(expected, abs=1e-9)


def test_cases_that_moved_further_say_more() -> None:
    """Slopes 0.2, moved by 0.05 twice, and 0.9, moved by 0.2 twice."""
    both = [*moved(0.2, 0.0, 0.1), *moved(0.9, 0.0, 0.4, name="b")]
    assert reference_level(both).share == pytest.approx(0.9)


def test_flagged_samples_and_still_references_say_nothing_of_it() -> None:
    flagged = [{**one, "flags": ["throttled:heat"]} for one in moved(0.0, 0.0, 0.5)]
    assert reference_level([*flagged, *moved(0.5, 0.0, 0.1, name="b")]).share == pytest.approx(0.5)
    assert reference_level(moved(0.5, 0.2, 0.2)).share == 1.0
    assert reference_level(moved(0.5, 0.2)).share == 1.0  # a single sample has no slope
    tiny = moved(0.5, 0.0, 1e-6)
    assert reference_level(tiny).share == pytest.approx(0.5, abs=1e-3)


def test_drift_is_the_geometric_mean_around_a_sample_over_the_level() -> None:
    level = Level({"decode": 2.0}, share=0.5)
    assert drift(record(before=2.0, after=8.0), "decode", level) == pytest.approx(0.5 * math.log(2.0))
    assert drift(record(before=2.0, after=8.0), "none", level) == 0.0


@pytest.mark.parametrize(("ratio", "share"), [(1.0, 0.0), (1.05, 0.0), (1.175, 0.5), (1.3, 1.0), (2.0, 1.0)])
def test_a_wall_time_drifts_with_what_it_waited_for(ratio: float, share: float) -> None:
    """The host 20 % slower, the device 5 %: between 5 and 30 % more than its kernels a time is partly the host's."""
    around = {"decode": 1.2, "decode_device": 1.05}
    one = {**record(wall_s=0.5 * ratio, replay_s=0.5), "before": around, "after": around}
    level = Level({"decode": 1.0, "decode_device": 1.0}, share=1.0)
    assert felt(one, level) == pytest.approx(share * math.log(1.2) + (1.0 - share) * math.log(1.05))


def test_without_a_replay_it_drifts_with_the_clock_of_its_phase() -> None:
    level = Level({"decode": 1.0, "prefill": 1.0}, share=1.0)
    assert felt(record(wall_s=9.0, before=1.2), level) == pytest.approx(math.log(1.2))
    assert felt(record(wall_s=9.0, before=1.2, phase="prefill"), level) == pytest.approx(math.log(1.2))


def still(name: str, *walls: float, replay_s: float | None = None, flags: Sequence[str] = ()) -> list[dict[str, Any]]:
    return [record(name, wall, replay_s=replay_s, flags=flags) for wall in walls]


def test_rounds_become_their_median_and_their_deviation() -> None:
    (one,) = combine(still("a", 1.0, 1.1, 1.5), [case("a"), case("none")])
    assert one.seconds == pytest.approx({"wall": 1.1}) and one.flags == () and one.rounds == 3
    assert one.spread == pytest.approx(statistics.stdev([0.0, math.log(1.1), math.log(1.5)]))
    (single,) = combine(still("a", 1.3), [case("a")])
    assert single.spread is None and single.rounds == 1 and single.seconds == pytest.approx({"wall": 1.3})
    (two,) = combine(still("a", 1.0, 4.0), [case("a")])
    assert two.spread is not None and two.seconds == pytest.approx({"wall": 2.0})


def test_flagged_samples_count_where_there_is_no_other() -> None:
    hot = still("a", 9.0, flags=["throttled:heat"])
    (clean,) = combine([*still("a", 1.0), *hot], [case("a")])
    assert clean.seconds == pytest.approx({"wall": 1.0}) and clean.flags == () and clean.rounds == 1
    (flagged,) = combine([*hot, *still("a", 9.0, flags=["drifting"])], [case("a")])
    assert flagged.seconds == pytest.approx({"wall": 9.0}) and flagged.flags == ("drifting", "throttled:heat")


@pytest.mark.parametrize(
    ("part", "phase", "clocks"),
    [("blocks", "decode", {"wall", "device"}), ("head", "decode", {"wall"}), ("model", "decode", {"loop"}),
     ("model", "prefill", {"wall"})],
)  # fmt: skip
def test_clocks_of_the_parts(part: str, phase: str, clocks: set[str]) -> None:
    """Kernels alone are timed of blocks; steps of a whole model stand in a loop."""
    records = [record("a", 2.0, replay_s=0.5, phase=phase)]
    (one,) = combine(records, [case("a", phase, part)])
    assert one.seconds == pytest.approx({clock: 0.5 if clock == "device" else 2.0 for clock in clocks})


def test_drift_is_taken_out_of_both_clocks() -> None:
    """The host is 1.2 times as slow around every second sample, the device 1.1 times: what is left is 1 s and 0.5 s."""
    records = []
    for i in range(8):
        for host, device in ((1.0, 1.0), (1.2, 1.1)):
            around = {"decode": host, "decode_device": device}
            one = record(f"c{i}", host, replay_s=0.5 * device)
            records.append({**one, "before": around, "after": around})
    for one in combine(records, [case(f"c{i}") for i in range(8)]):
        assert one.seconds == pytest.approx({"wall": 1.0, "device": 0.5}, rel=1e-9)


def test_a_time_taken_while_all_was_slow_is_corrected_downwards() -> None:
    """Five cases at rest and one sample of each of two others, 1.2 times as slow by the reference."""
    records = [*(record(f"c{i}") for i in range(5)), record("a", 3.0 * 1.2, before=1.2), record("b", 1.2, before=1.2)]
    for one, expected in zip(combine(records, [case("a"), case("b"), case("c0")]), (3.0, 1.0, 1.0), strict=True):
        assert one.seconds == pytest.approx({"wall": expected})


def test_a_replay_taken_while_the_device_was_slow_is_corrected_downwards() -> None:
    """By the reference's kernels, 1.1 times as slow; at rest they take 1 s, as in five other cases."""
    calm, slow = {"decode": 1.0, "decode_device": 1.0}, {"decode": 1.1, "decode_device": 1.1}
    others = [{**record(f"c{i}", replay_s=1.0), "before": calm, "after": calm} for i in range(5)]
    one = {**record("a", 1.1 * 3.0, replay_s=1.1 * 3.0), "before": slow, "after": slow}
    (found,) = combine([*others, one], [case("a")])
    assert found.seconds == pytest.approx({"wall": 3.0, "device": 3.0})


@pytest.mark.parametrize("rounds", range(2, 9))
def test_deviation_of_few_rounds_and_error_of_their_median(rounds: int) -> None:
    """Against the median of χ² and, of medians, 400,000 draws."""
    stats = pytest.importorskip("scipy.stats")
    median_of_squares = float(stats.chi2.median(rounds - 1)) / (rounds - 1)
    assert _median_spread(rounds) == pytest.approx(math.sqrt(median_of_squares), rel=0.01 if rounds > 2 else 1e-4)
    draws = np.random.default_rng(rounds).normal(size=(400_000, rounds))
    # Beyond six the limit of many is used, which overstates seven and eight by 8 %.
    rel = 0.006 if rounds <= 6 else 0.09
    assert _median_error(rounds) == pytest.approx(float(np.median(draws, axis=1).std()), rel=rel)


def test_the_median_of_one_and_of_many() -> None:
    assert _median_error(1) == 1.0 and _median_error(400) == pytest.approx(math.sqrt(math.pi / 800))


def summed(spread: float | None, rounds: int = 2, seconds: float = 1.0, flags: tuple[str, ...] = ()) -> Combined:
    return Combined(case("a"), {"wall": seconds}, spread, flags, rounds)


def test_the_typical_noise_is_the_median_over_cases() -> None:
    """Of two rounds the median deviation is 0.6745 of the true one."""
    found = noise_level([summed(0.01), summed(0.02), summed(0.9), summed(None)])
    assert found == pytest.approx(0.02 / 0.6745, rel=1e-4)
    assert noise_level([summed(None)]) == noise_level([]) == noise_level([summed(1e-5)] * 3) == 0.003


def test_noise_of_a_case_pools_its_own_and_the_typical() -> None:
    """Typical is 0.02; a case of two rounds that differ by 0.06: √((0.06² + 0.02²) / 2) · √½."""
    still = [summed(0.02 * 0.6745)] * 4
    rows = observations([*still, summed(0.06), summed(None, rounds=1), summed(0.05, rounds=3)], "toy")
    typical, other, single, three = rows[0], rows[4], rows[5], rows[6]
    assert typical.noise == pytest.approx(math.sqrt((0.01349**2 + 0.02**2) / 2) * math.sqrt(0.5), rel=1e-3)
    assert other.noise == pytest.approx(math.sqrt((0.06**2 + 0.02**2) / 2) * math.sqrt(0.5), rel=1e-3)
    assert single.noise == pytest.approx(0.02, rel=1e-3)
    assert three.noise == pytest.approx(math.sqrt((2 * 0.05**2 + 0.02**2) / 3) * 0.670, rel=1e-3)
    assert {row.gpu for row in rows} == {"toy"} and {row.seconds for row in rows} == {1.0}


def test_rounds_that_differ_five_times_as_much_as_is_typical_are_noisy() -> None:
    rows = observations([*[summed(0.02 * 0.6745)] * 4, summed(0.099), summed(0.101, flags=("drifting",))], "toy")
    assert [row.flags for row in rows[4:]] == [(), ("drifting", "noisy")]
    assert observations([summed(0.001)] * 3, "toy")[0].noise == 0.003  # nothing repeats better


def test_what_the_correction_had_to_bridge() -> None:
    records = [{"kind": "end"}, record(before=1.0), record(before=2.0), record(before=0.5)]
    found = drift_range(records, Level({"decode": 1.0, "prefill": 7.0}, share=1.0))
    assert found["decode"] == pytest.approx((-math.log(2.0), math.log(2.0))) and found["prefill"] == (0.0, 0.0)
