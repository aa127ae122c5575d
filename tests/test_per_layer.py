"""Per-layer search against trying every choice, each model predicted whole."""

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import Predictor, Workload
from latmodel.errors import BudgetError, UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.search.per_layer.costs import layer_costs
from latmodel.search.per_layer.layers import search_layers

HIDDEN, VOCAB = 1024.0, 32000.0
SHARED = {"hidden_size": 1024, "vocab_size": 32000}
PREDICTORS = [
    toy_predictor(),
    toy_predictor(launch_s=3e-7, block_s=1e-6, prefill_block_s=1e-6, token_s=1e-6, pass_s=1e-6),
    toy_predictor(launch_s=2e-6, block_s=2e-6, overlap_loss=0.0),
    toy_predictor(launch_s=0.0, block_s=0.0, prefill_block_s=0.0),  # a graph: no host time a layer
    toy_predictor(launch_s=0.0, block_s=0.0, prefill_block_s=0.0, unsplit_gap_s=3e-6),  # whose gap depends on the block
]


def block(heads, kv_heads, ffn):
    attention = Attention(float(heads), float(kv_heads), 64.0) if heads else None
    layer = FeedForward(float(ffn)) if ffn else None
    return Block(attention, layer, norms=(attention is not None) + (layer is not None))


BLOCKS = [
    block(16, 16, 4096),
    block(16, 4, 8192),
    block(8, 2, 2048),
    block(0, 0, 3072),
    block(16, 4, 0),
    block(0, 0, 0),
]


def whole(predictor, picked, workload):
    groups = tuple(Group(1.0, BLOCKS[i]) for i in picked if BLOCKS[i].norms)
    return predictor.predict(Architecture(groups, HIDDEN, VOCAB, 1.0), workload)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    predictor=st.sampled_from(PREDICTORS),
    scores=st.lists(st.lists(st.integers(-5, 20), min_size=6, max_size=6), min_size=1, max_size=3),
    share=st.floats(0.05, 1.0),
    workload=st.sampled_from([Workload(), Workload(prompt_tokens=8000, new_tokens=300, batch_size=4)]),
    memory_share=st.floats(0.3, 1.1),
)
def test_equals_trying_every_choice(predictor, scores, share, workload, memory_share):
    table = np.array(scores, dtype=float)
    every = [p for p in itertools.product(range(6), repeat=len(table)) if any(BLOCKS[i].norms for i in p)]
    models = [whole(predictor, picked, workload) for picked in every]
    times = np.array([m.response_s for m in models])
    sizes = np.array([m.peak_memory_bytes for m in models])
    budget, memory = float(np.quantile(times, share)) * 1.0001, float(sizes.max()) * memory_share
    inside = (times <= budget) & (sizes <= memory)
    total = np.array([table[np.arange(len(table)), list(picked)].sum() for picked in every])
    asked = {"gap": 1e-9, "workload": workload, "budget_s": budget, "memory_bytes": memory, **SHARED}
    if not inside.any():
        with pytest.raises(BudgetError):
            search_layers(predictor, BLOCKS, table, **asked)
        return
    found = search_layers(predictor, BLOCKS, table, **asked)
    assert found.score == pytest.approx(total[inside].max(), abs=1e-6)
    assert found.bound >= found.score
    assert found.additive_s == pytest.approx(found.prediction.response_s, rel=1e-6)
    assert found.prediction.response_s <= budget * (1 + 1e-6)
    assert found.prediction.peak_memory_bytes <= memory * (1 + 1e-6)


GPTQ = Workload(weights="int4-gptq")
CASES = [  # what a sum over layers does not hold: buffers as large as the widest layer needs, a last block cut short
    ("a100", "transformers-eager", GPTQ, 1.0),
    ("a100", "transformers-eager", GPTQ.model_copy(update={"prompt_tokens": 8}), 0.5),
    ("3090", "llama.cpp", Workload(weights="q4_k_m", new_tokens=4), 0.3),
    ("3090", "llama.cpp", Workload(weights="q4_k_m", new_tokens=1, prompt_tokens=2048), 0.6),
    ("3090", "llama.cpp", Workload(weights="q4_k_m", new_tokens=1, logits="all"), 0.5),
]


