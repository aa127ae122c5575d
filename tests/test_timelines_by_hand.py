"""Host and device put together by hand: whole seconds for every term, so that each sum is seen to be made of its parts.

A launch takes half a second, a block 2 s and 4 s more in a prefill, a pass 8 s, a token 16 s, an engine 32 s and 64 s a sequence;
a quarter of the shorter timeline does not hide.
"""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from toy import DEVICE, SHEET, TWO_BYTES, work

from latmodel.laws.coefficients import RuntimeCoefficients
from latmodel.model.formats import FORMATS
from latmodel.model.ops import OpCost, OpKind
from latmodel.predict.bounds import binding, bound_code
from latmodel.predict.forward import (
    Cost,
    Forecast,
    Load,
    _straightened,
    around_blocks,
    engine_seconds,
    host_seconds,
    load,
    respond,
    response_times,
)
from latmodel.predict.passes import PassCost
from latmodel.predict.target import Target
from latmodel.predict.timeline import mean_overlapped, overlapped
from latmodel.runtimes.transformers_eager import TRANSFORMERS

LAUNCH, LOSS, ENGINE = 0.5, 0.25, 32.0 + 2 * 64.0
PREFILL_HOST, DECODE_HOST = 3 * LAUNCH + 2 * (2 + 4), 5 * LAUNCH + 2 * 2  # of two blocks
RUNTIME = RuntimeCoefficients(LAUNCH, 2.0, 4.0, 8.0, 16.0, 0.0, LOSS, 32.0, 64.0)
TARGET = Target(SHEET, DEVICE, RUNTIME, TRANSFORMERS)
CUTTING = TARGET._replace(implementation=TRANSFORMERS._replace(cut_of_last_block=0.5))
WORK = work(batch=2.0, prompt=10.0, new=3.0)
DEPTH = 2.0
BLOCKS = Cost(Load(3.0, 100.0, 40.0), Load(5.0, 50.0, 10.0), Load(5.0, 90.0, 60.0))
HEAD = Cost(Load(7.0, 20.0, 4.0), Load(6.0, 30.0, 8.0), Load(6.0, 30.0, 8.0))


# --- Two timelines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "first", "last", "loss", "seconds"),
    [
        (2.0, 1.0, 3.0, 0.0, 2.25),  # they cross half-way: 2 for half of it, then 2.5
        (2.0, 1.0, 3.0, 0.5, 2.25 + 0.5 * 1.75),  # the shorter of both: 1.5 for half of it, then 2
        (5.0, 1.0, 3.0, 0.1, 5.0 + 0.1 * 2.0),
        (5.0, 6.0, 8.0, 0.1, 7.0 + 0.1 * 5.0),
        (2.0, 3.0, 3.0, 0.5, 4.0),
        (3.0, 2.0, 2.0, 0.5, 4.0),
    ],
)
def test_the_mean_of_the_longer_and_a_share_of_the_shorter(
    host: float, first: float, last: float, loss: float, seconds: float
) -> None:
    assert mean_overlapped(host, first, last, loss) == pytest.approx(seconds, rel=1e-12)
    found = mean_overlapped(np.array([host, host]), first, np.array([last, last]), loss)
    assert found == pytest.approx(np.array([seconds, seconds]), rel=1e-12)


def test_one_step_takes_the_longer_and_a_share_of_the_shorter() -> None:
    assert (overlapped(3.0, 2.0, 0.5), overlapped(2.0, 3.0, 0.5), overlapped(3.0, 2.0, 0.0)) == (4.0, 4.0, 3.0)


# --- What binds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "compute", "expected"),
    [(9.0, 9.0, (True, True)), (9.0, 8.0, (True, False)), (10.0, 20.0, (False, False)), (11.0, 20.0, (False, False))],
)
def test_arithmetic_binds_from_half_of_the_kernels_on_and_nothing_binds_an_idle_device(
    host: float, compute: float, expected: tuple[bool, bool]
) -> None:
    """Blocks of 10 s of kernels, 8 s around them: half is 9."""
    assert binding(host, Load(1.0, 10.0, compute - 1.0), Load(1.0, 8.0, 1.0)) == expected


def forecast_of(prefill_s: float, step_s: float) -> Forecast:
    return Forecast(prefill_s, step_s, step_s, 1.0, 1.0, 5.0, 5.0, 1.0)


def test_the_longer_phase_says_what_binds_a_response() -> None:
    """Prefill is bound by arithmetic (2), decode by memory (1) or the host (0); of equal phases the prefill counts."""
    busy, moving, idle = Load(1.0, 10.0, 9.0), Load(1.0, 10.0, 1.0), Load(1.0, 4.0, 4.0)
    around = Cost(Load(1.0, 1.0, 1.0), Load(1.0, 1.0, 0.5), Load(1.0, 1.0, 0.5))
    for last, other in ((moving, 1.0), (idle, 0.0)):
        blocks = Cost(busy, moving, last)
        assert bound_code(forecast_of(6.1, 2.0), blocks, around, 3.0) == 2.0
        assert bound_code(forecast_of(6.0, 2.0), blocks, around, 3.0) == 2.0
        assert bound_code(forecast_of(5.9, 2.0), blocks, around, 3.0) == other
    assert bound_code(forecast_of(6.0, 2.0), Cost(moving, busy, busy), around, 3.0) == 1.0
    assert bound_code(forecast_of(6.0, 2.0), Cost(idle, busy, busy), around, 3.0) == 0.0
    assert bound_code(forecast_of(5.9, 2.0), Cost(idle, busy, busy), around, 3.0) == 2.0


