"""Tables and boxes of a search by hand: what layers cost against whole models, one by one; boxes cut and spread."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture
from latmodel.predict.generation import generate
from latmodel.predict.inputs import work_of
from latmodel.quality.shapes import with_counts
from latmodel.search import branch_and_bound
from latmodel.search.archive import Front
from latmodel.search.branch_and_bound import Boxes, Effort, Search, split, spread, whole
from latmodel.search.charged import NO_CHARGE, Charge
from latmodel.search.goals import SHAPE, Corner, Limit, Objective, Scenario, measures
from latmodel.search.space import SearchSpace
from latmodel.search.tabled import _suffix_minima
from latmodel.search.tables import SLACK, Tables, parts, tables, thinned

PROFILE = toy_predictor().profile
EAGER = PROFILE.runtimes["eager"].model_copy(update={"memory_overhead_bytes": 3e8})
TOY = Predictor(PROFILE.model_copy(update={"runtimes": {"eager": EAGER}}))
SPACE = SearchSpace(
    num_hidden_layers=(2, 5, 9), hidden_size=(512, 1024, 1536), intermediate_size=(100, 1001, 1024, 3000), head_dim=(64, 128),
    vocab_size=(1000, 32000), tie_word_embeddings=(True, False),
)  # fmt: skip
WORKLOADS = {
    "plain": Workload(prompt_tokens=300, new_tokens=40), "batch": Workload(batch_size=32, cached_tokens=100),
    "int4": Workload(weights="int4-gptq"), "all": Workload(logits="all", prompt_tokens=2000),
}  # fmt: skip


def table_of(
    workload: Workload, part: tuple[int, int] = (0, 3), predictor: Predictor = TOY, keep: int = 10**7
) -> Tables:
    return tables(predictor, SPACE, work_of(workload), "bfloat16", part, keep)


def every(table: Tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every shape of a part, as its boxes have them."""
    stem, ffn, depth = spread(whole(table, SPACE.depths.size))
    return stem, table.offset[stem] + ffn, SPACE.depths[depth].astype(float)


