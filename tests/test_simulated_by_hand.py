"""The simulated device: its clock, what spoils its times, and true times that add up from planted coefficients."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from calibration_support import GPU_SHEET, RUNTIME, case, task

from calibration.measure.bench import OutOfMemory
from calibration.measure.cases import Case
from calibration.measure.simulated import Disturbance, SimulatedLab, true_seconds

TARGET = task("cpu").start.target(RUNTIME)
GPU = task("cuda").start.target(RUNTIME)
QUIET: dict[str, Any] = {"noise": 0.0, "jitter": 0.0, "reference_noise": 0.0}


def lab(replay: bool = False, **disturbance: Any) -> SimulatedLab:
    target = GPU if replay else TARGET
    return SimulatedLab(target, disturbance=Disturbance(**{**QUIET, **disturbance}), replay=replay)


def wall_at(one: SimulatedLab, clock_s: float, of: Case | None = None) -> float:
    """Wall time of one run that begins at that time, over the true one."""
    chosen = of or case("a")
    bench = one.open(chosen)
    one.wait(clock_s - one.now())
    return bench.time(1).wall_s / (chosen.units * true_seconds(chosen, one.target)[0])


def test_a_quiet_device_takes_its_true_time_and_its_clock_says_so() -> None:
    one, step = lab(), case("a")
    bench = one.open(step)
    assert one.now() == 0.05  # setting up takes a moment
    found = bench.time(5)
    assert found.wall_s == pytest.approx(5 * 2 * true_seconds(step, TARGET)[0])  # five runs of two steps
    assert (found.device_s, found.replay_s) == (None, None)
    assert one.now() == pytest.approx(0.05 + found.wall_s)


def test_a_gpu_has_three_clocks_and_spends_the_time_of_two() -> None:
    one, step = lab(replay=True), case("a")
    wall, device = true_seconds(step, GPU)
    assert device < 0.5 * wall  # so narrow a block waits for its launches
    found = one.open(step).time(3)
    assert found == pytest.approx((6 * wall, 6 * wall, 6 * device))
    assert one.now() == pytest.approx(0.05 + 6 * (wall + device))


@pytest.mark.parametrize(("at", "factor"), [(0.9, 1.0), (1.0, 1.4), (2.9, 1.4), (3.0, 1.0), (5.5, 1.4)])
def test_a_throttled_device_takes_1_4_times_as_long(at: float, factor: float) -> None:
    one = lab(throttled=((1.0, 3.0), (5.0, 6.0)))
    assert wall_at(one, at) == pytest.approx(factor)
    one = lab(throttled=((1.0, 3.0), (5.0, 6.0)))
    one.wait(at)
    assert one.throttled() == (("heat",) if factor > 1.0 else ())


@pytest.mark.parametrize(("at", "factor"), [(0.0, 1.0), (10.0, 1.15), (20.0, 1.3), (40.0, 1.0), (60.0, 1.3)])
def test_drift_swings_once_in_40_seconds(at: float, factor: float) -> None:
    one = lab(drift=0.3)
    bench = one.open(case("a"))
    one.wait(at - one.now())
    assert bench.time(1).wall_s == pytest.approx(2 * factor * true_seconds(case("a"), TARGET)[0])


def test_drift_and_throttling_multiply() -> None:
    assert wall_at(lab(drift=0.3, throttled=((0.0, 99.0),), throttle_factor=2.0), 20.0) == pytest.approx(2.6)


def test_a_drifting_host_is_slower_in_its_own_terms_alone() -> None:
    """At the swing's peak its launches take twice as long, and the device what it did."""
    one, step = lab(replay=True, host_drift=1.0), case("a")
    bench = one.open(step)
    one.wait(20.0 - one.now())
    r = GPU.runtime
    names = ("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s")
    slow = GPU._replace(runtime=r._replace(**{name: 2 * getattr(r, name) for name in names}))
    found = bench.time(1)
    assert found.wall_s == pytest.approx(2 * true_seconds(step, slow)[0])
    assert found.replay_s == pytest.approx(2 * true_seconds(step, GPU)[1])
    assert one.wall_seconds(step) > 1.5 * true_seconds(step, GPU)[0]


def test_a_case_that_hangs_takes_hours() -> None:
    one = lab(hangs=frozenset({"a"}))
    one.open(case("a")).time(1)
    one.open(case("b")).time(1)
    assert 1e4 < one.now() < 1.001e4