# --- A response -----------------------------------------------------------------------------------


def test_costs_add_and_multiply_part_by_part() -> None:
    assert BLOCKS.prefill.plus(HEAD.prefill) == Load(10.0, 120.0, 44.0) and HEAD.first.times(3.0) == Load(
        18.0, 90.0, 24.0
    )
    both = BLOCKS.plus(HEAD)
    assert (both.prefill, both.first, both.last) == (
        Load(10.0, 120.0, 44.0),
        Load(11.0, 80.0, 18.0),
        Load(11.0, 120.0, 68.0),
    )
    twice = BLOCKS.times(2.0)
    assert (twice.prefill, twice.first, twice.last) == (
        Load(6.0, 200.0, 80.0),
        Load(10.0, 100.0, 20.0),
        Load(10.0, 180.0, 120.0),
    )


def test_the_host_of_a_pass_by_hand() -> None:
    assert host_seconds(DEPTH, BLOCKS, TARGET) == (PREFILL_HOST, DECODE_HOST)
    assert engine_seconds(WORK, TARGET) == ENGINE
    assert engine_seconds(WORK, TARGET._replace(runtime=RUNTIME._replace(sequence_s=0.0))) == 32.0
    around = around_blocks(HEAD, WORK, TARGET)
    assert (around.prefill_s, around.head_host_s) == (20 + LOSS * 7 * LAUNCH, 6 * LAUNCH)
    assert (around.pass_s, around.step_host_s, around.step_device_s, around.engine_s) == (
        8 + ENGINE,
        6 * LAUNCH + 8 + 16,
        30 + ENGINE,
        ENGINE,
    )


def test_a_response_by_hand() -> None:
    found = respond(DEPTH, BLOCKS, HEAD, WORK, TARGET)
    prefill_blocks = 100 + LOSS * PREFILL_HOST
    prefill = prefill_blocks + (20 + LOSS * 7 * LAUNCH) + 8 + ENGINE
    step = (
        0.5 * (50 + 90) + 30 + ENGINE + LOSS * (DECODE_HOST + 6 * LAUNCH + 8 + 16)
    )  # the device is the longer throughout
    decode_blocks = 0.5 * (50 + 90) + LOSS * DECODE_HOST
    forward = decode_blocks + (30 + LOSS * 6 * LAUNCH) + 8 + ENGINE
    assert found == pytest.approx(
        (prefill, forward, step, prefill_blocks, decode_blocks, PREFILL_HOST, DECODE_HOST, prefill + 3 * step),
        rel=1e-12,
    )
    assert response_times(DEPTH, BLOCKS, HEAD, WORK, TARGET) == pytest.approx(
        (prefill, step, prefill + 3 * step), rel=1e-12
    )


def test_a_runtime_cuts_the_last_block_of_a_prompt_whose_last_logits_alone_are_wanted() -> None:
    """Half of one block of two, but for the last of ten tokens: 1 − 0.5 · 0.9 / 2."""
    whole, share = respond(DEPTH, BLOCKS, HEAD, WORK, TARGET), 1.0 - 0.5 * 0.9 / 2.0
    cut = respond(DEPTH, BLOCKS, HEAD, WORK, CUTTING)
    assert cut.prefill_blocks_s == pytest.approx(share * whole.prefill_blocks_s, rel=1e-12)
    assert whole.prefill_s - cut.prefill_s == pytest.approx((1 - share) * whole.prefill_blocks_s, rel=1e-12)
    assert cut.step_s == whole.step_s
    every = respond(DEPTH, BLOCKS, HEAD, WORK._replace(logits_all=True), CUTTING)
    assert every.prefill_s == whole.prefill_s


@pytest.mark.parametrize(
    ("start", "end", "fills_at", "rising"),
    [(10.0, 19.0, 14.0, 5), (10.0, 19.0, 10.0, 1), (10.0, 19.0, 9.0, 0), (10.0, 19.0, 30.0, 10), (5.0, 5.0, 5.0, 1)],
)
def test_a_window_that_fills_is_a_straight_line_of_the_same_mean(
    start: float, end: float, fills_at: float, rising: int
) -> None:
    """Of N steps n rise: the mean is last − n / N · (last − first) / 2; more or fewer than all rise nowhere."""
    count, first, last = end - start + 1, Load(3.0, 40.0, 10.0), Load(3.0, 100.0, 30.0)
    found = _straightened(first, last, start, end, fills_at)
    assert found.kernels == 3.0
    assert 0.5 * (found.seconds + 100.0) == pytest.approx(100.0 - rising / count * 30.0, rel=1e-12)
    assert 0.5 * (found.compute_s + 30.0) == pytest.approx(30.0 - rising / count * 10.0, rel=1e-12)


