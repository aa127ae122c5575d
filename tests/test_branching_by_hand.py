"""Branch and bound over layers piece by piece: what is open, how boxes are split, which exchange is made."""

import math
from typing import Any

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Attention, Block, FeedForward
from latmodel.search.per_layer.branching import _Search, best_choice
from latmodel.search.per_layer.costs import ENDS, layer_costs
from latmodel.search.per_layer.program import Core, LayerProgram, Limits, Relaxed
from latmodel.search.per_layer.swaps import Swaps

SHARED, NONE = (512.0, 8000.0, 1.0), Block(None, None, norms=0)
LARGE, SMALL = (
    Block(Attention(8.0, 8.0, 64.0), FeedForward(2048.0)),
    Block(Attention(8.0, 2.0, 64.0), FeedForward(512.0)),
)
FFN = Block(None, FeedForward(3072.0), norms=1)
LOOSE = Limits(9.0, 1e12)


def program_of(scores: Any, blocks: tuple[Block, ...] = (LARGE, SMALL, FFN, NONE), **host: float) -> LayerProgram:
    work = Workload(prompt_tokens=100, new_tokens=2000, batch_size=16)
    return LayerProgram(layer_costs(toy_predictor(**host), blocks, SHARED, work), np.array(scores, dtype=float), 1.0)


def search_of(program: LayerProgram, limits: Limits = LOOSE, gap: float = 0.1, end_s: float = math.inf) -> _Search:
    return _Search(program, limits, gap, end_s)


SCORES = [[5.0, 4.0, 3.0, 0.0], [1.0, 2.0, 4.0, -1.0], [6.0, 1.0, 2.0, 0.5]]


def test_a_search_is_open_while_its_gap_is_wide_and_boxes_and_time_are_left() -> None:
    program = program_of(SCORES)
    search, core, box = search_of(program), program.core(), program.whole(LOOSE, ENDS)
    assert search.bound == -math.inf and not search.open()
    for bound in (5.0, 10.0, 7.0, 10.0):
        search.push(bound, box, core)
    assert search.bound == 10.0 and search.open()
    assert [node.number for node in sorted(search.nodes)] == [
        1,
        3,
        2,
        0,
    ]  # the highest first, of equal ones the first made
    search.picked, search.score = np.zeros(3, dtype=int), 9.0
    assert search.open()  # 1 is more than a tenth of 9
    search.gap = 0.12
    assert not search.open()
    search.gap, search.settled = 0.0, 12.0
    assert search.bound == 12.0 and search.open()
    search.score = 20.0
    assert search.bound == 20.0 and not search.open()
    late = search_of(program, end_s=0.0)
    late.push(1.0, box, core)
    assert not late.open()
    with pytest.raises(UsageError, match="found nothing in 0 s"):
        best_choice(program, LOOSE, 0.1, 0.0)


def test_only_a_better_choice_that_keeps_the_limits_is_taken() -> None:
    program = program_of(SCORES)
    seconds = float(program.costs.response(program.costs.total(np.array([1, 1, 1]))))
    search = search_of(program, Limits(seconds * 1.001, 1e12))
    for picked, score in (([0, 0, 0], -math.inf), ([1, 1, 1], 7.0), ([3, 3, 1], 7.0), ([3, 3, 3], 7.0)):
        search._offer(np.array(picked))
        assert search.score == score
    assert search.picked is not None and search.picked.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("layers", "few", "many"),
    [
        (1.7, (1.0, 1.0), (2.0, 3.0)),
        (0.3, (1.0, 1.0), (2.0, 3.0)),
        (2.5, (1.0, 2.0), (3.0, 3.0)),
        (3.0, (1.0, 2.0), (3.0, 3.0)),
    ],
)
def test_a_box_is_split_by_how_many_layers_are_there(layers: float, few: Any, many: Any) -> None:
    program = program_of(SCORES)
    search, box = search_of(program), program.whole(LOOSE, ENDS)
    assert program.layers(box) == (1.0, 3.0)
    halves = search._by_layers(box, layers)
    assert [program.layers(half) for half in halves] == [few, many]
    assert search._by_layers(halves[0], 1.0) == [] if few == (1.0, 1.0) else True
    always = program_of(SCORES, (LARGE, SMALL, FFN, SMALL))
    assert search_of(always)._by_layers(always.whole(LOOSE, ENDS), 3.0) == []


def test_a_relaxed_programme_keeps_the_limit_once_it_has_its_tangents() -> None:
    """Where both timelines count, a solution along two tangents alone takes longer than it says."""
    added = 0
    for launch in (4e-6, 6e-6, 8e-6):
        program = program_of(SCORES, launch_s=launch, block_s=launch, prefill_block_s=0.0, pass_s=0.0, token_s=0.0)
        costs = program.costs
        ends = [float(costs.response(costs.total(np.array(p)))) for p in ([0, 0, 0], [1, 3, 3])]
        for share in (0.2, 0.5, 0.8):
            limits = Limits(ends[1] + share * (ends[0] - ends[1]), 1e12)
            search = search_of(program, limits)
            search.push(math.inf, program.whole(limits, ENDS), program.core())
            relaxed = search._relaxed(search.nodes[0])
            assert relaxed is not None
            totals = costs.each[:, search.nodes[0].core.choice] @ relaxed.share
            assert limits.seconds is not None and float(costs.response(totals)) <= limits.seconds * (1 + 1e-6)
            added += len(search.tangents) - len(ENDS)
            assert len(set(search.tangents)) == len(search.tangents)
    assert added > 0