@pytest.mark.parametrize("part", [(0, 3), (1, 2), (1, 3)])
@pytest.mark.parametrize("name", WORKLOADS)
def test_layers_add_up_to_whole_models(name: str, part: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latmodel.search.tables.CHUNK", 5)  # FFN sizes costed at a time
    workload = WORKLOADS[name]
    table = table_of(workload, part)
    shapes = every(table)
    columns = table.columns(*shapes)
    assert len(shapes[0]) == len(SPACE.pin(hidden_size=SPACE.hidden_size[part[0] : part[1]]))  # type: ignore[index]
    many = TOY.predict_many(columns, workload)
    times = table.forecast(*shapes)
    for found, expected in (
        (times.prefill_s, many.prefill_s), (times.step_s, many.decode_s_per_token), (times.response_s, many.response_s),
        (table.memory_bytes(*shapes), many.peak_memory_bytes), (table.parameters(*shapes)[0], many.num_parameters),
    ):  # fmt: skip
        assert found == pytest.approx(expected, rel=1e-9)
    tables_words = (2 - columns["tie_word_embeddings"]) * columns["vocab_size"] * columns["hidden_size"]
    assert table.parameters(*shapes)[1] == pytest.approx(many.num_parameters - tables_words)
    counted = table.counted(*shapes)
    for key, expected in with_counts(columns).items():
        assert counted[key] == pytest.approx(expected, rel=1e-12), key
    stem, ffn, depth = table.rows_of({key: column.astype(np.int64) for key, column in columns.items()})
    assert all(np.array_equal(a, b) for a, b in zip((stem, ffn, depth), shapes, strict=True))
    row = len(shapes[0]) // 2
    model = model_of(columns, row)
    held, memory = table.memory(*(column[row : row + 1] for column in shapes)), TOY.memory(model, work_of(workload))
    for key, value in memory._asdict().items():
        assert getattr(held, key) == pytest.approx(value, rel=1e-9), key


def model_of(columns: dict[str, np.ndarray], row: int) -> Architecture:
    config: dict[str, Any] = {key: int(column[row]) for key, column in columns.items()}
    return ModelConfig(**{**config, "tie_word_embeddings": bool(config["tie_word_embeddings"])}).architecture()


def test_kernels_seconds_are_those_of_the_prompt_and_of_every_step() -> None:
    workload = WORKLOADS["batch"]
    table = table_of(workload)
    shapes = [column[:40:7] for column in every(table)]
    found = table.device_s(*shapes)
    columns = table.columns(*shapes)
    for row in range(len(found)):
        assert found[row] == pytest.approx(generate(TOY, model_of(columns, row), workload).device_s, rel=1e-6)


def test_the_least_of_all_larger_ffns_is_no_more_than_any() -> None:
    """1001 columns are slower than 1024: a bound of both is what 1024 take."""
    table = table_of(WORKLOADS["plain"])
    assert (np.diff(table.ffn.first_s.reshape(3, 4), axis=1) < 0.0).any()
    least = np.minimum.accumulate(table.ffn.first_s.reshape(3, 4)[:, ::-1], axis=1)[:, ::-1]
    assert table.ffn_least.first_s.reshape(3, 4).tolist() == least.tolist()
    stem, ffn, depth = every(table)
    low, own = table.forecast(stem, ffn, depth, least=True), table.forecast(stem, ffn, depth)
    assert (low.response_s <= own.response_s * (1 + SLACK)).all() and (low.response_s < own.response_s * 0.999).any()
    kernels = table.device_s(stem, ffn, depth), table.device_s(stem, ffn, depth, least=True)
    assert (kernels[1] <= kernels[0]).all() and (kernels[1] < kernels[0] * 0.999).any()


def test_minima_of_each_segment_from_behind() -> None:
    column, ends = np.array([3.0, 1.0, 2.0, 9.0, 4.0, 5.0]), np.array([3, 6])
    assert _suffix_minima(column, ends).tolist() == [1.0, 1.0, 2.0, 4.0, 4.0, 5.0]
    rising = np.array([1.0, 2.0, 3.0, 0.0, 1.0, 2.0])  # falls between segments alone
    assert _suffix_minima(rising, ends) is rising


def test_a_space_is_cut_by_hidden_size() -> None:
    """Four FFN sizes each: no part has more than asked for, unless one hidden size alone has."""
    assert parts(SPACE, 8) == [(0, 2), (2, 3)] and parts(SPACE, 7) == parts(SPACE, 1) == [(0, 1), (1, 2), (2, 3)]
    assert parts(SPACE, 12) == parts(SPACE) == [(0, 3)] and parts(SPACE, 11) == [(0, 2), (2, 3)]
    five = SPACE.pin(hidden_size=(512, 1024, 1536, 2048, 2560))
    assert parts(five, 8) == [(0, 2), (2, 4), (4, 5)] and parts(five, 12) == [(0, 3), (3, 5)]


def test_few_of_many_values_keep_both_ends() -> None:
    values = np.arange(10, 21)
    assert thinned(values, 3).tolist() == [10, 15, 20] and thinned(values, 11) is values
    assert thinned(values, 2).tolist() == [10, 20] and thinned(values, 10)[-1] == 20
    table = table_of(WORKLOADS["plain"], keep=2)
    assert table.ffn_sizes.tolist() == [100, 3000] * 3 and set(table.ffn_count.tolist()) == {2}


# --- Boxes ----------------------------------------------------------------------------------------


def box(*sides: int) -> Boxes:
    return Boxes(*(np.array([side], dtype=np.int32) for side in sides))


def shapes_of(boxes: Boxes) -> list[tuple[int, int, int]]:
    return sorted(zip(*(column.tolist() for column in spread(boxes)), strict=True))


def test_a_box_holds_each_shape_once_and_so_do_its_halves() -> None:
    one = box(7, 2, 6, 1, 4)
    expected = sorted(itertools.product([7], range(2, 7), range(1, 5)))
    assert one.shapes.tolist() == [20] and shapes_of(one) == expected
    two = Boxes(*(np.concatenate(pair) for pair in zip(one, box(8, 0, 0, 3, 5), strict=True)))
    for by_depth in ([True, True], [False, True], [True, False]):
        halves = split(two, np.array(by_depth))
        kept = halves.take(np.flatnonzero(halves.shapes > 0))
        assert shapes_of(kept) == sorted(shapes_of(two))
    halves = split(one, np.array([False]))
    assert [column.tolist() for column in halves] == [[7, 7], [2, 5], [4, 6], [1, 1], [4, 4]]
    halves = split(one, np.array([True]))
    assert [column.tolist() for column in halves] == [[7, 7], [2, 2], [6, 6], [1, 3], [2, 4]]
    table = table_of(WORKLOADS["plain"])
    boxes = whole(table, 3)
    assert boxes.stem.tolist() == list(range(len(table.stems))) and set(boxes.ffn_high.tolist()) == {3}
    assert set(boxes.ffn_low.tolist()) == set(boxes.depth_low.tolist()) == {0} and set(boxes.depth_high.tolist()) == {2}


def search(objectives: list[Objective], limits: Sequence[Limit] = ()) -> tuple[Search, Effort]:
    workload = WORKLOADS["plain"]
    goals, bounds, scenarios = measures(objectives, limits, Scenario(TOY, workload))
    effort = Effort()
    return Search([table_of(workload)] * len(scenarios), SPACE.depths, goals, bounds, effort), effort


def brute(found: Search) -> list[tuple[float, ...]]:
    """Values of every shape that keeps the limits and that no other beats."""
    shapes = Corner(found.tables, *every(found.tables[0]))
    inside = np.ones(shapes.size, dtype=bool)
    for limit, most in found.limits:
        inside &= limit.of(shapes) <= most
    values = np.stack([goal.of(shapes) for goal in found.goals], axis=1)[inside]
    beaten = [((values <= one).all(axis=1) & (values < one).any(axis=1)).any() for one in values]
    return sorted({tuple(one) for one, out in zip(values.tolist(), beaten, strict=True) if not out})


def limits_of(response_s: float, nbytes: float) -> list[Limit]:
    return [Objective("response").at_most(response_s), Objective("memory").at_most(nbytes)]


@pytest.mark.parametrize(
    ("names", "limited"),
    [(["params", "response"], False), (["params", "response"], True), (["params", "decode", "memory"], True)],
)
def test_a_search_finds_what_looking_at_every_shape_finds(names: list[str], limited: bool) -> None:
    pytest.importorskip("moocore")
    table = table_of(WORKLOADS["plain"])
    middle = (
        float(np.median(table.forecast(*every(table)).response_s)),
        float(np.median(table.memory_bytes(*every(table)))),
    )
    found, effort = search([Objective(name) for name in names], limits_of(*middle) if limited else [])
    front = found.run(Front.empty(len(names)))
    assert sorted(tuple(row) for row in front.values.tolist()) == brute(found)
    assert 0 < effort.priced <= len(every(table)[0]) and effort.boxes >= len(table.stems)
    # Each row is the shape whose values it has.
    columns = {name: front.shapes[:, index] for index, name in enumerate(SHAPE)}
    again = Corner(found.tables, *table.rows_of(columns))
    for index, goal in enumerate(found.goals):
        assert goal.of(again) == pytest.approx(front.values[:, index], rel=1e-12)


def test_boxes_are_cut_where_parameters_differ_more() -> None:
    found, _ = search([Objective("params"), Objective("response")])
    one = found.tables[0]
    wide, deep, flat = box(0, 0, 3, 0, 0), box(0, 0, 0, 0, 2), box(0, 2, 2, 1, 1)
    assert [found._splits_depth(some).tolist() for some in (wide, deep, flat)] == [[False], [True], [True]]
    stem, ffn = 0, one.ffn.parameters[one.offset[0] :]
    block = one.attention.parameters[stem]
    for low, high in ((0, 3), (1, 2), (2, 3), (0, 1)):
        for first, last in ((0, 2), (0, 1), (1, 2)):
            by_ffn, by_depth = (block + ffn[high]) * SPACE.depths[first], (block + ffn[low]) * SPACE.depths[last]
            assert found._splits_depth(box(0, low, high, first, last)).tolist() == [bool(by_depth > by_ffn)]


def test_boxes_are_dropped_by_what_bounds_them_alone() -> None:
    """All of a box out of a limit: dropped; its least shape within: kept. A front that covers it: dropped."""
    found, effort = search([Objective("params"), Objective("response")], [])
    boxes = whole(found.tables[0], 3)
    assert (
        found._may_hold(boxes, Front.empty(2)).tolist() == list(range(boxes.stem.size))
        and effort.boxes == boxes.stem.size
    )
    table = found.tables[0]
    least = table.forecast(boxes.stem, table.offset[boxes.stem], np.full(boxes.stem.size, 2.0), least=True).response_s
    most = float(np.median(least))
    limited, _ = search([Objective("params"), Objective("response")], [Objective("response").at_most(most)])
    assert limited._may_hold(boxes, Front.empty(2)).tolist() == np.flatnonzero(least * (1 - 1e-9) <= most).tolist()
    best = Front(np.array([[-1e15, 0.0]]), np.zeros((1, 8), dtype=np.int64))
    assert found._may_hold(boxes, best).size == 0
    assert len(found._price(boxes, best)) == 0


class Recorder:
    """A front that covers nothing and keeps what it was asked."""

    def covers(self, bounds: np.ndarray) -> np.ndarray:
        self.bounds = bounds
        return np.zeros(bounds.shape[1], dtype=bool)


def test_a_box_is_bounded_by_its_corners() -> None:
    """Parameters by the largest shape, to the last digits; a response by the smallest, and never beyond any."""
    found, _ = search([Objective("params"), Objective("response")])
    table, asked = found.tables[0], Recorder()
    stem = np.arange(len(table.stems), dtype=np.int32)
    for sides in ((0, 3, 0, 2), (1, 2, 0, 1), (2, 2, 1, 1), (0, 1, 1, 2)):
        boxes = Boxes(stem, *(np.full(stem.size, side, dtype=np.int32) for side in sides))
        assert found._may_hold(boxes, cast(Front, asked)).tolist() == stem.tolist()
        owner, ffn, depth = spread(boxes)
        shapes = Corner(found.tables, owner, ffn + table.offset[owner], found.depths[depth])
        least = [goal.of(shapes).reshape(stem.size, -1).min(axis=1) for goal in found.goals]
        assert asked.bounds[0] == pytest.approx(least[0], rel=1e-8)
        assert (asked.bounds[1] <= least[1]).all() and (asked.bounds[1] > 0.9 * least[1]).all()


def test_what_has_no_bound_is_looked_at_shape_by_shape() -> None:
    bounded, _ = search([Objective("params"), Objective("throughput")])
    assert (bounded.leaf, bounded.batch) == (branch_and_bound.LEAF, branch_and_bound.BATCH)
    free, _ = search([Objective("params"), Objective(lambda shapes: shapes["hidden_size"])])
    assert (free.leaf, free.batch) == (branch_and_bound.SCAN_LEAF, branch_and_bound.SCAN_BATCH)


def test_small_boxes_are_priced_and_large_ones_cut() -> None:
    """Half of the shapes keep the limit; boxes of one shape each find them without pricing many others."""
    seconds = np.sort(table_of(WORKLOADS["plain"]).forecast(*every(table_of(WORKLOADS["plain"]))).response_s)
    half = float(seconds[seconds.size // 2])
    found, effort = search([Objective("params"), Objective("response")], [Objective("response").at_most(half)])
    found.leaf = 1
    assert len(found.run(Front.empty(2))) > 1
    assert effort.boxes > len(found.tables[0].stems) and effort.priced <= 1.1 * seconds.size / 2


def test_what_a_response_is_charged_by_hand() -> None:
    workload = Workload(new_tokens=50, batch_size=4)
    seconds, device = np.array([7.2]), np.array([2.0])
    h100 = Predictor.load("h100")  # 700 W by its sheet
    assert Charge(price_per_h=0.5).of("cost", h100, workload, seconds, device) == pytest.approx(
        0.5 / 3600 * 7.2 / 200 * 1e6
    )
    assert Charge(power_limit_w=100.0).of("energy", h100, workload, seconds, device) == pytest.approx(2.0 * 100.0 / 200)
    assert NO_CHARGE.of("energy", h100, workload, seconds, device) == pytest.approx(2.0 * 700.0 / 200)
    with pytest.raises(UsageError, match="--price"):
        NO_CHARGE.of("cost", h100, workload, seconds, device)
    with pytest.raises(UsageError, match="--generate 0"):
        NO_CHARGE.of("energy", h100, Workload(new_tokens=0), seconds, device)
    for unsourced in (TOY, Predictor.load("3090")):
        with pytest.raises(UsageError, match="no power"):
            NO_CHARGE.of("energy", unsourced, workload, seconds, device)
