"""The search against brute force: every shape of a small space, priced by `predict_many`."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import Workload
from latmodel.errors import UsageError
from latmodel.search.archive import Front
from latmodel.search.goals import SHAPE
from latmodel.search.run import frontier
from latmodel.search.space import SearchSpace, Span
from latmodel.search.tables import parts

EAGER = toy_predictor()
GRAPH = toy_predictor(launch_s=1e-6, block_s=1e-6, pass_s=1e-5, token_s=1e-5)
SPLITTING = toy_predictor(launch_s=1e-9, block_s=1e-9, pass_s=1e-5, token_s=1e-5, unsplit_gap_s=2e-6)
NO_LOSS = toy_predictor(overlap_loss=0.0)
EIGHT = toy_predictor(float8=True)


def brute_shapes(space):
    """Every shape of a space, by nested loops over plain numbers; ratios are the fractions that were meant.

    (3.28 · 4800 is 15744, 246 steps of 64, although the product of the two floats rounds below it.)
    """
    shapes = []
    low, high = (Fraction(ratio).limit_denominator(1000) for ratio in space.intermediate_ratio)
    for hidden, head_dim in itertools.product(space.hidden_size, space.head_dim):
        heads, rest = divmod(hidden, head_dim)
        if rest:
            continue
        step = space.intermediate_step[0]
        ffns = space.intermediate_size or [
            f for f in range(step, 10 * hidden, step) if low * hidden <= f <= high * hidden
        ]
        kv = space.num_key_value_heads or [
            heads // g for g in range(space.group_size[0], space.group_size[1] + 1) if heads % g == 0
        ]
        for kv_heads, ffn, depth in itertools.product(kv, ffns, space.num_hidden_layers):
            if heads % kv_heads == 0:
                for vocab, tie in itertools.product(space.vocab_size, space.tie_word_embeddings):
                    shapes.append((depth, hidden, ffn, heads, kv_heads, head_dim, vocab, int(tie)))
    return np.array(sorted(set(shapes)), dtype=np.int64)


def brute_front(predictor, space, workload, budget_s, memory_bytes, quality=None):
    """Non-dominated rows by comparing all pairs, those that tie within rounding included; and all rows."""
    shapes = brute_shapes(space)
    priced = predictor.predict_many(dict(zip(SHAPE, shapes.T, strict=True)), workload)
    value = priced.num_parameters if quality is None else quality(dict(zip(SHAPE, shapes.T, strict=True)))
    inside = (priced.response_s <= budget_s) & (priced.peak_memory_bytes <= memory_bytes)
    shapes, value, seconds = shapes[inside], value[inside], priced.response_s[inside]
    beaten = np.zeros(len(shapes), dtype=bool)
    for i in range(len(shapes)):
        quicker = seconds < seconds[i] * (1 - 1e-12)
        beaten[i] = ((value >= value[i]) & quicker).any() or ((value > value[i]) & (seconds <= seconds[i])).any()
    return shapes[~beaten], seconds[~beaten], value[~beaten]


WORKLOADS = [
    Workload(),
    Workload(prompt_tokens=3000, new_tokens=7),
    Workload(batch_size=16),
    Workload(prompt_tokens=40, new_tokens=20),
    Workload(weights="int4-gptq"),
    Workload(weights="int8", kv_cache="fp8", batch_size=4),
    Workload(weights="fp8", batch_size=4),
]

spaces = st.builds(
    SearchSpace,
    num_hidden_layers=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    hidden_size=st.lists(st.integers(4, 80).map(lambda n: 64 * n), min_size=1, max_size=3),
    intermediate_size=st.none() | st.lists(st.integers(60, 9000), min_size=1, max_size=7),
    # Hundredths: a ratio one rounding error above a whole number of steps counts as that number (8/3 · 1536 is 4096).
    intermediate_ratio=st.tuples(
        st.integers(50, 200).map(lambda x: x / 100), st.integers(250, 400).map(lambda x: x / 100)
    ),
    intermediate_step=st.sampled_from([64, 100, 512]),
    head_dim=st.sampled_from([(64,), (64, 128), (32,)]),
    vocab_size=st.sampled_from([1000, (32000, 65536)]),
    tie_word_embeddings=st.sampled_from([True, False, (True, False)]),
    group_size=st.sampled_from([(1, 8), (1, 1), (2, 4), (1, 3)]),
)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    predictor=st.sampled_from([EAGER, GRAPH, SPLITTING, NO_LOSS, EIGHT]),
    workload=st.sampled_from(WORKLOADS),
    tightness=st.floats(0.02, 1.2),
)
def test_frontier_equals_brute_force(data, predictor, workload, tightness):
    try:
        space = data.draw(spaces)
    except UsageError:  # nothing divides: not this test's business
        return
    shapes = brute_shapes(space)
    if not 1 <= len(shapes) <= 2500:
        return
    priced = predictor.predict_many(dict(zip(SHAPE, shapes.T, strict=True)), workload)
    budget = float(np.quantile(priced.response_s, min(tightness, 1.0))) * (1 + 1e-9)
    memory = float(np.quantile(priced.peak_memory_bytes, 0.9)) + 1
    if not ((priced.response_s <= budget) & (priced.peak_memory_bytes <= memory)).any():
        return
    expected, seconds, values = brute_front(predictor, space, workload, budget, memory)
    found = frontier(predictor, space, workload, budget_s=budget, memory_bytes=memory, quality="params")
    assert len(space) == len(shapes)
    got = np.stack([found.columns[name] for name in SHAPE], axis=1)
    assert sorted(map(tuple, got)) == sorted(_without_ties(expected, seconds, values))


def _without_ties(shapes, seconds, values):
    """One shape, the smallest, for each pair of quality and time (times that differ in the last bits are the same)."""
    first = {}
    for shape, second, value in sorted(zip(map(tuple, shapes), seconds, values, strict=True)):
        key = next((k for k in first if k[1] == value and abs(k[0] - second) <= 1e-12 * second), (second, value))
        first.setdefault(key, shape)
    return list(first.values())


SPACE = SearchSpace(num_hidden_layers=Span(4, 40), hidden_size=Span(512, 4096, 256))


def front_of(found):
    """The whole answer, in exact numbers."""
    return {name: column.tolist() for name, column in found.columns.items()}, found.quality.tolist()


NARROW = SearchSpace(num_hidden_layers=Span(4, 40), hidden_size=Span(512, 2048, 256))


@pytest.fixture(scope="module")
def whole_front():
    """What the search of `NARROW` finds as it comes."""
    return front_of(frontier(EAGER, NARROW, budget_s=1.0, quality="params"))


@pytest.mark.parametrize(("entries", "batch", "leaf"), [(40, 7, 1), (100, 16_384, 50), (10**9, 300, 8)])
def test_answer_does_not_depend_on_parts_batches_or_leaves(monkeypatch, whole_front, entries, batch, leaf):
    monkeypatch.setattr("latmodel.search.branch_and_bound.BATCH", batch)
    monkeypatch.setattr("latmodel.search.branch_and_bound.LEAF", leaf)
    monkeypatch.setattr("latmodel.search.job.PART_ENTRIES", entries)
    monkeypatch.setattr("latmodel.search.run.parts", lambda space: parts(space, entries))
    assert front_of(frontier(EAGER, NARROW, budget_s=1.0, quality="params")) == whole_front


def test_a_function_gives_what_the_name_gives_scanned_or_bounded():
    def size(shapes):
        return EAGER.predict_many(shapes).num_parameters

    expected = front_of(frontier(EAGER, SPACE, budget_s=2.0, quality="params"))
    assert front_of(frontier(EAGER, SPACE, budget_s=2.0, quality=size)) == expected
    size.monotone = True
    assert front_of(frontier(EAGER, SPACE, budget_s=2.0, quality=size)) == expected


def test_a_quality_that_falls_with_size_is_searched_shape_by_shape():
    space = SPACE.pin(num_hidden_layers=(8, 12, 20), hidden_size=(1024, 1536), intermediate_size=(2048, 4096, 6144))

    def middling(shapes):
        return (
            -np.abs(shapes["num_hidden_layers"] * 128.0 - shapes["hidden_size"]) - 0.001 * shapes["intermediate_size"]
        )

    found = frontier(EAGER, space, budget_s=3.0, quality=middling)
    shapes, _, values = brute_front(EAGER, space, Workload(), 3.0, np.inf, middling)
    got = {tuple(row) for row in np.stack([found.columns[name] for name in SHAPE], axis=1)}
    assert got <= set(map(tuple, shapes))
    assert sorted(found.quality) == sorted(values.tolist())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda shapes: np.full(len(shapes["hidden_size"]), np.nan), "returned nan for {'num_hidden_layers'"),
        (lambda _: np.zeros(3), "returned shape (3,) for"),
        (lambda shapes: shapes["no_such"], "failed: KeyError"),
    ],
)
def test_a_bad_quality_function_is_named(function, message):
    with pytest.raises(UsageError, match="function <lambda>") as caught:
        frontier(EAGER, SPACE, quality=function)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), max_size=30)


@given(points, points)
def test_merged_front_is_the_set_that_nothing_dominates(some, more):
    def front(rows):
        table = np.array(rows, dtype=float).reshape(-1, 3)
        shapes = np.repeat(table[:, 2:], len(SHAPE), axis=1).astype(np.int64)
        return Front.empty(2).merged([Front(table[:, :2] * [1.0, -1.0], shapes)])

    merged = front(some).merged([front(more)])
    rows = set(some) | set(more)
    kept = {r for r in rows if not any(o[0] <= r[0] and o[1] >= r[1] and o[:2] != r[:2] for o in rows)}
    kept = {r for r in kept if r[2] == min(o[2] for o in kept if o[:2] == r[:2])}
    got = zip(*(merged.values.T * [[1], [-1]]).tolist(), merged.shapes[:, 0].tolist(), strict=True)
    assert sorted(got) == sorted(kept)


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers: '0' is not a whole number"),
        ({"num_hidden_layers": (4, 2.5)}, "num_hidden_layers: '2.5'"),
        ({"hidden_size": -64}, "hidden_size: '-64'"),
        ({"hidden_size": 10**12}, "hidden_size: '1000000000000'"),
        ({"hidden_size": Span(512, 256)}, "hidden_size: the range 512 to 256 is empty"),
        ({"hidden_size": 100}, "hidden_size: no value has a whole number of heads"),
        ({"vocab_size": ()}, "vocab_size: no values given"),
        ({"vocab_size": True}, "vocab_size: 'True'"),
        ({"intermediate_ratio": (5, 2)}, "intermediate_ratio: 5 to 2"),
        ({"intermediate_ratio": 3}, "intermediate_ratio: '3' is not a pair"),
        ({"intermediate_size": Span(1, 10_000_000)}, "intermediate_size: more than 1000000 values"),
        ({"intermediate_step": 10_000_000}, "intermediate_size: no multiple of the step"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ],
)
def test_a_bad_space_is_one_line_that_names_the_field(dimensions, message):
    with pytest.raises(UsageError) as caught:
        SearchSpace(**dimensions)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_default_space_is_counted_by_hand_at_one_hidden_size():
    # hidden 768: 12 heads of 64 in groups of 1, 2, 3, 4, 6; 6 heads of 128 in groups of 1, 2, 3, 6: 9 choices.
    # FFN: multiples of 64 from 1536 to 3840: 37. Depths 4 to 128: 125.
    assert len(SearchSpace(hidden_size=768)) == 9 * 37 * 125
