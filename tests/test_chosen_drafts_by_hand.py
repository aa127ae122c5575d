"""Drafts that a search chooses by hand: envelopes of few lines, checks against single passes, what is refused."""

import re
from typing import Any

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, SearchSpace, Workload
from latmodel.errors import BudgetError, UsageError
from latmodel.model.memory import Memory
from latmodel.predict.acceptance import expected_tokens
from latmodel.predict.generation import Draft, generate
from latmodel.predict.inputs import work_of
from latmodel.search.drafted.break_even import _least, break_even
from latmodel.search.drafted.check import check_tables
from latmodel.search.drafted.drafts import LOOKAHEADS, MOST_DRAFTS, DraftCosts, draft_costs, drafts_of, grid
from latmodel.search.drafted.envelope import envelope
from latmodel.search.drafted.search import Round, Together, frontier_with_draft
from latmodel.search.goals import Corner, Objective, Scenario
from latmodel.search.tables import Tables
from latmodel.units import show_seconds

TOY = toy_predictor()
QUICK = toy_predictor(launch_s=1e-6, block_s=1e-6, prefill_block_s=0.0, pass_s=1e-5, token_s=1e-6)
WORK = Workload(prompt_tokens=300, new_tokens=40)
TARGET = ModelConfig(num_hidden_layers=24, hidden_size=2048)
DRAFTS = {"num_hidden_layers": np.array([1.0, 2.0, 24.0]), "hidden_size": np.array([256.0, 512.0, 4096.0])}


# --- Envelopes ------------------------------------------------------------------------------------


def test_the_least_of_three_lines_by_hand() -> None:
    """6 + V, 4 + 2 V and 1 + 4 V cross at 1.5 and 2; a line that is nowhere least is in none of the levels."""
    slope, offset = np.array([1.0, 2.0, 4.0, 3.0]), np.array([6.0, 4.0, 1.0, 3.0])
    lines = envelope(slope, offset, np.zeros(4))
    assert (lines.levels.tolist(), lines.draft.tolist()) == ([0.0], [[2, 1, 0]])
    assert (lines.slope.tolist(), lines.offset.tolist()) == ([[4.0, 2.0, 1.0]], [[1.0, 4.0, 6.0]])
    checks = np.array([0.0, 1.4, 1.6, 1.9, 2.1, 9.0])
    least, draft = lines.least(checks, np.zeros(6))
    assert draft.tolist() == [2, 2, 1, 1, 0, 0]
    assert least == pytest.approx(np.array([1.0, 6.6, 7.2, 7.8, 8.1, 15.0]))


def test_a_level_for_each_amount_of_memory_at_which_another_draft_comes_in() -> None:
    slope, offset, kept = (
        np.array([4.0, 1.0, 9.0, 2.0]),
        np.array([1.0, 6.0, 9.0, 0.5]),
        np.array([10.0, 30.0, 20.0, 40.0]),
    )
    lines = envelope(slope, offset, kept)
    assert lines.levels.tolist() == [10.0, 30.0, 40.0] and lines.draft.tolist() == [[0, -1], [0, 1], [3, 1]]
    assert lines.offset[0, 1] == np.inf and lines.slope[0, 1] == 0.0
    least, draft = lines.least(np.full(5, 9.0), np.array([9.9, 10.0, 29.9, 30.0, 40.0]))
    assert draft.tolist() == [-1, 0, 0, 1, 1] and least.tolist() == [np.inf, 37.0, 37.0, 15.0, 15.0]
    assert lines.least(np.array([1.0]), np.array([40.0]))[1].tolist() == [3]
    none, index = envelope(np.zeros(0), np.zeros(0), np.zeros(0)).least(np.ones(2), np.ones(2))
    assert none.tolist() == [np.inf, np.inf] and index.tolist() == [-1, -1]


def test_of_equal_slopes_the_lower_line_and_of_equal_lines_one() -> None:
    lines = envelope(np.array([2.0, 2.0, 2.0, 1.0]), np.array([5.0, 3.0, 3.0, 9.0]), np.zeros(4))
    assert lines.draft.shape == (1, 2) and lines.draft[0, 1] == 3 and lines.draft[0, 0] in (1, 2)
    beaten = envelope(np.array([2.0, 1.0]), np.array([3.0, 3.0]), np.zeros(2))  # alike at 0, worse beyond
    assert beaten.least(np.array([0.0, 1.0]), np.zeros(2))[0].tolist() == [3.0, 4.0]
    later = envelope(np.array([1.0, 2.0]), np.array([3.0, 2.0]), np.array([0.0, 5.0]))
    assert later.levels.tolist() == [0.0, 5.0] and later.least(np.array([0.5]), np.array([5.0]))[1].tolist() == [1]