def test_a_box_is_split_where_the_largest_transient_is_loose_then_where_a_count_is() -> None:
    program = program_of(SCORES)
    costs, core = program.costs, program.core()
    box = program.whole(LOOSE, ENDS)
    share = np.zeros(core.layer.size)
    column = {
        (layer, choice): at
        for at, (layer, choice) in enumerate(zip(core.layer.tolist(), core.choice.tolist(), strict=True))
    }
    for layer, first in enumerate((0, 2, 0)):
        share[column[layer, first]] = 1.0
    whole = Relaxed(15.0, share, np.zeros(core.layer.size))
    roomy = search_of(program)
    roomy.push(math.inf, box, core)
    assert roomy._split(roomy.nodes[0], whole) == []
    # Memory that the largest of all does not fit beside: with it, and with the next smaller ones.
    held = float((costs.each[:, core.choice] @ share)[6] + costs.fixed.held_bytes)
    widest = float(costs.largest_bytes[:, [0, 2]].max())
    tight = search_of(program, Limits(9.0, held + widest - 1.0))
    tight.push(math.inf, box, core)
    lower, upper = tight._split(tight.nodes[0], whole)
    smaller = costs.largest_bytes[0][costs.largest_bytes[0] < widest]
    assert lower.high_bytes.tolist() == [smaller.max(initial=0.0)] and upper.low_bytes.tolist() == [widest]
    assert lower.low_bytes.tolist() == box.low_bytes.tolist() and np.isinf(upper.high_bytes).all()
    # Half a layer of each of two kinds with other host times: that many at most, or one more at least.
    mixed = share.copy()
    mixed[column[1, 2]], mixed[column[1, 3]] = 0.5, 0.5
    few, many = roomy._split(roomy.nodes[0], whole._replace(share=mixed))
    number = int(np.flatnonzero(few.most != box.most)[0])
    count = float(mixed[program.host_class[core.choice] == number].sum())
    assert (few.most[number], many.least[number]) == (math.floor(count), math.ceil(count)) and count % 1 == 0.5


# --- Exchanges ------------------------------------------------------------------------------------

TWO = Core(*(column.ravel() for column in np.indices((2, 4))))


def test_two_layers_exchange_where_no_single_one_gains() -> None:
    """Room for one large block: it belongs in layer 0, and neither step alone is a gain within the budget."""
    program = program_of([[10.0, 0.0, -99.0, -99.0], [5.0, 0.0, -99.0, -99.0]])
    seconds = float(program.costs.response(program.costs.total(np.array([1, 0]))))
    swaps = Swaps(program, Limits(seconds * 1.0001, 1e15))
    assert swaps._best_one(TWO, np.array([1, 0])) == ([], 0.0)
    moves, gain = swaps._best_two(TWO, np.triu(TWO.layer[:, None] != TWO.layer[None, :]), np.array([1, 0]))
    assert (sorted(moves), gain) == ([(0, 0), (1, 1)], 5.0)
    assert swaps.improve(TWO, np.zeros(8), np.array([1, 0])).tolist() == [0, 1]
    assert swaps.improve(TWO, np.zeros(8), np.array([0, 1])).tolist() == [0, 1]


def test_a_gain_of_rounding_is_none() -> None:
    program = program_of([[1.0, 1.0 + 1e-13, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    assert Swaps(program, LOOSE)._best_one(TWO, np.array([0, 0])) == ([], 0.0)
    more = program_of([[1.0, 1.0 + 1e-11, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    moves, gain = Swaps(more, LOOSE)._best_one(TWO, np.array([0, 0]))
    assert moves == [(0, 1)] and gain == pytest.approx(1e-11, rel=1e-3)


def test_mending_gives_up_the_least_for_what_it_regains() -> None:
    """Two large blocks break the budget of one: the one that loses less goes, however the other would gain."""
    for losses, mended in (((5.0, 1.0), [0, 1]), ((1.0, 5.0), [1, 0])):
        program = program_of([[losses[0], 0.0, -99.0, -99.0], [losses[1], 0.0, -99.0, -99.0]])
        seconds = float(program.costs.response(program.costs.total(np.array([1, 0]))))
        swaps = Swaps(program, Limits(seconds * 1.0001, 1e15))
        found = swaps.mend(TWO, np.array([0, 0]))
        assert found is not None and found.tolist() == mended
        stuck = Swaps(program, Limits(1e-9, 1e15))
        assert stuck.mend(Core(TWO.layer[:1], TWO.choice[:1]), np.array([0, 0])) is None
    kept = Swaps(program_of(SCORES[:2]), LOOSE)
    assert (kept.mend(TWO, np.array([0, 2])) == np.array([0, 2])).all()
    # Of what gains as well, the greatest gain; from no layer at all, any block helps.
    gaining = program_of([[0.0, 3.0, 1.0, -99.0], [0.0, 0.0, 0.0, 0.0]])
    seconds = float(gaining.costs.response(gaining.costs.total(np.array([1, 0]))))
    found = Swaps(gaining, Limits(seconds * 1.0001, 1e15)).mend(TWO, np.array([0, 0]))
    assert found is not None and found.tolist() == [1, 0]
    empty = Swaps(program_of([[1.0, 5.0, 2.0, 0.0], [0.0, 4.0, 0.0, 0.0]]), LOOSE).mend(TWO, np.array([3, 3]))
    assert empty is not None and empty.tolist().count(3) == 1
