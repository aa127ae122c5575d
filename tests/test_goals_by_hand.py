"""What a search wants, by hand: objectives, limits, ends of intervals, scores; and what it says where nothing is found."""

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import Predictor, Workload
from latmodel.errors import BudgetError, UsageError
from latmodel.predict.inputs import work_of
from latmodel.quality import score
from latmodel.quality.shapes import with_counts
from latmodel.search.goals import Corner, Limit, Objective, Scenario, call, measures, objective_named
from latmodel.search.run import best_per_depth, frontier, job_of, measure_of
from latmodel.search.scored import Scored, ScoreObjective, best_row, near_usual
from latmodel.search.space import SearchSpace
from latmodel.search.tables import tables
from latmodel.units import show_seconds

TOY, QUICK = toy_predictor(), toy_predictor(launch_s=0.0, block_s=0.0, prefill_block_s=0.0, pass_s=0.0, token_s=0.0)
H100 = Predictor.load("h100", "vllm")
WORK = Workload(prompt_tokens=300, new_tokens=40, batch_size=3)
SPACE = SearchSpace(
    num_hidden_layers=(12, 20), hidden_size=(1024, 2048), intermediate_size=(2048, 4096), head_dim=64, group_size=4
)


def corner(predictor: Predictor = TOY, *scenarios: Scenario, least: bool = False) -> Corner:
    """Stem 0 with its smaller FFN at depth 12, stem 1 with its larger at 20."""
    every = [Scenario(predictor, WORK), *scenarios]
    parts = [tables(one.predictor, SPACE, work_of(one.workload), "bfloat16", (0, 2)) for one in every]
    return Corner(parts, np.array([0, 1]), np.array([0, 3]), np.array([12.0, 20.0]), least)


# --- Objectives and limits ------------------------------------------------------------------------


def worth(shapes: Any) -> Any:
    return 2.0 * shapes["hidden_size"]


def test_names_signs_and_columns() -> None:
    where = Scenario(TOY, WORK)
    for given, name, gain, rises, column in (
        ("params", "params", True, True, "params"), ("non-embedding-params", "non-embedding-params", True, True, "non_embedding_params"),
        ("response", "response", False, True, "response_s"), ("decode", "decode", False, True, "decode_s_per_token"),
        ("memory", "memory", False, True, "memory_bytes"), ("throughput", "throughput", True, False, "throughput_tokens_per_s"),
        ("energy", "energy", False, True, "energy_j_per_token"), ("cost", "cost", False, True, "cost_per_million_tokens"),
        (worth, "worth", True, None, "worth"),
    ):  # fmt: skip
        one = Objective(given)
        assert (one.name, one.gain, one.rises, one.column) == (name, gain, rises, column)
        assert objective_named(one) is one and objective_named(given, where) == Objective(given, where)
        assert Objective(given, where).column == f"{column}@toy/eager"
    assert Objective("response", end="high").column == "response_s_high"
    assert not Objective(worth, maximise=False).gain and Objective(worth, monotone=True).rises
    known = ScoreObjective(score("effective-params"))
    assert Objective(known).rises == (True if score("effective-params").monotone_in_depth else None)
    assert Objective(known, monotone=False).rises is None and known.__name__ == "effective-params"


def test_limits_have_one_side_that_makes_sense() -> None:
    assert Objective("decode").at_most(2.0) == Limit(Objective("decode"), 2.0, above=False)
    assert str(Objective("throughput").at_least(2.0)) == "throughput_tokens_per_s >= 2"
    assert str(Objective("params").at_most(1e9)) == "params <= 1e+09" and Objective("params").at_least(1.0).above
    wrong = (
        (lambda: Objective("decode").at_least(1.0), "only 'at most'"), (lambda: Objective("throughput").at_most(1.0), "only 'at least'"),
        (lambda: Objective("memory").at_least(1.0), "only 'at most'"), (lambda: Objective("params").at_most(math.nan), "not a finite"),
        (lambda: Objective("params").at_most(math.inf), "not a finite"), (lambda: Objective("nothing"), "neither a function nor"),
        (lambda: Objective("memory", end="low"), "has no interval"), (lambda: Objective("decode", end="mid"), "no end"),  # type: ignore[arg-type]
    )  # fmt: skip
    for make, word in wrong:
        with pytest.raises(UsageError, match=word):
            make()