@pytest.mark.parametrize("seed", range(12))
def test_an_envelope_is_the_least_of_all_lines_that_fit(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 1 + 2 * seed
    slope, offset, kept = random.integers(1, 9, count) * 1.0, random.random(count), random.integers(0, 4, count) * 1.0
    checks, room = (side.ravel() for side in np.meshgrid([0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 9.0], np.arange(-1.0, 5.0)))
    found = envelope(slope, offset, kept)
    least, draft = found.least(checks, room)
    every = np.where(kept <= room[:, None], offset + slope * checks[:, None], np.inf)
    assert least == pytest.approx(every.min(axis=1)) and ((draft >= 0) == np.isfinite(least)).all()
    chosen = np.flatnonzero(draft >= 0)
    assert every[chosen, draft[chosen]] == pytest.approx(least[chosen])
    for row in range(len(found.levels)):  # each line of a level is the least somewhere
        some = found.draft[row][found.draft[row] >= 0]
        assert (np.diff(slope[some]) < 0).all() and (np.diff(offset[some]) > 0).all()


# --- Drafts ---------------------------------------------------------------------------------------


def test_every_depth_with_every_width() -> None:
    found = grid(1000, (1, 3), (256, 512))
    assert found["num_hidden_layers"].tolist() == [1, 1, 3, 3] and found["hidden_size"].tolist() == [256, 512] * 2
    assert found["vocab_size"].tolist() == [1000] * 4
    whole = grid(7)
    assert (whole["num_hidden_layers"].max(), whole["hidden_size"].min(), whole["hidden_size"].max()) == (24, 256, 4096)
    assert whole["vocab_size"].size == 24 * 31 and LOOKAHEADS == (1, 2, 3, 4, 5, 6, 7, 8)


def test_drafts_know_their_acceptance_and_share_the_vocabulary() -> None:
    known = drafts_of(DRAFTS, 0.25, 65536)
    assert len(known) == 3 and known.acceptance.tolist() == [0.25] * 3
    assert known.config(1) == ModelConfig(num_hidden_layers=2, hidden_size=512)
    assert known.architecture.num_hidden_layers.tolist() == [1, 2, 24]
    assert drafts_of(DRAFTS, np.array([0.0, 0.5, 1.0]), 65536).acceptance.tolist() == [0.0, 0.5, 1.0]
    deep = drafts_of(DRAFTS, lambda columns: columns["num_hidden_layers"] / 24.0, 65536)
    assert deep.acceptance.tolist() == [1 / 24, 2 / 24, 1.0]
    wrong: list[tuple[Any, Any, int, str]] = [
        (DRAFTS, 1.1, 65536, "draft 1x256 must lie between 0 and 1"),
        (DRAFTS, np.array([0.5, -0.1, 2.0]), 65536, "draft 2x512"),
        (DRAFTS, np.array([0.5, 0.5, np.nan]), 65536, "draft 24x4096"),
        ({**DRAFTS, "vocab_size": np.array([9.0, 8.0, 9.0])}, 0.5, 9, "draft 2x512 has a vocabulary of 8 tokens"),
        ({"num_hidden_layers": 1, "hidden_size": np.full(MOST_DRAFTS + 1, 64.0)}, 0.5, 9, f"{MOST_DRAFTS + 1} drafts"),
    ]
    for columns, acceptance, vocabulary, word in wrong:
        with pytest.raises(UsageError, match=word):
            drafts_of(columns, acceptance, vocabulary)
    assert len(drafts_of({"num_hidden_layers": 1, "hidden_size": np.full(MOST_DRAFTS, 64.0)}, 0.5, 9)) == MOST_DRAFTS


@pytest.mark.parametrize("lookahead", [1, 4])
def test_what_drafts_cost_is_what_generating_with_each_costs(lookahead: int) -> None:
    known = drafts_of(DRAFTS, 0.7, 65536)
    costs = draft_costs(TOY, known, WORK, lookahead)
    target = TARGET.architecture()
    one = Round.of(TOY, known, WORK, lookahead)
    tables = check_tables(SPACE, Scenario(TOY, WORK), lookahead, (0, 1), 10**7)
    shapes, row_of = corner(tables.first), {}
    for row in range(3):
        model = known.config(row).architecture()
        found = generate(TOY, target, WORK, way=Draft("x", model, WORK, lookahead, 0.7))
        own = TOY.memory(model, work_of(WORK)._replace(new=40.0 + lookahead))
        assert costs.step_s[row] == pytest.approx(found.details["draft_step_s"], rel=1e-9)
        assert costs.tokens[row] == expected_tokens(0.7, lookahead) == found.details["tokens_per_round"]
        assert costs.memory.peak_bytes[row] == pytest.approx(float(own.peak_bytes))
        check_s, plain = found.details["verification_s"], TOY.predict(TARGET, WORK)
        assert tables.seconds(shapes)[0] == pytest.approx(check_s, rel=1e-9)
        added = one.offset[row] + one.slope[row] * check_s
        assert found.response_s == pytest.approx(plain.prefill_s + added, rel=1e-9)
        row_of[row] = added
    least, draft = one.least.least(np.array([check_s]), np.array([1e15]))
    assert least[0] == pytest.approx(min(row_of.values())) and draft[0] == min(row_of, key=row_of.__getitem__)
    held, memory = tables.memory(shapes), TOY.memory(target, work_of(WORK)._replace(new=40.0 + lookahead))
    assert float(held.peak_bytes[0]) == pytest.approx(float(memory.peak_bytes), rel=1e-9)


SPACE = SearchSpace(
    num_hidden_layers=24, hidden_size=2048, intermediate_size=5504, num_key_value_heads=8, head_dim=64, vocab_size=65536
)


def corner(table: Tables) -> Corner:
    return Corner([table], np.array([0]), np.array([0]), np.array([24.0]))


def test_the_best_way_of_a_target_is_the_quickest_that_fits() -> None:
    """Each of nine ways by itself; with too little memory for any draft a token a pass."""
    assert SPACE.stems.num_key_value_heads.tolist() == [8]
    for predictor in (TOY, QUICK):
        ways = {}
        for row in range(2):
            model = drafts_of(DRAFTS, 0.9, 65536).config(row).architecture()
            for k in (1, 2, 5):
                way = generate(predictor, TARGET.architecture(), WORK, way=Draft("x", model, WORK, k, 0.9))
                ways[row, k] = (way.response_s, way.peak_memory_bytes)
        plain = predictor.predict(TARGET, WORK)
        for memory in (
            1e12,
            min(size for _, size in ways.values()) - 1.0,
            max(size for _, size in ways.values()) - 1.0,
        ):
            found = frontier_with_draft(
                predictor, 0.9, SPACE, WORK, drafts={name: column[:2] for name, column in DRAFTS.items()}, lookaheads=(5, 1, 2),
                memory_bytes=memory, quality="params",
            )  # fmt: skip
            kept = {
                key: seconds for key, (seconds, size) in ways.items() if size <= memory and seconds < plain.response_s
            }
            best = min(kept, key=kept.__getitem__) if kept else None
            row = found.to_rows()[0]
            assert row["response_s"] == pytest.approx(kept[best] if best else plain.response_s, rel=1e-9)
            assert row["plain_response_s"] == pytest.approx(plain.response_s, rel=1e-9)
            assert row["speedup"] == pytest.approx(row["plain_response_s"] / row["response_s"]) and len(found) == 1
            if best is None:
                assert (row["draft"], row["lookahead"], row["acceptance"]) == (None, None, None)
            else:
                assert (found.draft.tolist(), row["lookahead"], row["acceptance"]) == ([best[0]], best[1], 0.9)
                assert row["draft"]["hidden_size"] == DRAFTS["hidden_size"][best[0]]


def test_rows_of_what_each_draft_must_reach() -> None:
    target = TARGET.architecture()
    rows = break_even(QUICK, target, 0.6, WORK, drafts=DRAFTS, lookaheads=(3, 1))
    order = [row.break_even_acceptance is None for row in rows]
    paying = [row.break_even_acceptance for row in rows if row.break_even_acceptance is not None]
    assert order == sorted(order) and paying == sorted(paying) and 0 < len(paying) < 3
    assert rows[-1].pays_with is None and rows[-1].draft["hidden_size"] == 4096
    for row in rows:
        model = ModelConfig(**row.draft)
        details = {
            k: generate(QUICK, target, WORK, way=Draft("x", model.architecture(), WORK, k, 0.6)).details for k in (1, 3)
        }
        assert row.num_parameters == model.architecture().num_parameters
        assert row.draft_step_s == pytest.approx(details[1]["draft_step_s"])
        assert row.speedup == pytest.approx(max(one["decode_speedup"] for one in details.values()), rel=1e-9)
        assert row.lookahead == max(details, key=lambda k: details[k]["decode_speedup"])
        evens = {
            k: one["break_even_acceptance"] for k, one in details.items() if one["break_even_acceptance"] is not None
        }
        if evens:
            assert row.break_even_acceptance == pytest.approx(min(evens.values()), abs=1e-6)
            assert row.pays_with == min(evens, key=lambda k: evens[k])
    assert rows[0].as_dict()["acceptance"] == 0.6
    assert _least({1: None, 2: 0.5, 3: 0.4}) == (0.4, 3) and _least({1: None}) == (None, None)


@pytest.mark.parametrize("lookahead", [0, -1, 1.5, 10_000_001])
def test_a_lookahead_that_cannot_be_is_refused(lookahead: Any) -> None:
    with pytest.raises(UsageError, match="lookahead"):
        frontier_with_draft(TOY, 0.5, SPACE, WORK, drafts=DRAFTS, lookaheads=(1, lookahead))
    with pytest.raises(UsageError, match="lookahead"):
        frontier_with_draft(TOY, 0.5, SPACE, WORK, drafts=DRAFTS, lookaheads=())


def test_a_draft_whose_own_transient_does_not_fit_gives_way_to_the_next() -> None:
    """Kept bytes of 10, 20 and 30, and 50 more that the first one holds at its peak; 7 beside the target's."""
    memory = Memory(np.array([8.0, 15, 25]), np.array([2.0, 5, 5]), np.array([50.0, 1, 1]), np.array([0.0, 1, 0]))
    costs = DraftCosts(np.zeros(3), np.zeros(3), np.ones(3), memory)
    one = Round(2, costs, np.ones(3), np.array([1.0, 2.0, 3.0]), envelope(np.ones(3), np.arange(3.0), np.zeros(3)))
    index, least = np.array([0, 0, 0, 0, -1, 0]), np.array([2.0, 2.0, 2.0, 2.0, np.inf, 2.0])
    beside = np.array([70.0, 62.0, 61.9, 26.9, 99.0, 27.0])
    Together._refit(one, np.ones(6), beside, np.full(6, 5.0), np.array(2.0), least, index)
    assert index.tolist() == [0, 0, 1, -1, -1, 1] and least.tolist() == [2.0, 2.0, 3.0, np.inf, np.inf, 3.0]
    larger = Round(2, costs._replace(memory=memory._replace(overhead_bytes=np.array([0.0, 9, 0]))), *one[2:])
    index, least = np.array([0, 0]), np.array([2.0, 2.0])
    Together._refit(larger, np.ones(2), np.array([33.0, 37.0]), np.full(2, 5.0), np.full(2, 2.0), least, index)
    assert index.tolist() == [-1, 1]  # 34 of the second, 37 of the third
    whole = Round.of(TOY, drafts_of(DRAFTS, 0.7, 65536), WORK, 2)
    kept = whole.costs.memory.weight_bytes + whole.costs.memory.cache_bytes
    assert set(whole.least.levels.tolist()) <= set(kept.tolist())


def test_what_no_target_keeps_is_named() -> None:
    asked: dict[str, Any] = {"drafts": DRAFTS, "lookaheads": (2,), "quality": "params"}
    found = frontier_with_draft(QUICK, 0.9, SPACE, WORK, **asked, limits=[Objective("params").at_least(1e8)])
    assert found.quality.tolist() == [TARGET.architecture().num_parameters] and found.searched == 1
    best = show_seconds(float(found.response_s[0]))
    with pytest.raises(BudgetError, match=f"any of these drafts: the quickest takes {re.escape(best)};"):
        frontier_with_draft(QUICK, 0.9, SPACE, WORK, **asked, budget_s=0.5 * float(found.response_s[0]))
    kept = frontier_with_draft(QUICK, 0.9, SPACE, WORK, **asked, budget_s=1.01 * float(found.response_s[0]))
    assert kept.draft.tolist() == found.draft.tolist() and kept.budget_s == 1.01 * float(found.response_s[0])
    for budget in (None, 1.0):
        with pytest.raises(BudgetError, match="fits in"):
            frontier_with_draft(QUICK, 0.9, SPACE, WORK, **asked, memory_bytes=1e6, budget_s=budget)
    for metric in ("decode", "energy", "cost"):
        with pytest.raises(UsageError, match="with a draft only --budget"):
            frontier_with_draft(QUICK, 0.9, SPACE, WORK, **asked, limits=[Objective(metric).at_most(1.0)])
    with pytest.raises(UsageError, match="one --vocab at a time"):
        frontier_with_draft(QUICK, 0.9, SPACE.pin(vocab_size=(9, 10)), WORK, **asked)
    with pytest.raises(UsageError, match="--generate 0"):
        frontier_with_draft(QUICK, 0.9, SPACE, Workload(new_tokens=0), **asked)
