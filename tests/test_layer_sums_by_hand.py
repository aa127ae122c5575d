"""A per-layer search piece by piece, against models of three layers predicted whole and against every choice."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import Predictor, Workload
from latmodel.errors import BudgetError, UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.predict.timeline import mean_overlapped, overlapped
from latmodel.search.per_layer.branching import best_choice, quickest_choice
from latmodel.search.per_layer.costs import ENDS, LayerCosts, layer_costs
from latmodel.search.per_layer.layers import _checked, _runs, search_layers
from latmodel.search.per_layer.program import Core, LayerProgram, Limits
from latmodel.search.per_layer.swaps import Swaps

SHARED = (512.0, 8000.0, 1.0)
NONE = Block(None, None, norms=0)
BLOCKS = (
    Block(Attention(8.0, 8.0, 64.0), FeedForward(2048.0)), Block(Attention(8.0, 2.0, 64.0), FeedForward(1024.0)),
    Block(None, FeedForward(3072.0), norms=1), NONE,
)  # fmt: skip
A, B = BLOCKS[:2]
SOME = [picked for picked in itertools.product(range(4), repeat=3) if picked != (3, 3, 3)]
TOY = toy_predictor()
BUSY = toy_predictor(launch_s=2e-6, block_s=2e-6, prefill_block_s=1e-6, pass_s=1e-6, token_s=1e-6)
PLAIN, LONG = Workload(prompt_tokens=200, new_tokens=20), Workload(prompt_tokens=2000, new_tokens=900, batch_size=32)


def whole(picked: tuple[int, ...]) -> Architecture:
    return Architecture(tuple(Group(1.0, BLOCKS[i]) for i in picked if i != 3), *SHARED)


def costs_of(predictor: Predictor = TOY, workload: Workload = PLAIN) -> LayerCosts:
    return layer_costs(predictor, BLOCKS, SHARED, workload)


def peak(costs: LayerCosts, picked: tuple[int, ...]) -> float:
    chosen = np.array(picked)
    return float(costs.peak_bytes(costs.total(chosen), costs.largest_bytes[:, chosen].max(axis=1)))


CASES = [
    (TOY, PLAIN), (BUSY, LONG), (TOY, PLAIN.model_copy(update={"weights": "int4-gptq"})),
    (Predictor.load("3090", "llama.cpp"), Workload(weights="q4_k_m", prompt_tokens=300, new_tokens=2)),
]  # fmt: skip


@pytest.mark.parametrize(("predictor", "workload"), CASES)
def test_sums_of_layers_are_whole_models(predictor: Predictor, workload: Workload) -> None:
    costs = costs_of(predictor, workload)
    for picked in SOME[::5]:
        found = predictor.predict(whole(picked), workload)
        totals = costs.total(np.array(picked))
        assert totals[0] == sum(index != 3 for index in picked)
        assert float(costs.response(totals)) == pytest.approx(found.response_s, rel=1e-9)
        assert peak(costs, picked) == pytest.approx(found.peak_memory_bytes, rel=1e-9)
    assert costs.each[:, 3].tolist() == [0.0] * 7 and costs.largest_bytes[:, 3].tolist() == [0.0] * len(
        costs.largest_bytes
    )
    assert costs.cuts_last == (predictor is CASES[3][0]) and costs.new == workload.new_tokens
    assert len(costs.largest_bytes) == (3 if workload.weights == "int4-gptq" else 1)
    assert costs.fixed.largest_bytes[1:].tolist() == [0.0] * (len(costs.largest_bytes) - 1)
    assert costs.fixed.prefill_s == pytest.approx(float(costs.response(np.zeros(7)) - costs.new * costs.fixed.around.step(
        0.0, 0.0, 0.0, costs.loss)))  # fmt: skip


@pytest.mark.parametrize(("predictor", "workload"), CASES[:2])
def test_a_tangent_touches_the_step_and_lies_below_it_elsewhere(predictor: Predictor, workload: Workload) -> None:
    """Slopes are the derivatives of the mean of max(host, device); a sum of layers along them is never above the step."""
    costs = costs_of(predictor, workload)
    around = costs.fixed.around
    for picked in SOME[::7]:
        totals = costs.total(np.array(picked))
        host, first, last = (
            totals[3] + around.step_host_s,
            totals[4] + around.step_device_s,
            totals[5] + around.step_device_s,
        )
        tangent, h = costs.tangent(totals), 1e-6 * host
        for slope, (a, b, c) in zip(tangent, np.eye(3) * h, strict=True):
            up, down = (mean_overlapped(host + s * a, first + s * b, last + s * c, 0.0) for s in (0.5, -0.5))
            assert slope == pytest.approx((up - down) / h, abs=1e-4)
        per_layer, rest = costs.step_along(tangent)
        for other in SOME[::3]:
            sums = costs.total(np.array(other))
            step = float(around.step(*sums[3:6], costs.loss))
            along = float(per_layer[list(other)].sum() + rest)
            assert along <= step * (1 + 1e-12)
            if np.array_equal(sums, totals):
                assert along == pytest.approx(step, rel=1e-12)
    assert ENDS == ((1.0, 0.0, 0.0), (0.0, 0.5, 0.5))


def test_slopes_where_the_timelines_cross_by_hand() -> None:
    """Device from 1 to 3 s beside what lies around: host at 2 crosses half-way, at 0 never, at 9 always."""
    costs = costs_of()
    gap = costs.fixed.around.step_device_s - costs.fixed.around.step_host_s
    for host, slopes in (
        (2.0, (0.5, 0.125, 0.375)),
        (0.0, (0.0, 0.5, 0.5)),
        (9.0, (1.0, 0.0, 0.0)),
        (1.5, (0.25, 0.28125, 0.46875)),
    ):
        assert costs.tangent(np.array([1.0, 0.0, 0.0, host + gap, 1.0, 3.0, 0.0])) == pytest.approx(slopes)


def test_a_prefill_is_the_larger_of_two_planes() -> None:
    costs = costs_of(BUSY, LONG)
    planes = costs.prefill_along(0.75)
    for layer in range(4):
        host, device = costs.sums.prefill_host[layer], costs.sums.prefill_device[layer]
        assert max(plane[layer] for plane in planes) == pytest.approx(0.75 * overlapped(host, device, costs.loss))


# --- The programme --------------------------------------------------------------------------------


def program_of(scores: Any, predictor: Predictor = TOY, workload: Workload = PLAIN) -> LayerProgram:
    return LayerProgram(costs_of(predictor, workload), np.array(scores, dtype=float), 0.01)


SCORES = [[5.0, 4.0, 3.0, 0.0], [1.0, 2.0, 4.0, -1.0], [6.0, 1.0, 2.0, 0.5]]


def judged(program: LayerProgram, limits: Limits) -> dict[tuple[int, ...], float]:
    """Scores of the choices that keep the limits."""
    scores, costs = program.scores, program.costs
    return {
        picked: float(sum(scores[layer, index] for layer, index in enumerate(picked)))
        for picked in SOME
        if peak(costs, picked) <= limits.memory_bytes
        and (limits.seconds is None or float(costs.response(costs.total(np.array(picked)))) <= limits.seconds)
    }


def limits_at(program: LayerProgram, time_share: float, memory_share: float) -> Limits:
    costs = program.costs
    times = sorted(float(costs.response(costs.total(np.array(picked)))) for picked in SOME)
    sizes = sorted(peak(costs, picked) for picked in SOME)
    at = [int(share * (len(SOME) - 1)) for share in (time_share, memory_share)]
    return Limits(times[at[0]] * 1.0001, sizes[at[1]] * 1.0001)


LIMITED = [(0.1, 1.0), (0.4, 0.6), (0.7, 0.3), (1.0, 0.5), (1.0, 1.0)]


@pytest.mark.parametrize(("predictor", "workload"), CASES)
@pytest.mark.parametrize(("time_share", "memory_share"), LIMITED)
def test_the_best_choice_is_the_best_of_all(
    predictor: Predictor, workload: Workload, time_share: float, memory_share: float
) -> None:
    program = program_of(SCORES, predictor, workload)
    limits = limits_at(program, time_share, memory_share)
    kept = judged(program, limits)
    picked, bound = best_choice(program, limits, 1e-9, 60.0)
    if picked is None:
        assert not kept and bound == -np.inf
        return
    assert kept[tuple(picked.tolist())] == max(kept.values())
    assert bound == pytest.approx(max(kept.values()), rel=1e-6)
    relaxed = program.relax(program.core(), program.whole(limits, ENDS), limits, ENDS)
    assert relaxed is not None and relaxed.bound >= max(kept.values()) - 1e-6
    assert program._most_layers(limits, ENDS) >= max(sum(index != 3 for index in picked) for picked in kept)
    quickest = quickest_choice(program, limits.memory_bytes)
    assert quickest is not None
    costs = program.costs
    within = {p: float(costs.response(costs.total(np.array(p)))) for p in SOME if peak(costs, p) <= limits.memory_bytes}
    assert float(costs.response(costs.total(quickest))) == pytest.approx(min(within.values()), rel=1e-6)


def test_no_more_layers_than_fit_at_the_cheapest() -> None:
    """Where the host binds, a layer takes the same in every step: as many as the room holds, and no fraction more."""
    program = program_of(SCORES)
    costs = program.costs
    seconds = [float(costs.response(costs.total(np.array(p)))) for p in ((2, 3, 3), (2, 2, 3), (2, 2, 2))]
    found = [program._most_layers(Limits(limit, 1e12), ENDS) for limit in (
        seconds[0] * 0.999, seconds[0] * 1.001, seconds[1] * 0.999, seconds[1] * 1.001, seconds[2] * 1.001, None)]  # fmt: skip
    assert found == [0.0, 1.0, 1.0, 2.0, 3.0, 3.0]
    box = program.whole(Limits(seconds[1] * 1.001, 1e12), ENDS)
    assert program.layers(box) == (1.0, 2.0)
    none = program.host_class[3]
    assert (box.least[none], box.most[none]) == (
        1.0,
        2.0,
    ) and box.low_bytes.tolist() == costs.fixed.largest_bytes.tolist()
    assert (np.delete(box.least, none) == 0.0).all() and (np.delete(box.most, none) == 3.0).all()
    assert np.isinf(box.high_bytes).all()
    always = LayerProgram(layer_costs(TOY, BLOCKS[:2], SHARED, PLAIN), np.ones((3, 2)), 1.0)
    assert always.layers(always.whole(Limits(9.0, 1e12), ENDS)) == (3.0, 3.0)


def test_a_choice_that_another_beats_is_no_column() -> None:
    """Block 1 is quicker and smaller than block 0; where it scores as much, block 0 is never better."""
    for row, kept in (([4.0, 5.0, 3.0, 0.0], {1, 2, 3}), ([5.0, 5.0, 3.0, 0.0], {1, 2, 3}), ([6.0, 5.0, 3.0, 0.0], {0, 1, 2, 3}),
                      ([6.0, -np.inf, 3.0, 0.0], {0, 2, 3}), ([5.0, 5.0, 3.0, 9.0], {1, 2, 3})):  # fmt: skip
        core = program_of([row]).core()
        assert {c for c in core.choice.tolist() if c != 2} == kept - {2} and core.layer.tolist() == [
            0
        ] * core.choice.size
    twice = LayerProgram(
        layer_costs(TOY, (BLOCKS[0], BLOCKS[0]), SHARED, PLAIN), np.array([[1.0, 1.0], [1.0, 2.0]]), 1.0
    )
    core = twice.core()
    assert list(zip(core.layer.tolist(), core.choice.tolist(), strict=True)) == [(0, 0), (1, 1)]  # of equals the first


def test_whole_numbers_and_what_a_share_reads_as() -> None:
    program, loose = program_of(SCORES), Limits(1e9, 1e15)
    core = program.core()
    solved = program.integer(core, program.whole(loose, ENDS), loose, ENDS, 1e-9, 60.0)
    assert solved.picked is not None and solved.picked.tolist() == [0, 2, 0] and solved.bound == pytest.approx(15.0)
    tight, box = Limits(1e-9, 1e15), program.whole(loose, ENDS)
    nothing = program.integer(core, box, tight, ENDS, 1e-9, 60.0)
    assert nothing.picked is None and nothing.bound == -np.inf
    assert program.relax(core, box, tight, ENDS) is None
    share = np.zeros(core.layer.size)
    share[[(core.layer.tolist().index(layer)) for layer in (0, 1, 2)]] = 0.4
    assert program.read(core, share).tolist() == [
        int(core.choice[core.layer.tolist().index(layer)]) for layer in (0, 1, 2)
    ]
    assert (Limits(10.0, 100.0).tightened(0.1), Limits(None, 100.0).tightened(0.5)) == ((9.0, 90.0), (None, 50.0))


# --- Exchanges ------------------------------------------------------------------------------------

ALL = Core(*(column.ravel() for column in np.indices((3, 4))))


@pytest.mark.parametrize(("predictor", "workload"), [CASES[0], CASES[2]])
def test_exchanges_of_one_and_of_two_against_trying_them(predictor: Predictor, workload: Workload) -> None:
    program = program_of(SCORES, predictor, workload)
    costs = program.costs
    for shares in ((0.6, 0.8), (0.3, 1.0), (0.9, 0.4)):
        limits = limits_at(program, *shares)
        swaps, kept = Swaps(program, limits), judged(program, limits)
        for picked in SOME[::4]:
            chosen = np.array(picked)
            assert swaps.keeps(chosen) == (picked in kept)
            seconds, size = float(costs.response(costs.total(chosen))), peak(costs, picked)
            over = max(seconds / limits.seconds - 1, 0.0) + max(size / limits.memory_bytes - 1, 0.0)  # type: ignore[operator]
            assert swaps.broken(chosen) == pytest.approx(over, abs=1e-8)
            for column, (layer, choice) in enumerate(zip(ALL.layer, ALL.choice, strict=True)):
                other = chosen.copy()
                other[layer] = choice
                assert swaps._largest(ALL, chosen)[:, column] == pytest.approx(
                    costs.largest_bytes[:, other].max(axis=1)
                )
            if picked in kept:
                better = swaps.improve(ALL, np.zeros(ALL.layer.size), chosen)
                ended = kept[tuple(better.tolist())]
                near = [p for p in kept if sum(a != b for a, b in zip(p, better.tolist(), strict=True)) == 1]
                assert ended >= kept[picked] and ended >= max((kept[p] for p in near), default=-math.inf)
            elif (mended := swaps.mend(ALL, chosen)) is not None:
                assert tuple(mended.tolist()) in kept
        assert any(swaps.mend(ALL, np.array(p)) is not None for p in SOME if p not in kept)
    assert Swaps(program, limits).broken(np.array([3, 3, 3])) == np.inf


def test_the_dearest_pair_is_exchanged_where_no_single_one_gains() -> None:
    """Worth comes from giving the large block to the other layer: two exchanges at once, each alone breaks the budget."""
    program = LayerProgram(costs_of(TOY, LONG), np.array([[0.0, 5.0, -99.0, -99.0], [9.0, 0.0, -99.0, -99.0]]), 1.0)
    costs = program.costs
    one_large = float(costs.response(costs.total(np.array([0, 1]))))
    swaps = Swaps(program, Limits(one_large * 1.0001, 1e15))
    core = Core(*(column.ravel() for column in np.indices((2, 4))))
    assert swaps.improve(core, np.zeros(8), np.array([0, 1])).tolist() == [1, 0]


def test_an_answer_says_what_it_is() -> None:
    asked: dict[str, Any] = {"hidden_size": 512, "vocab_size": 8000, "workload": PLAIN}
    found = search_layers(TOY, BLOCKS, np.array(SCORES), budget_s=10.0, gap=1e-9, **asked)
    assert (found.choices, found.score) == ((0, 2, 0), 15.0) and found.bound >= 15.0 and 0.0 <= found.gap < 1e-6
    assert found.architecture == whole((0, 2, 0)) and found.prediction == TOY.predict(whole((0, 2, 0)), PLAIN)
    assert found.additive_s == pytest.approx(found.prediction.response_s, rel=1e-9)
    early = search_layers(TOY, BLOCKS, np.array(SCORES), budget_s=0.8 * found.additive_s, gap=0.5, **asked)
    assert early.gap == pytest.approx((early.bound - early.score) / early.score, abs=1e-12) and early.gap <= 0.5
    for budget in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="budget_s"):
            search_layers(TOY, BLOCKS, np.array(SCORES), budget_s=budget, **asked)
    with pytest.raises(BudgetError, match="quickest takes"):
        search_layers(TOY, BLOCKS, np.array(SCORES), budget_s=1e-9, **asked)
    with pytest.raises(BudgetError, match="fits in the memory"):
        search_layers(TOY, BLOCKS, np.array(SCORES), budget_s=1.0, memory_bytes=1.0, **asked)


def test_equal_neighbours_are_one_group() -> None:
    assert _runs([A, A, B, NONE, B, A, NONE]) == [(2.0, A), (2.0, B), (1.0, A)] and _runs([NONE]) == []
    assert _checked([[1, 2]], 2).tolist() == [[1.0, 2.0]] and _checked([[1, -np.inf]], 2)[0, 1] == -np.inf
    for wrong, word in (
        ([1.0, 2.0], "shape"), ([[1.0, 2.0, 3.0]], "shape"), (np.zeros((0, 2)), "shape"), ([[1.0, np.nan]], "block 1 is nan"),
        ([[1.0, 2.0], [np.inf, 0.0]], "layer 1, block 0 is inf"), ([[1.0, 2.0], [-np.inf, -np.inf]], "layer 1 may pick"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            _checked(wrong, 2)
