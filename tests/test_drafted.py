"""Target and draft together against brute force: every target with every draft and lookahead, priced by `generate`."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import ModelConfig, Objective, Predictor, SearchSpace, Span, Workload
from latmodel.cli.verbs import group
from latmodel.errors import BudgetError, UsageError
from latmodel.model.config import CONFIG_FIELDS
from latmodel.predict.generation import Draft, generate
from latmodel.search.drafted.break_even import break_even
from latmodel.search.drafted.drafts import drafts_of, grid
from latmodel.search.drafted.envelope import envelope
from latmodel.search.drafted.frontier import DraftedFrontier
from latmodel.search.drafted.search import frontier_with_draft

SPACE = SearchSpace(
    num_hidden_layers=(4, 16, 40), hidden_size=(512, 2048, 4096), head_dim=(128,), group_size=4,
    intermediate_ratio=(2.5, 4.0), intermediate_step=1024,
)  # fmt: skip
GRID = grid(65536, (1, 2, 12), (256, 1024, 3072))
LOOKAHEADS = (1, 3, 8)
PREDICTORS = {"toy": toy_predictor(), "3090": Predictor.load("3090"), "llama.cpp": Predictor.load("3090", "llama.cpp")}


def by_size(columns):
    """More parameters, more acceptance: saturating."""
    size = columns["num_hidden_layers"] * columns["hidden_size"] ** 2 * 12.0
    return 0.9 * size / (size + 2e7)


def brute(predictor: Predictor, workload: Workload, memory_bytes: float) -> list[tuple[float, float]]:
    """(parameters, response) of every target with its quickest way within the memory."""
    drafts = drafts_of(GRID, by_size, 65536)
    found = []
    sizes = [(h, f) for h in SPACE.hidden_size for f in range(1024, 20000, 1024) if 2.5 * h <= f <= 4.0 * h]
    for depth, (hidden, ffn) in itertools.product(SPACE.num_hidden_layers, sizes):
        heads = hidden // 128
        target = ModelConfig(
            num_hidden_layers=depth,
            hidden_size=hidden,
            intermediate_size=ffn,
            num_attention_heads=heads,
            num_key_value_heads=heads // 4,
            head_dim=128,
        ).architecture()
        alone = generate(predictor, target, workload)
        ways = [alone.response_s] if alone.peak_memory_bytes <= memory_bytes else []
        for row, k in itertools.product(range(len(drafts)), LOOKAHEADS):
            model = drafts.config(row).architecture()
            one = generate(
                predictor, target, workload, way=Draft("x", model, workload, k, float(drafts.acceptance[row]))
            )
            if one.peak_memory_bytes <= memory_bytes:
                ways.append(one.response_s)
        if ways:
            found.append((float(target.num_parameters), min(ways)))
    return found


def searched(name: str, workload: Workload, memory_bytes: float) -> DraftedFrontier:
    return frontier_with_draft(
        PREDICTORS[name], by_size, SPACE, workload, drafts=GRID, lookaheads=LOOKAHEADS, memory_bytes=memory_bytes,
        quality="params",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "workload", "memory_bytes"),
    [
        ("3090", Workload(), 24e9), ("3090", Workload(prompt_tokens=3000, batch_size=4), 3e9), ("toy", Workload(), 1.2e9),
        ("llama.cpp", Workload(weights="q4_0", new_tokens=30), 1.5e9),
    ],
)  # fmt: skip
def test_the_frontier_equals_brute_force(name: str, workload: Workload, memory_bytes: float) -> None:
    every = brute(PREDICTORS[name], workload, memory_bytes)
    best = sorted(
        one for one in every if not any((p >= one[0] and s < one[1]) or (p > one[0] and s <= one[1]) for p, s in every)
    )
    found = searched(name, workload, memory_bytes)
    assert len(found) > 2
    assert sorted(found.quality) == pytest.approx([one[0] for one in best], rel=1e-12)
    assert sorted(found.response_s) == pytest.approx(sorted(one[1] for one in best), rel=1e-9)
    assert (found.draft >= 0).any() or name == "toy"
    for row in found.to_rows():  # each row's own choice makes its own time
        target = ModelConfig(**{field: row[field] for field in CONFIG_FIELDS})
        if row["draft"] is not None:
            way = Draft("x", ModelConfig(**row["draft"]).architecture(), workload, row["lookahead"], row["acceptance"])
            alone = generate(PREDICTORS[name], target.architecture(), workload, way=way)
            assert alone.response_s == pytest.approx(row["response_s"], rel=1e-9)
            assert alone.peak_memory_bytes <= memory_bytes * (1 + 1e-12)
        assert row["plain_response_s"] >= row["response_s"] * (1 - 1e-12)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_an_envelope_is_the_least_of_all_lines_that_fit(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    slope, offset, kept = random.random(count), random.random(count), random.integers(0, 5, count).astype(float)
    slope[random.random(count) < 0.3] = 0.5  # some alike
    checks, room = np.repeat([0.0, 0.01, 0.3, 1.0, 7.0, 1e3], 6), np.tile(np.arange(-1.0, 5.0), 6)
    least, chosen = envelope(slope, offset, kept).least(checks, room)
    for check, space, seconds, draft in zip(checks, room, least, chosen, strict=True):
        fits = kept <= space
        expected = np.min(np.where(fits, offset + slope * check, np.inf))
        assert seconds == pytest.approx(expected, rel=1e-12)
        assert (draft >= 0) == fits.any()
        if draft >= 0:
            assert kept[draft] <= space
            assert offset[draft] + slope[draft] * check == pytest.approx(expected, rel=1e-12)


def test_the_break_even_of_each_draft_is_that_of_generate() -> None:
    predictor, workload = PREDICTORS["3090"], Workload()
    target = ModelConfig(num_hidden_layers=32, hidden_size=4096).architecture()
    rows = break_even(predictor, target, 0.7, workload, drafts=GRID, lookaheads=LOOKAHEADS)
    assert len(rows) == 9
    values = [row.break_even_acceptance for row in rows]
    assert values == sorted(values, key=lambda value: 2.0 if value is None else value)
    for row in rows:
        model = ModelConfig(**row.draft).architecture()
        ways = {
            k: generate(predictor, target, workload, way=Draft("x", model, workload, k, 0.7)).details
            for k in LOOKAHEADS
        }
        known = [way["break_even_acceptance"] for way in ways.values() if way["break_even_acceptance"] is not None]
        assert row.break_even_acceptance == pytest.approx(min(known)) if known else row.break_even_acceptance is None
        assert row.speedup == pytest.approx(max(way["decode_speedup"] for way in ways.values()))
        assert row.speedup == pytest.approx(ways[row.lookahead]["decode_speedup"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"lookaheads": (0,)}, "lookahead"), ({"lookaheads": ()}, "lookahead"), ({"acceptance": 1.2}, "between 0 and 1"),
        ({"acceptance": np.full(9, np.nan)}, "between 0 and 1"),
        ({"drafts": {**GRID, "vocab_size": np.full(9, 1000.0)}}, "vocabulary"),
        ({"space": SPACE.pin(vocab_size=(1000, 2000))}, "vocabulary"),
        ({"workload": Workload(new_tokens=0)}, "--generate 0"),
        ({"limits": [Objective("decode").at_most(1.0)]}, "limit of decode"),
        ({"acceptance": lambda columns: columns["hidden_size"][:2] / 1e4}, "returned shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(arguments: dict[str, object], word: str) -> None:
    given = {"acceptance": by_size, "space": SPACE, "drafts": GRID, "lookaheads": LOOKAHEADS, **arguments}
    with pytest.raises(UsageError, match=word):
        frontier_with_draft(PREDICTORS["toy"], given.pop("acceptance"), **given)  # type: ignore[arg-type]


def test_a_budget_that_no_draft_keeps_names_the_quickest() -> None:
    with pytest.raises(BudgetError, match="the quickest takes"):
        frontier_with_draft(PREDICTORS["3090"], by_size, SPACE, drafts=GRID, lookaheads=(2,), budget_s=1e-3)


def test_the_grid_is_every_depth_with_every_width() -> None:
    made = drafts_of(grid(1000, Span(1, 3), (256, 512)), 0.5, 1000)
    assert len(made) == 6
    assert {
        (int(d), int(h)) for d, h in zip(made.columns["num_hidden_layers"], made.columns["hidden_size"], strict=True)
    } == {(d, h) for d in (1, 2, 3) for h in (256, 512)}
    assert made.config(0) == ModelConfig(num_hidden_layers=1, hidden_size=256, vocab_size=1000)


def run(*words: str) -> Any:
    return CliRunner().invoke(group, ["frontier", "--hidden", "512:4096:512", "--budget", "2s", *words])


def test_a_table_of_acceptances_is_a_table_of_drafts(tmp_path: Path) -> None:
    table = tmp_path / "drafts.csv"
    table.write_text("num_hidden_layers,hidden_size,acceptance\n2,512,0.6\n1,1024,0.5\n")
    found = run("--draft", "auto", "--acceptance", str(table), "--format", "jsonl")
    assert found.exit_code == 0, found.output
    rows = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert {(row["draft"]["num_hidden_layers"], row["acceptance"]) for row in rows if row["draft"]} <= {
        (2, 0.6),
        (1, 0.5),
    }
    assert any(row["draft"] for row in rows)
    assert all(row["response_s"] <= 2.0 for row in rows)


def test_one_number_tells_what_each_draft_must_reach() -> None:
    found = run(
        "--draft", "auto", "--acceptance", "0.7", "--draft-layers", "1,8", "--draft-hidden", "512", "--format", "jsonl"
    )
    rows = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert [row["num_hidden_layers"] for row in rows] == [1, 8]
    assert rows[0]["break_even_acceptance"] < rows[1]["break_even_acceptance"]  # eager: a layer costs the host its time


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--draft", "auto"), "needs --acceptance"), (("--acceptance", "0.7"), "give --draft auto"),
        (("--draft", "auto", "--acceptance", "1.5"), "between 0 and 1"),
        (("--draft", "auto", "--acceptance", "nowhere:f"), "No module named"),
        (("--draft", "auto", "--acceptance", "0.7", "--baseline", "80x576"), "goes without --baseline"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(words: tuple[str, ...], told: str) -> None:
    assert told in str(run(*words).exception)
