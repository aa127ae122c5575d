"""What a frontier offers: rows, tables per depth, thinning, ratios, pictures, and one-line errors."""

import json

import numpy as np
import pytest
from search_toy import toy_predictor
from separate_runner import separate_runner

from latmodel import ModelConfig, Workload, frontier
from latmodel.cli.frontier import frontier as command
from latmodel.cli.search_options import parse_limit, parse_ratio, parse_values
from latmodel.errors import BudgetError, UsageError
from latmodel.search.frontier import thin
from latmodel.search.goals import SHAPE, Objective
from latmodel.search.run import best_per_depth
from latmodel.search.space import SearchSpace, Span

PREDICTOR = toy_predictor()
SPACE = SearchSpace(num_hidden_layers=Span(4, 60), hidden_size=Span(512, 6144, 256))
BASELINE = ModelConfig(
    num_hidden_layers=80, hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3,
    vocab_size=65536, tie_word_embeddings=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return frontier(PREDICTOR, SPACE, budget_s=4.0, quality="params")


def test_every_shape_keeps_budget_and_memory_and_is_predicted_alike_one_by_one(found):
    assert len(found) > 100
    assert (found.response_s <= 4.0 * (1 + 1e-9)).all()
    assert (found.predictions.peak_memory_bytes <= PREDICTOR.memory_bytes).all()
    for row in (0, len(found) // 2, len(found) - 1):
        alone = PREDICTOR.predict(found.config(row), Workload())
        assert found.response_s[row] == pytest.approx(alone.response_s, rel=1e-12)
        assert found.quality[row] == alone.num_parameters


def test_rows_are_ordered_and_none_dominates_another(found):
    assert (np.diff(found.quality) < 0).all()
    assert (np.diff(found.response_s) < 1e-12).all()


def test_rows_carry_names_prediction_and_intervals(found):
    row = found.take(slice(0, 1)).to_rows()[0]
    assert set(SHAPE) <= row.keys()
    assert row["response_s_low"] < row["response_s"] < row["response_s_high"]
    assert row["quality"] == row["num_parameters"]


def test_thinned_keeps_the_best_and_the_quickest_and_spaces_evenly(found):
    few = thin(found, 8)
    assert len(few) == 8
    assert (few.quality[0], few.quality[-1]) == (found.quality[0], found.quality[-1])
    steps = np.diff(np.log(few.response_s))
    assert steps.min() == pytest.approx(steps.max(), rel=0.2)
    assert thin(few, 20) is few


def test_best_per_depth_equals_a_search_of_that_depth_alone():
    depths = (60, 40, 10)
    table = best_per_depth(PREDICTOR, depths, SPACE, budget_s=5.0, quality="params")
    assert table.columns["num_hidden_layers"].tolist() == list(depths)
    for row, depth in enumerate(depths):
        alone = frontier(PREDICTOR, SPACE.pin(num_hidden_layers=depth), budget_s=5.0, quality="params")
        assert table.config(row) == alone.config(0)


def test_depths_at_which_nothing_fits_are_listed():
    table = best_per_depth(PREDICTOR, (500, 10), SPACE, budget_s=2.0, quality="params")
    assert table.missing == (500,)
    assert table.columns["num_hidden_layers"].tolist() == [10]


def test_baseline_gives_ratios_by_hand(found):
    row = found.take(slice(0, 1)).against(BASELINE).to_rows()[0]
    base = PREDICTOR.predict(BASELINE)
    assert row["parameters_ratio"] == row["num_parameters"] / base.num_parameters
    assert row["speed_ratio"] == base.response_s / row["response_s"]


def test_a_budget_that_nothing_meets_names_the_quickest_shape():
    with pytest.raises(BudgetError) as caught:
        frontier(PREDICTOR, SPACE, budget_s=1e-4, quality="params")
    # 4 layers of hidden 512 with the smallest FFN (2 × 512) and fewest KV heads: nothing in the space does less.
    assert (
        "within 100 µs: the quickest among those that keep the other limits, 4 layers x hidden 512 x FFN 1024, takes"
        in str(caught.value)
    )
    assert caught.value.exit_code == 3
    shape = ModelConfig(
        num_hidden_layers=4, hidden_size=512, intermediate_size=1024, num_attention_heads=4, num_key_value_heads=1,
        vocab_size=65536, tie_word_embeddings=True,
    )  # fmt: skip
    shapes = PREDICTOR.predict_many(
        {"num_hidden_layers": 4, "hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": [4, 8, 8, 8],
         "num_key_value_heads": [1, 8, 4, 1], "head_dim": [128, 64, 64, 64], "vocab_size": 65536,
         "tie_word_embeddings": 1}
    )  # fmt: skip
    assert min(shapes.response_s) <= PREDICTOR.predict(shape).response_s
    assert f"{min(shapes.response_s) * 1e3:.0f} ms" in str(caught.value)


def test_a_memory_that_nothing_fits_names_the_smallest_shape():
    with pytest.raises(
        BudgetError, match=r"fits in 1\.00 MiB: the smallest among .*, 4 layers x hidden 512 x FFN 1024, takes"
    ):
        frontier(PREDICTOR, SPACE, budget_s=1.0, memory_bytes=2.0**20, quality="params")


@pytest.mark.parametrize("limit", [0.0, -3.0, float("nan"), float("inf")])
def test_a_limit_that_is_no_positive_number_is_refused(limit):
    with pytest.raises(UsageError, match="budget_s"):
        frontier(PREDICTOR, SPACE, budget_s=limit, quality="params")


def test_plot_and_html(found, tmp_path):
    found.against(BASELINE).plot(tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="cannot write"):
        found.plot(tmp_path / "missing" / "front.png")
    page = found._repr_html_()
    assert page.count("<tr>") == 21
    assert "<th>shape</th>" in page


def test_to_pandas(found):
    pandas = pytest.importorskip("pandas")
    frame = found.take(slice(0, 3)).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["hidden_size"].tolist() == found.columns["hidden_size"][:3].tolist()


def test_values_of_a_dimension_as_typed():
    assert parse_values("576") == (576,)
    assert parse_values("64,128") == (64, 128)
    assert parse_values("4:128") == Span(4, 128)
    assert parse_values("256:1024:64") == Span(256, 1024, 64)
    assert parse_ratio("2:5") == (2.0, 5.0)
    assert parse_ratio("4") == (4.0, 4.0)


@pytest.mark.parametrize("text", ["", "4:", "4:8:2:1", "a", "-4", "1e3", "9**9", "4,,5", "1.5"])
def test_values_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError):
        parse_values(text)


@pytest.fixture(scope="module")
def profile_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "toy.json"
    path.write_text(PREDICTOR.profile.model_dump_json())
    return str(path)


SMALL = ["--layers", "4:40", "--hidden", "512:4096:512"]


def run(*arguments):
    return separate_runner().invoke(command, list(arguments))


def test_command_prints_a_table_with_the_best_marked(profile_path):
    result = run("--profile", profile_path, "--budget", "4s", *SMALL, "--rows", "5")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len([line for line in lines if line.startswith("*")]) == 1
    assert "within 4.00 s and 23.2 GiB" in lines[0]


def test_command_takes_the_baselines_time_as_budget(profile_path):
    import json

    result = run("--profile", profile_path, "--baseline", "80x576", "--depths", "20,10", *SMALL[2:], "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["num_hidden_layers"] for row in rows] == [20, 10]
    assert all(row["speed_ratio"] >= 1 - 1e-9 for row in rows)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--budget", "5,5s"), ("--budget", "-3s"), ("--budget", "nan"), ("--budget", "9**9s"), ("--budget", ""),
        ("--layers", "0"), ("--hidden", "64.5"), ("--ffn-ratio", "5:2:1"), ("--quality", "no.such:thing"),
        ("--quality", "speed"), ("--baseline", "80"), ("--layers", "8:4"), ("--hidden", "100"),
    ],
)  # fmt: skip
def test_command_refuses_what_makes_no_sense(profile_path, arguments):
    result = run("--profile", profile_path, *arguments)
    usage = result.exit_code == 2 or isinstance(result.exception, UsageError)
    assert usage, result.output
    assert not result.stdout.startswith("Toy")


