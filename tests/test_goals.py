"""Any objectives and limits, several devices and workloads, ends of intervals: against brute force and by hand."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor
from test_search import brute_shapes

from latmodel import Predictor, SearchSpace, Workload, frontier
from latmodel.errors import BudgetError, UsageError
from latmodel.search.goals import SHAPE, Objective, Scenario

FAST = toy_predictor()
SLOW = toy_predictor(launch_s=3e-5, **{"gemm.bandwidth_efficiency": 0.4, "decode.bandwidth_efficiency": 0.4})
LONG = Workload(prompt_tokens=2000, new_tokens=20, batch_size=8)
SPACE = SearchSpace(
    num_hidden_layers=(6, 12, 30, 50),
    hidden_size=(512, 1280, 2048),
    intermediate_ratio=(2, 3.5),
    intermediate_step=128,
)


def depth_over_width(shapes):
    return np.log(shapes["num_hidden_layers"] / shapes["hidden_size"])


def mismatch(shapes):
    return np.abs(shapes["intermediate_size"] - 3.0 * shapes["hidden_size"])


OBJECTIVES = {
    "params": Objective("params"),
    "non-embedding-params": Objective("non-embedding-params"),
    "prefill": Objective("prefill"),
    "decode": Objective("decode"),
    "response": Objective("response"),
    "high": Objective("response", end="high"),
    "low": Objective("prefill", end="low"),
    "memory": Objective("memory"),
    "throughput": Objective("throughput", Scenario(FAST, LONG)),
    "slow": Objective("decode", Scenario(SLOW, Workload())),
    "ratio": Objective(depth_over_width),
    "least": Objective(mismatch, maximise=False),
}


def value_of(objective, columns, own):
    """The measure of every shape by `predict_many` alone."""
    where = objective.scenario or own
    priced = where.predictor.predict_many(columns, where.workload)
    if callable(objective.metric):
        return objective.metric(columns)
    if objective.end != "value":
        return priced.low_high(objective.metric)[objective.end == "high"]
    if objective.metric == "non-embedding-params":
        tied = columns["vocab_size"] * columns["hidden_size"] * (2 - columns["tie_word_embeddings"])
        return priced.num_parameters - tied
    tokens = where.workload.batch_size * where.workload.new_tokens
    return {
        "params": priced.num_parameters, "prefill": priced.prefill_s, "decode": priced.decode_s_per_token,
        "response": priced.response_s, "memory": priced.peak_memory_bytes, "throughput": tokens / priced.response_s,
    }[objective.metric]  # fmt: skip


def dominated(values):
    """Rows that another beats by more than rounding."""
    slack = 1e-11 * np.abs(values)
    no_worse = (values[None, :, :] <= values[:, None, :] + slack[:, None, :]).all(axis=2)
    better = (values[None, :, :] < values[:, None, :] - slack[:, None, :]).any(axis=2)
    return (no_worse & better).any(axis=1)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    names=st.lists(st.sampled_from(sorted(OBJECTIVES)), min_size=2, max_size=4, unique=True),
    limited=st.lists(st.sampled_from(["decode", "high", "throughput", "slow", "params"]), max_size=2, unique=True),
    share=st.floats(0.3, 0.95),
)
def test_non_dominated_sets_equal_brute_force(names, limited, share):
    own = Scenario(FAST, Workload())
    shapes = brute_shapes(SPACE)
    columns = dict(zip(SHAPE, shapes.T, strict=True))
    inside, limits = np.ones(len(shapes), dtype=bool), []
    for objective in (OBJECTIVES[name] for name in limited):
        value = value_of(objective, columns, own)
        bound = float(np.quantile(value, 1 - share if objective.gain else share)) * (1 + 1e-7)
        limits.append(objective.at_least(bound) if objective.gain else objective.at_most(bound))
        inside &= value >= bound if objective.gain else value <= bound
    if not inside.any():
        return
    chosen = [OBJECTIVES[name] for name in names]
    values = np.stack([value_of(o, columns, own) * (-1 if o.gain else 1) for o in chosen], axis=1)[inside]
    best = ~dominated(values)
    found = frontier(FAST, SPACE, objectives=chosen, limits=limits)
    got = np.stack([found.values[o.column] * (-1 if o.gain else 1) for o in chosen], axis=1)
    every = {tuple(row) for row in shapes[inside].tolist()}
    nearly = {tuple(row) for row in shapes[inside][best].tolist()}
    mine = [tuple(row) for row in np.stack([found.columns[name] for name in SHAPE], axis=1).tolist()]
    assert len(set(mine)) == len(mine)
    assert set(mine) <= nearly <= every
    # What brute force keeps beyond that ties, within rounding, with something found.
    for row in values[best]:
        assert (np.abs(got - row) <= 1e-9 * np.abs(row) + 1e-12).all(axis=1).any()


def test_a_sure_budget_is_kept_by_the_upper_end():
    budget = float(frontier(FAST, SPACE, quality="params").response_s[0])  # what the largest shape takes
    found = frontier(FAST, SPACE, budget_s=budget, sure=True, quality="params")
    assert found.predictions.low_high("response")[1].max() <= budget * (1 + 1e-9)
    assert found.quality[0] < frontier(FAST, SPACE, budget_s=budget * (1 + 1e-9), quality="params").quality[0]


def test_budget_and_memory_are_kept_on_every_device():
    also = Scenario(SLOW, Workload())
    found = frontier(FAST, SPACE, budget_s=3.0, also=[also], quality="params")
    assert SLOW.predict_many(found.columns).response_s.max() <= 3.0 * (1 + 1e-9)
    assert found.quality[0] <= frontier(FAST, SPACE, budget_s=3.0, quality="params").quality[0]
    with pytest.raises(BudgetError, match="on toy/eager: the quickest among"):
        frontier(FAST, SPACE, budget_s=0.5, also=[also], quality="params")


def test_a_row_tells_of_every_device_and_work_that_it_kept_the_budget_on():
    also = [Scenario(SLOW, Workload()), Scenario(FAST, LONG), Scenario(FAST, Workload(prompt_tokens=4000))]
    limits = [Objective("throughput", also[1]).at_least(1.0)]
    found = frontier(FAST, SPACE, budget_s=3.0, also=[also[0], also[2]], limits=limits, quality="params")
    assert list(found.scenarios) == ["toy/eager", "toy/eager 2", "toy/eager 3"]
    for row, config in ((row, found.config(index)) for index, row in enumerate(found.to_rows())):
        for name, where in zip(found.scenarios, (also[0], also[2], also[1]), strict=True):
            known = where.predictor.predict(config, where.workload)
            for field in ("response_s", "response_s_low", "response_s_high", "peak_memory_bytes"):
                assert row[f"{field}@{name}"] == pytest.approx(getattr(known, field), rel=1e-9)
            assert row[f"fits_memory@{name}"] and row[f"extrapolated_because@{name}"] == list(
                known.extrapolated_because
            )
    alone = frontier(FAST, SPACE, budget_s=3.0, quality="params")
    assert alone.scenarios == {} and not any("@" in name for name in alone.to_rows()[0])


def test_the_low_end_in_another_devices_format_is_searched_exactly():
    """Blocks of 256 do not divide some of these widths, whose intervals are wider there than any on timed kernels."""
    there = Scenario(Predictor.load("3090", "llama.cpp"), Workload(weights="q4_k_m"))
    space = SearchSpace(
        num_hidden_layers=(6, 12), hidden_size=(960, 1024), intermediate_ratio=(2, 3.5), intermediate_step=64
    )
    low_end = Objective("response", there, "low")
    found = frontier(FAST, space, objectives=[Objective("params"), low_end])
    columns = dict(zip(SHAPE, brute_shapes(space).T, strict=True))
    low = there.predictor.predict_many(columns, there.workload).low_high("response")[0]
    params = FAST.predict_many(columns).num_parameters
    best = ~dominated(np.stack([-params, low], axis=1))
    # Shapes that tie in both are represented by one.
    wanted = {(int(p), round(float(s), 12)) for p, s in zip(params[best], low[best], strict=True)}
    ends = found.values[low_end.column]
    assert {(int(p), round(float(s), 12)) for p, s in zip(found.num_parameters, ends, strict=True)} == wanted
    assert len(found) == len(wanted) > 20 and 960 in found.columns["hidden_size"]


def test_the_limit_that_binds_is_named():
    with pytest.raises(BudgetError) as caught:
        frontier(FAST, SPACE, budget_s=4.0, limits=[Objective("decode").at_most(1e-6)], quality="params")
    assert "decodes a token within 1.00 µs: the quickest among those that keep the other limits, 6 layers" in str(
        caught.value
    )
    with pytest.raises(BudgetError, match=r"has depth_over_width >= 5: the closest .* has -2\.32"):  # log(50 / 512)
        frontier(FAST, SPACE, limits=[Objective(depth_over_width).at_least(5.0)], quality="params")


def test_limits_that_cannot_be_kept_together_are_listed():
    limits = [Objective("decode").at_most(1e-6), Objective("prefill").at_most(1e-6)]
    with pytest.raises(BudgetError, match=r"decodes a token within 1\.00 µs: the quickest, 6 layers"):
        frontier(FAST, SPACE, limits=limits, quality="params")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Objective("speed"), "'speed' is neither a function nor one of params"),
        (lambda: Objective("params", end="high"), "params has no interval"),
        (lambda: Objective("response", end="top"), "'top' is no end"),
        (lambda: Objective("response").at_least(1.0), "only 'at most' makes sense"),
        (lambda: Objective("throughput").at_most(1.0), "only 'at least' makes sense"),
        (lambda: Objective("response").at_most(float("nan")), "nan is not a finite number"),
        (lambda: frontier(FAST, SPACE, objectives=["params"]), "two or more"),
        (lambda: frontier(FAST, SPACE, objectives=["params", "params"]), "each once"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert message in str(caught.value)


def test_without_moocore_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(UsageError, match=r"latmodel\[search\]"):
        frontier(FAST, SPACE, objectives=["params", "prefill", "decode"])