def test_measures_are_made_small_and_scenarios_listed_once() -> None:
    own, other = Scenario(TOY, WORK), Scenario(TOY, Workload())
    objectives = (Objective("params"), Objective("response"), Objective("response", other))
    limits = (Objective("memory", other).at_most(5.0), Objective("throughput").at_least(2.0))
    goals, bounds, scenarios = measures(objectives, limits, own)
    assert [goal.sign for goal in goals] == [-1.0, 1.0, 1.0] and [goal.scenario for goal in goals] == [0, 0, 1]
    assert scenarios == [own, other] and [bound for _, bound in bounds] == [5.0, -2.0]
    assert [(one.sign, one.scenario) for one, _ in bounds] == [(1.0, 1), (-1.0, 0)]
    ends, _, more = measures([Objective("response", end="high")], (), Scenario(H100, WORK))
    assert len(more) == 2 and ends[0].at_end in (0, 1) and more[ends[0].at_end].predictor.host == "published"
    assert more[ends[0].scenario].predictor is H100


def test_values_of_shapes_are_those_predicted() -> None:
    shapes = corner()
    many = TOY.predict_many(shapes.columns(), WORK)
    expected = {
        "params": -many.num_parameters, "prefill": many.prefill_s, "decode": many.decode_s_per_token,
        "response": many.response_s, "memory": many.peak_memory_bytes, "throughput": -120 / many.response_s,
        worth: -2.0 * shapes.columns()["hidden_size"],
    }  # fmt: skip
    for given, values in expected.items():
        (goal,), _, _ = measures([Objective(given)], (), Scenario(TOY, WORK))
        assert goal.of(shapes) == pytest.approx(values, rel=1e-9)
        assert goal.of(shapes.take(np.array([1])))[0] == pytest.approx(values[1], rel=1e-9)
    (rest,), _, _ = measures([Objective("non-embedding-params")], (), Scenario(TOY, WORK))
    assert rest.of(shapes) == pytest.approx(-many.num_parameters + 65536 * np.array([1024, 2048]))
    named = score("effective-params")
    (scored,), _, _ = measures([Objective(ScoreObjective(named))], (), Scenario(TOY, WORK))
    assert scored.of(shapes) == pytest.approx(-named(with_counts(shapes.columns())))
    assert shapes.size == 2 and shapes.take(np.array([0])).size == 1 and shapes.take(np.array([0])).least is False


def test_bounds_take_the_corner_at_which_a_measure_is_least() -> None:
    low = Corner(corner().tables, np.array([0]), np.array([0]), np.array([12.0]), least=True)
    high = Corner(corner().tables, np.array([0]), np.array([1]), np.array([20.0]))
    for given, at in (("response", low), ("params", high), ("throughput", low), ("memory", low)):
        (goal,), _, _ = measures([Objective(given)], (), Scenario(TOY, WORK))
        value = float(goal.of(at)[0])
        assert float(goal.bound(low, high)[0]) == pytest.approx(value, rel=1e-8) and goal.bound(low, high)[0] < value
    (free,), _, _ = measures([Objective(worth)], (), Scenario(TOY, WORK))
    assert free.bound(low, high).tolist() == [-np.inf]
    _, ((most, _), (least, _)), _ = measures(
        (), (Objective("params").at_most(1.0), Objective("params").at_least(1.0)), Scenario(TOY, WORK)
    )
    assert most.bound(low, high)[0] == pytest.approx(most.of(low)[0]) and least.bound(low, high)[0] == pytest.approx(
        least.of(high)[0]
    )


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("metric", ["prefill", "decode", "response"])
def test_ends_of_intervals_are_those_that_are_predicted(end: Any, metric: str) -> None:
    (goal,), _, scenarios = measures([Objective(metric, end=end)], (), Scenario(H100, WORK))
    shapes = (
        corner(H100, *scenarios[1:])
        if scenarios[0].predictor is H100
        else corner(scenarios[0].predictor, *scenarios[1:])
    )
    low, high = H100.predict_many(shapes.columns(), WORK).low_high(metric)
    assert goal.of(shapes) == pytest.approx(low if end == "low" else high, rel=1e-6)
    least = corner(scenarios[0].predictor, *scenarios[1:], least=True)
    assert (goal.of(least) <= goal.of(shapes) * (1 + 1e-9)).all()