@pytest.mark.parametrize(("gpu", "runtime", "workload", "share"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_no_sum_over_layers_is_as_predicted(gpu, runtime, workload, share, seed):
    """Every choice of three layers predicted whole: the search's time and memory are those, and its answer the best."""
    predictor, table = Predictor.load(gpu, runtime), np.random.default_rng(seed).normal(5.0, 3.0, (3, len(BLOCKS)))
    every = [p for p in itertools.product(range(6), repeat=3) if any(BLOCKS[i].norms for i in p)]
    models = [whole(predictor, picked, workload) for picked in every]
    times, sizes = (np.array([getattr(m, name) for m in models]) for name in ("response_s", "peak_memory_bytes"))
    costs = layer_costs(predictor, tuple(BLOCKS), (HIDDEN, VOCAB, 1.0), workload)
    for picked, seconds, size in zip(every, times, sizes, strict=True):
        totals, chosen = costs.total(np.array(picked)), list(picked)
        assert float(costs.response(totals)) == pytest.approx(seconds, rel=1e-9)
        assert float(costs.peak_bytes(totals, costs.largest_bytes[:, chosen].max(axis=1))) == pytest.approx(size)
    total = np.array([table[np.arange(3), list(picked)].sum() for picked in every])
    for budget, memory in (
        (float(np.quantile(times, share)) * 1.0001, float(sizes.max()) * 1.01),
        (float(times.max()) * 1.01, float(np.quantile(sizes, share)) * 1.0001),
    ):
        inside = (times <= budget) & (sizes <= memory)
        found = search_layers(
            predictor, BLOCKS, table, workload=workload, budget_s=budget, memory_bytes=memory, gap=1e-9, **SHARED
        )
        assert found.score == pytest.approx(total[inside].max(), abs=1e-6)
        assert found.additive_s == pytest.approx(found.prediction.response_s, rel=1e-6)


@pytest.mark.parametrize(
    "predictor", [PREDICTORS[0], PREDICTORS[1], PREDICTORS[3]], ids=["eager", "quick host", "graph"]
)
def test_eighty_layers_of_a_hundred_choices_to_a_thousandth(predictor):
    """How long it takes is for `benchmarks/search_layers.py`; here without any clock, so the same on every machine."""
    rng = np.random.default_rng(0)
    grid = itertools.product((4, 8, 12, 16), (1, 4), range(512, 6657, 512))
    blocks = [*(block(heads, heads // group, ffn) for heads, group, ffn in itertools.islice(grid, 99)), block(0, 0, 0)]
    size = np.array([
        (b.attention.heads if b.attention else 0) * 128 + (b.feed_forward.intermediate_size if b.feed_forward else 0)
        for b in blocks
    ])  # fmt: skip
    scores = np.sqrt(size)[None, :] * rng.uniform(0.5, 1.5, (80, 1)) + rng.normal(0, 2, (80, len(blocks)))
    budget = 0.5 * predictor.predict(Architecture((Group(80.0, blocks[90]),), HIDDEN, VOCAB, 1.0)).response_s
    found = search_layers(predictor, blocks, scores, budget_s=budget, time_limit_s=np.inf, **SHARED)
    assert found.gap <= 1e-3
    assert found.score == pytest.approx(scores[np.arange(80), list(found.choices)].sum())
    assert found.additive_s <= budget * (1 + 1e-8)
    assert found.additive_s == pytest.approx(found.prediction.response_s, rel=1e-6)
    again = search_layers(predictor, blocks, scores, budget_s=budget, time_limit_s=np.inf, **SHARED)
    assert again.choices == found.choices


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.05, 0.9), predictor=st.sampled_from(PREDICTORS))
def test_the_bound_of_a_wide_gap_holds_for_the_exact_answer(seed, share, predictor):
    """Eight layers: stopped early and solved to the end, by bound and score."""
    scores = np.random.default_rng(seed).normal(5.0, 3.0, (8, len(BLOCKS)))
    slowest, one = whole(predictor, [1] * 8, Workload()), whole(predictor, [4], Workload())
    budget, memory = (
        least + share * (most - least)
        for least, most in ((one.response_s, slowest.response_s), (one.peak_memory_bytes, slowest.peak_memory_bytes))
    )
    asked = {"budget_s": budget, "memory_bytes": memory, **SHARED}
    early = search_layers(predictor, BLOCKS, scores, gap=0.05, **asked)
    exact = search_layers(predictor, BLOCKS, scores, gap=1e-9, **asked)
    assert early.score <= exact.score * (1 + 1e-9)
    assert exact.score <= early.bound + 1e-6
    assert early.bound - early.score <= 0.05 * abs(early.score) + 1e-6


def test_a_budget_that_no_choice_keeps_names_the_quickest():
    with pytest.raises(BudgetError, match=r"answers within 1\.00 µs: the quickest takes"):
        search_layers(PREDICTORS[0], BLOCKS[:3], np.ones((4, 3)), budget_s=1e-6, **SHARED)
    with pytest.raises(BudgetError, match="fits in the memory"):
        search_layers(PREDICTORS[0], BLOCKS[:3], np.ones((4, 3)), budget_s=10.0, memory_bytes=1e6, **SHARED)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.ones((4, 2)), r"shape \(4, 2\) is not"),
        ([[1.0, np.nan, 2.0]], "layer 0, block 1 is nan"),
        ([[1.0, 2.0, np.inf]], "layer 0, block 2 is inf"),
        ([[1.0, 2.0, 3.0], [-np.inf] * 3], "layer 1 may pick no block"),
    ],
)
def test_bad_scores_are_named(scores, message):
    with pytest.raises(UsageError, match=message):
        search_layers(PREDICTORS[0], BLOCKS[:3], scores, budget_s=1.0, **SHARED)