def test_the_function_is_what_the_package_exports_however_it_was_loaded():
    import latmodel
    import latmodel.cli.frontier
    import latmodel.search.run

    assert latmodel.frontier is latmodel.search.run.frontier
    assert set(latmodel.__all__) <= set(dir(latmodel)) | set(latmodel._HOMES)


def test_limits_as_typed():
    assert parse_limit("decode<=50ms") == Objective("decode").at_most(0.05)
    assert parse_limit("memory <= 20GB") == Objective("memory").at_most(20e9)
    assert parse_limit("throughput>=200") == Objective("throughput").at_least(200.0)


@pytest.mark.parametrize(
    "text", ["decode", "decode<50ms", "decode<=fast", "speed<=3", "response>=1s", "params>=nan", "no.such:f>=1", "<=3"]
)
def test_limits_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError):
        parse_limit(text)


def test_confidence_given_or_left_out_answers_the_same_and_sure_means_the_upper_end(profile_path):
    import json

    arguments = ("--profile", profile_path, *SMALL, "--format", "json", "--rows", "100000", "--budget", "3s")
    left_out, given, sure, surer = (
        json.loads(run(*arguments, *more).stdout)
        for more in ((), ("--confidence", "0.9"), ("--sure",), ("--sure", "--confidence", "0.99"))
    )
    assert given == left_out
    assert max(row["response_s_high"] for row in left_out) > 3.0
    for rows, level in ((sure, 0.9), (surer, 0.99)):
        assert {row["interval"] for row in rows} == {
            level
        }  # the interval that is shown is the one that keeps the budget
        assert 2.5 < max(row["response_s_high"] for row in rows) <= 3.0 * (1 + 1e-9)