def test_what_does_not_fit_is_told_in_gigabytes() -> None:
    one = lab()
    one.memory_bytes = 1.5e9
    # 4 blocks of 4 · 8192² + 3 · 8192 · 32768 weights in float32: 17.2 GB and some.
    wide = case("a", hidden=8192, ffn=32768, heads=128, kv_heads=128)
    with pytest.raises(OutOfMemory, match=r"needs 17\.\d\d GB, 1\.50 GB are free"):
        one.open(wide)
    assert one.opened == [] and one.now() == 0.0
    one.open(case("b"))
    assert one.opened == ["b"]


def logs(one: SimulatedLab, count: int = 400) -> list[float]:
    """Log of the wall time over the true one, of as many cases (all of one shape)."""
    true = math.log(2 * true_seconds(case("a"), one.target)[0])
    return [math.log(one.open(case(f"c{i}")).time(1).wall_s) - true for i in range(count)]


def test_samples_scatter_by_2_percent_and_blocks_within_one_by_0_3() -> None:
    """Of 400 draws a standard deviation is known to 3.5 %."""
    usual = Disturbance()
    sampled = logs(lab(noise=usual.noise))
    assert statistics.stdev(sampled) == pytest.approx(0.02, rel=0.12) and abs(statistics.fmean(sampled)) < 0.004
    one = lab(jitter=usual.jitter)
    bench = one.open(case("a"))
    assert statistics.stdev(math.log(bench.time(1).wall_s) for _ in range(400)) == pytest.approx(0.003, rel=0.12)
    reference = lab(reference_noise=usual.reference_noise).open(case("a"), keep=True)
    assert statistics.stdev(math.log(reference.time(1).wall_s) for _ in range(400)) == pytest.approx(0.005, rel=0.12)


def test_usually_nothing_else_disturbs() -> None:
    usual = Disturbance()
    assert (usual.outliers, usual.drift, usual.host_drift) == (0.0, 0.0, 0.0)
    assert not usual.throttled and not usual.hangs


def test_a_share_of_samples_takes_1_6_times_as_long() -> None:
    slow = [value for value in logs(lab(outliers=0.25)) if value > 0.1]
    assert 70 < len(slow) < 130 and all(value == pytest.approx(math.log(1.6)) for value in slow)
    assert max(logs(lab(outliers=0.0), 50)) == pytest.approx(0.0, abs=1e-9)


def test_a_reference_has_neither_the_noise_of_samples_nor_outliers() -> None:
    one = lab(noise=0.5, outliers=1.0)
    kept = one.open(case("a"), keep=True)
    assert kept.time(1).wall_s == pytest.approx(2 * true_seconds(case("a"), TARGET)[0])
    assert one.opened == []


def test_noise_depends_on_the_seed_the_case_and_how_often_it_was_opened() -> None:
    def drawn(seed: int, before: tuple[str, ...]) -> float:
        one = SimulatedLab(TARGET, seed, Disturbance(), replay=False)
        for name in before:
            one.open(case(name))
        return one.open(case("a")).time(1).wall_s

    assert drawn(0, ()) == drawn(0, ("b", "c"))
    unseeded = SimulatedLab(TARGET, disturbance=Disturbance(), replay=False)
    assert unseeded.open(case("a")).time(1).wall_s == drawn(0, ())
    assert len({drawn(0, ()), drawn(1, ()), drawn(0, ("a",)), drawn(0, ("a", "a"))}) == 4


def test_true_times_are_those_of_the_clock_that_a_case_has() -> None:
    """A loop's step has the host beside the device; of a synchronised one both ends count (a CPU: all adds up)."""
    step, prefill = case("a", part="model"), case("a", "prefill", "model")
    wall, device = true_seconds(step, GPU)
    assert wall == device  # no clock of kernels alone for whole models
    r = GPU.runtime
    more = GPU._replace(runtime=r._replace(token_s=r.token_s + 1.0))
    assert true_seconds(step, more)[0] == pytest.approx(wall + 1.0, rel=0.03)
    assert true_seconds(prefill, more)[0] == true_seconds(prefill, GPU)[0]  # reads no token back
    assert true_seconds(case("a", part="head"), GPU)[0] == true_seconds(case("a", part="head"), GPU)[1]


def test_logits_of_every_position_take_their_time() -> None:
    last = case("a", "prefill", "head")
    every = replace(last, workload=last.workload.model_copy(update={"logits": "all", "prompt_tokens": 4096}))
    rows = replace(last, workload=last.workload.model_copy(update={"prompt_tokens": 4096}))
    # 2 · 4096 · 128 · 256 FLOP at 100 TFLOP/s at most.
    least = 2 * 4095 * 128 * 256 / GPU_SHEET.peak_flops_per_s
    device = GPU._replace(runtime=GPU.runtime._replace(launch_s=0.0))
    assert true_seconds(every, device)[0] - true_seconds(rows, device)[0] > least