def test_an_end_that_no_profile_knows_is_refused() -> None:
    part = TOY.profile.runtimes["eager"].model_copy(update={"conformal_scores": {}})
    blind = Predictor(TOY.profile.model_copy(update={"runtimes": {"eager": part}}))
    (goal,), _, scenarios = measures([Objective("response", end="high")], (), Scenario(blind, WORK))
    with pytest.raises(UsageError, match="has no interval in this profile"):
        goal.of(corner(blind, *scenarios[1:]))


def test_a_user_s_function_is_checked() -> None:
    columns = {name: np.array([1.0, 2.0]) for name in ("num_hidden_layers", "hidden_size", "intermediate_size",
                                                        "num_attention_heads", "num_key_value_heads")}  # fmt: skip
    assert call(worth, "worth", columns).tolist() == [2.0, 4.0]
    assert call(lambda _: 1 / 0, "f", {"hidden_size": np.zeros(0)}).tolist() == []
    for function, word in (
        (lambda _: np.zeros(3), r"shape \(3,\) for 2 shapes"), (lambda _: 1 / 0, "failed: ZeroDivisionError"),
        (lambda _: np.array([0.0, np.nan]), "returned nan for {'num_hidden_layers': 2,"),
        (lambda _: np.array([np.inf, 0.0]), "returned inf for {'num_hidden_layers': 1,"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            call(function, "f", columns)


# --- Whole searches -------------------------------------------------------------------------------


def test_the_limit_that_binds_is_named_with_the_closest_shape() -> None:
    quickest = float(TOY.predict_many(corner().columns(), WORK).response_s.min())
    with pytest.raises(BudgetError, match=r"answers within .* the quickest.*12 layers x hidden 1024 x FFN 2048"):
        frontier(TOY, SPACE, WORK, budget_s=0.5 * quickest, quality="params")
    with pytest.raises(BudgetError, match=r"fits in .* the smallest.*12 layers x hidden 1024.*raise --memory"):
        frontier(TOY, SPACE, WORK, memory_bytes=1e6, quality="params")
    with pytest.raises(BudgetError, match=r"has params >= 1e\+15: the closest.* 20 layers x hidden 2048 x FFN 4096"):
        frontier(TOY, SPACE, WORK, limits=[Objective("params").at_least(1e15)], quality="params")
    found = frontier(TOY, SPACE, WORK, budget_s=3.0 * quickest, quality="params")
    assert best_row(found) == 0 and found.searched == len(SPACE) == 2 * 2 * 2
    assert (np.diff(found.quality) < 0).all() and (np.diff(found.response_s) < 0).all()
    for name, bound in itertools.product(("budget_s", "memory_bytes"), (0.0, -1.0, math.inf, math.nan)):
        with pytest.raises(UsageError, match=name):
            frontier(TOY, SPACE, WORK, quality="params", **{name: bound})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="two or more"):
        frontier(TOY, SPACE, WORK, objectives=["params"])
    with pytest.raises(UsageError, match="each once"):
        frontier(TOY, SPACE, WORK, objectives=["params", "params"])


def test_the_best_of_each_depth_is_the_largest_that_keeps_the_budget() -> None:
    shapes = [np.array(column) for column in zip(*itertools.product((0, 1), (0, 1), (12.0, 20.0)), strict=True)]
    every = Corner(corner(QUICK).tables, shapes[0], 2 * shapes[0] + shapes[1], shapes[2])
    many = QUICK.predict_many(every.columns(), WORK)
    budget = float(np.sort(many.response_s[shapes[2] == 20.0])[2]) * 1.0001
    found = best_per_depth(QUICK, (20, 12, 10_000), SPACE, WORK, budget_s=budget, quality="params")
    assert found.missing == (10_000,) and found.columns["num_hidden_layers"].tolist() == [20, 12]
    for row, depth in enumerate((20, 12)):
        kept = (shapes[2] == depth) & (many.response_s <= budget)
        assert found.num_parameters[row] == many.num_parameters[kept].max()
    assert many.num_parameters[shapes[2] == 20.0].max() > found.num_parameters[0]
    with pytest.raises(BudgetError, match="answers within"):
        best_per_depth(QUICK, (20, 12), SPACE, WORK, budget_s=1e-9, quality="params")


def test_scores_by_name_search_near_the_usual_and_functions_where_they_are_told() -> None:
    assert measure_of(worth, None, SPACE, None) == (worth, SPACE) and measure_of("params", None, None, None) == (
        "params",
        None,
    )
    assert measure_of("effective-params", None, None, ["params", "response"]) == ("effective-params", None)
    measure, space = measure_of("effective-params", None, None, None)
    assert isinstance(measure, ScoreObjective) and space == near_usual(SearchSpace())


def test_rows_of_a_score_are_ranked_and_the_best_is_one() -> None:
    found = frontier(QUICK, SPACE.pin(num_hidden_layers=(4, 8, 12, 20)), WORK, quality="effective-params")
    scored = Scored(found, score("effective-params"))
    rows, counts = scored.rows(np.arange(len(found))), found.num_parameters
    assert [row["rank_by_params"] for row in rows] == [1 + int((counts > one).sum()) for one in counts]
    best = [index for index, row in enumerate(rows) if row["best"]]
    assert best == [scored.best] == [best_row(found)] and not rows[best[0]]["tied"]
    assert all(row["quality_low"] <= row["quality"] <= row["quality_high"] for row in rows)
    assert scored.rows(np.array([1]))[0] == rows[1] and scored.tied.tolist() == [row["tied"] for row in rows]
    quantised = frontier(QUICK, SPACE, WORK.model_copy(update={"weights": "int8"}), quality="effective-params")
    marks = [Scored(one, score("effective-params")).rows(np.array([0]))[0]["flags"] for one in (quantised, found)]
    assert ["quantised" in mark for mark in marks] == [True, False]


def test_where_no_shape_is_within_the_measured_ratios_none_is_called_best() -> None:
    """4096 wide and one or two deep: beyond the cap of the penalty, 20 · e^2.8 at the reference."""
    space = SearchSpace(
        num_hidden_layers=(1, 2), hidden_size=4096, intermediate_size=(8192, 12288), head_dim=128, group_size=4
    )
    found = frontier(QUICK, space, WORK, quality="effective-params")
    scored = Scored(found, score("effective-params"))
    assert scored.best is None and best_row(found) == 0 and len(found) > 1
    assert scored.tied.tolist() == [False] * len(found)
    assert not any(row["best"] or row["tied"] for row in scored.rows(np.arange(len(found))))


def test_limits_that_hold_alone_and_not_together_are_told_so() -> None:
    every = frontier(QUICK, SPACE, WORK, quality="params")
    fastest, largest = float(every.response_s.min()), float(every.num_parameters.max())
    with pytest.raises(
        BudgetError, match=r"the quickest among those that keep the other limits, 20 layers x hidden 2048 x FFN 4096"
    ):
        frontier(
            QUICK,
            SPACE,
            WORK,
            budget_s=1.01 * fastest,
            limits=[Objective("params").at_least(largest)],
            quality="params",
        )
    with pytest.raises(BudgetError, match="the quickest, 12 layers x hidden 1024"):
        frontier(
            QUICK,
            SPACE,
            WORK,
            budget_s=0.5 * fastest,
            limits=[Objective("params").at_least(9 * largest)],
            quality="params",
        )


def test_a_first_look_at_a_large_space_is_a_front_to_prune_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few sizes and depths of each hidden size: here of all, so that it is the whole answer."""
    job = job_of(QUICK, SPACE, WORK, None, None, "params", None, (), (), False)
    assert len(job.look()) == 0
    monkeypatch.setattr("latmodel.search.job.PART_ENTRIES", len(SPACE))
    assert len(job.look()) == 0
    monkeypatch.setattr("latmodel.search.job.PART_ENTRIES", len(SPACE) - 1)
    front, whole = job.look(), frontier(QUICK, SPACE, WORK, quality="params")
    assert np.sort(front.values[:, 0]) == pytest.approx(np.sort(whole.response_s), rel=1e-12) and len(front) > 2
    quickest = show_seconds(float(whole.response_s.min()))
    with pytest.raises(BudgetError, match=f"FFN 2048, takes {re.escape(quickest)}; raise --budget or widen"):
        frontier(QUICK, SPACE, WORK, budget_s=0.9 * float(whole.response_s.min()), quality="params")