def test_the_picture_marks_what_it_is_about(found):
    """Its star lies where the best row does, its diamond where the baseline's own prediction does."""
    figure = found.against("80x576").plot()
    axes = figure.axes[0]
    drawn = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    best = max(found.to_rows(), key=lambda row: row["quality"])
    assert drawn["best"][0] == pytest.approx([best["quality"], best["response_s"]], rel=1e-12)
    base = found.predictor.predict("80x576", found.workload)
    assert drawn["baseline 80x576"][0] == pytest.approx([base.num_parameters, base.response_s], rel=1e-12)
    assert f"{found.workload.prompt_tokens} prompt + {found.workload.new_tokens} new tokens" in axes.get_title()
    names = {text.get_text() for text in axes.texts}
    assert f"{best['num_hidden_layers']}×{best['hidden_size']}" in names
    assert axes.get_xlabel() == "parameters"
    assert axes.xaxis.get_major_formatter()(2e9, 0) == "2B"
    assert axes.yaxis.get_major_formatter()(0.5, 0) == "500 ms"


def test_axes_belong_to_the_objectives():
    front = frontier(PREDICTOR, SPACE, objectives=["memory", "prefill"])
    axes = front.plot().axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("peak memory", "TTFT")
    assert axes.xaxis.get_major_formatter()(2.0**31, 0) == "2 GiB"


def test_command_takes_objectives_limits_and_confidence(profile_path):
    import json

    arguments = ("--profile", profile_path, *SMALL, "--format", "json", "--rows", "100000")
    result = run(*arguments, "--objective", "throughput", "--objective", "memory", "--limit", "params>=1e9")
    rows = json.loads(result.stdout)
    assert all(row["num_parameters"] >= 1e9 for row in rows)
    memory = [row["peak_memory_bytes"] for row in rows]
    assert memory == sorted(memory, reverse=True)
    rows = json.loads(run(*arguments, "--budget", "3s", "--sure").stdout)
    assert max(row["response_s_high"] for row in rows) <= 3.0 * (1 + 1e-9)
    loose = json.loads(run(*arguments, "--budget", "3s").stdout)
    assert max(row["response_s_high"] for row in loose) > 3.0


def test_command_with_workers_and_checkpoint_gives_the_same(profile_path, tmp_path):
    arguments = ("--profile", profile_path, *SMALL, "--budget", "3s", "--format", "json")
    expected = run(*arguments).stdout
    for _ in range(2):
        result = run(*arguments, "--checkpoint", str(tmp_path / "parts.jsonl"), "--workers", "2")
        assert result.stdout == expected
    assert isinstance(run(*arguments, "--depths", "10", "--workers", "2").exception, UsageError)


@pytest.mark.parametrize("limit", [1, 3, 10, 10_000])
def test_the_best_is_judged_among_all_that_was_found(limit: int) -> None:
    """However few rows are shown: the quickest of those that tie with the highest uncapped score."""
    from latmodel.quality import best, score
    from latmodel.quality.shapes import with_counts
    from latmodel.report.frontier_report import frontier_text
    from latmodel.search.scored import ScoreObjective

    chosen = score("effective-params")
    found = frontier(PREDICTOR, SPACE, budget_s=4.0, quality=ScoreObjective(chosen))
    wanted = best(chosen, with_counts(found.columns), found.response_s)
    assert wanted is not None
    rows = json.loads(frontier_text(found, limit, "json"))
    assert len(rows) <= max(limit, 1)
    (marked,) = [row for row in rows if row["best"]]
    assert marked["num_hidden_layers"] == found.columns["num_hidden_layers"][wanted]
    assert marked["response_s"] == pytest.approx(found.response_s[wanted])
    better = found.num_parameters > marked["num_parameters"]
    assert marked["rank_by_params"] == better.sum() + 1
