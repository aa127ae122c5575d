"""The search against brute force: every shape of a small space, priced by `predict_many`."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latmodel import Workload
from latmodel.errors import UsageError
from latmodel.frontier import frontier
from latmodel.search import SHAPE, Front
from latmodel.space import SearchSpace, Span
from latmodel.tables import parts
from search_toy import toy_predictor

EAGER = toy_predictor()
GRAPH = toy_predictor(launch_s=1e-6, block_s=1e-6, pass_s=1e-5, token_s=1e-5)
NO_LOSS = toy_predictor(overlap_loss=0.0)


def brute_shapes(space):
    """Every shape of a space, by nested loops over plain numbers."""
    shapes = []
    low, high = space.intermediate_ratio
    for hidden, head_dim in itertools.product(space.hidden_size, space.head_dim):
        heads, rest = divmod(hidden, head_dim)
        if rest:
            continue
        step = space.intermediate_step[0]
        ffns = space.intermediate_size or [f for f in range(step, 10 * hidden, step) if low * hidden <= f <= high * hidden]
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


spaces = st.builds(
    SearchSpace,
    num_hidden_layers=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    hidden_size=st.lists(st.integers(4, 80).map(lambda n: 64 * n), min_size=1, max_size=3),
    intermediate_size=st.none() | st.lists(st.integers(60, 9000), min_size=1, max_size=7),
    intermediate_ratio=st.tuples(st.floats(0.5, 2.0), st.floats(2.5, 4.0)),
    intermediate_step=st.sampled_from([64, 100, 512]),
    head_dim=st.sampled_from([(64,), (64, 128), (32,)]),
    vocab_size=st.sampled_from([1000, (32000, 65536)]),
    tie_word_embeddings=st.sampled_from([True, False, (True, False)]),
    group_size=st.sampled_from([(1, 8), (1, 1), (2, 4), (1, 3)]),
)


def space_or_none(build):
    try:
        return build()
    except UsageError:
        return None


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    predictor=st.sampled_from([EAGER, GRAPH, NO_LOSS]),
    workload=st.sampled_from([Workload(), Workload(prompt_tokens=3000, new_tokens=7), Workload(batch_size=16)]),
    tightness=st.floats(0.02, 1.2),
)
def test_frontier_equals_brute_force(data, predictor, workload, tightness):
    try:
        space = data.draw(spaces)
    except UsageError:  # nothing divides: not this test's business
        return
    shapes = brute_shapes(space)
    if not 1 <= len(shapes) <= 6000:
        return
    priced = predictor.predict_many(dict(zip(SHAPE, shapes.T, strict=True)), workload)
    budget = float(np.quantile(priced.response_s, min(tightness, 1.0))) * (1 + 1e-9)
    memory = float(np.quantile(priced.peak_memory_bytes, 0.9)) + 1
    if not ((priced.response_s <= budget) & (priced.peak_memory_bytes <= memory)).any():
        return
    expected, seconds, values = brute_front(predictor, space, workload, budget, memory)
    found = frontier(predictor, space, workload, budget_s=budget, memory_bytes=memory)
    assert len(space) == len(shapes)
    got = np.stack([found.columns[name] for name in SHAPE], axis=1)
    assert sorted(map(tuple, got)) == sorted(_without_ties(expected, seconds, values))
    np.testing.assert_allclose(np.sort(found.response_s), np.unique(seconds)[: len(found)], rtol=1e-9)


def _without_ties(shapes, seconds, values):
    """One shape, the smallest, for each pair of quality and time (times that differ in the last bits are the same)."""
    first = {}
    for shape, second, value in sorted(zip(map(tuple, shapes), seconds, values, strict=True)):
        key = next((k for k in first if k[1] == value and abs(k[0] - second) <= 1e-12 * second), (second, value))
        first.setdefault(key, shape)
    return list(first.values())