# --- Operators, one after another -----------------------------------------------------------------


class Corrected:
    """Products take three times as long as the law says; of other kinds nothing is known."""

    def factor(self, op: OpCost, like: float) -> float | None:
        return 3.0 if op.kind is OpKind.GEMM else None


PRODUCT, CHAIN, SCAN = (
    OpCost(kind.value, kind, kernels=kernels)
    for kind, kernels in ((OpKind.GEMM, 2.0), (OpKind.POINTWISE, 3.0), (OpKind.SCAN, 5.0))
)
LAWS = {OpKind.GEMM: (10.0, 1.0, 7.0), OpKind.POINTWISE: (20.0, 2.0, 9.0), OpKind.SCAN: (40.0, 4.0, 11.0)}


def laid_out(ops: list[OpCost], corrector: Corrected | None) -> Load:
    target = SimpleNamespace(
        laws={kind: lambda op, known: LAWS[op.kind] for kind in LAWS}, corrector=corrector,
        runtime=RUNTIME._replace(gap_s=0.25),
    )  # fmt: skip
    return load(ops, cast(Target, target))


def test_operators_add_up_with_their_floors_and_gaps() -> None:
    """Work, floors, and a quarter of a second a kernel; a chain of pointwise operators does no arithmetic to speak of."""
    assert laid_out([], None) == Load(0.0, 0.0, 0.0)
    assert laid_out([PRODUCT], None) == Load(2.0, 10 + 1 + 2 * 0.25, 7.0)
    assert laid_out([PRODUCT, CHAIN, SCAN], None) == Load(10.0, 70 + 7 + 10 * 0.25, 7.0 + 11.0)
    assert laid_out([SCAN, PRODUCT, CHAIN], None) == laid_out([PRODUCT, CHAIN, SCAN], None)


def test_a_learned_factor_is_on_a_product_with_its_floor() -> None:
    assert laid_out([PRODUCT, SCAN], Corrected()) == Load(7.0, 3 * 11 + 44 + 7 * 0.25, 7.0 + 11.0)
    assert laid_out([SCAN, PRODUCT], Corrected()) == Load(7.0, 3 * 11 + 44 + 7 * 0.25, 7.0 + 11.0)


def test_a_pass_with_quantised_weights_takes_its_kernel_s_time_longer() -> None:
    kernel = TRANSFORMERS.kernel(FORMATS["int8"])._replace(step_s=5.0)
    slow = TARGET._replace(implementation=TRANSFORMERS._replace(kernels=(("int8", kernel),)))
    assert engine_seconds(WORK._replace(numbers=TWO_BYTES._replace(format=FORMATS["int8"])), slow) == ENGINE + 5.0
    assert engine_seconds(WORK, slow) == ENGINE
    rows = RUNTIME._replace(sequence_s=np.array([0.0, 64.0]))
    assert engine_seconds(WORK, TARGET._replace(runtime=rows)).tolist() == [32.0, ENGINE]


# --- Single passes --------------------------------------------------------------------------------


def one_pass(*, decode: bool, alike: bool, first: Load = BLOCKS.first) -> PassCost:
    last = first if alike else BLOCKS.last
    return PassCost(DEPTH, first, last, HEAD.first, WORK, decode, alike)


def test_a_decode_step_runs_in_a_loop_whose_host_runs_ahead() -> None:
    found = one_pass(decode=True, alike=False).times(TARGET)
    assert found.seconds == pytest.approx(respond(DEPTH, BLOCKS, HEAD, WORK, TARGET).step_s, rel=1e-12)
    assert found.host_s == DECODE_HOST + 6 * LAUNCH + 8 + ENGINE + 16 and found.device_s == 70 + 30
    assert (found.device_bound, found.compute_bound) == (True, True)  # 2 · (60 + 8) ≥ 90 + 30


def test_any_other_pass_is_waited_for() -> None:
    found = one_pass(decode=False, alike=True).times(TARGET)
    host = 5 * LAUNCH + 2 * (2 + 4)
    assert found.seconds == pytest.approx(50 + LOSS * host + 30 + LOSS * 6 * LAUNCH + 8 + ENGINE, rel=1e-12)
    assert found.host_s == host + 6 * LAUNCH + 8 + ENGINE and found.device_s == 50 + 30
    growing = one_pass(decode=False, alike=False).times(TARGET)
    assert growing.seconds == pytest.approx(70 + LOSS * host + 30 + LOSS * 6 * LAUNCH + 8 + ENGINE, rel=1e-12)
    crossing = one_pass(decode=False, alike=False, first=Load(116.0, 50.0, 1.0)).times(TARGET)  # the host takes 70
    assert crossing.seconds - (30 + LOSS * 6 * LAUNCH + 8 + ENGINE) == pytest.approx(
        mean_overlapped(70.0, 50.0, 90.0, LOSS)
    )
    cut = one_pass(decode=False, alike=True).times(CUTTING)
    assert found.seconds - cut.seconds == pytest.approx(0.5 * 0.9 / 2.0 * (50 + LOSS * host), rel=1e-12)
