"""Whose host an interval is for: any machine's, the profile's, or this one's."""

import math

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from latmodel import ModelConfig, Predictor, SearchSpace, Workload, frontier
from latmodel.cli.verbs import group
from latmodel.device.hosts import KNOWN_HOSTS, SAME_HOST, host_of, host_sigma, other_hosts, typical_host_s
from latmodel.device.machine import machine_key
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.errors import UsageError

DEEP = ModelConfig(
    num_hidden_layers=80, hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3,
    vocab_size=65536,
)  # fmt: skip


def measured_here(profile: Profile, runtime: str) -> Profile:
    part = profile.runtimes[runtime].model_copy(update={"machine": machine_key()})
    return profile.model_copy(update={"runtimes": {**profile.runtimes, runtime: part}})


def test_factors_by_hand() -> None:
    logs = np.log(list(KNOWN_HOSTS.values()))
    assert math.log(typical_host_s()) == pytest.approx(logs.mean())
    assert host_sigma() == pytest.approx(logs.std(ddof=1) * math.sqrt(1 + 1 / len(logs)))
    fastest, slowest, hides_engine = other_hosts(typical_host_s())
    assert not hides_engine
    assert fastest * slowest == pytest.approx(1.0)
    assert slowest == pytest.approx(math.exp(1.645 * host_sigma()))


def test_every_known_host_lies_between_the_factors_of_another() -> None:
    for seconds in KNOWN_HOSTS.values():
        fastest, slowest, _ = other_hosts(seconds)
        inside = [fastest <= other / seconds <= slowest for other in KNOWN_HOSTS.values()]
        assert all(inside)


def test_any_holds_published_and_the_slow_machine_of_another_study() -> None:
    anyone, published = Predictor.load("3090"), Predictor(load_profile("3090"), host="published")
    wide, narrow = anyone.predict(DEEP), published.predict(DEEP)
    assert wide.response_s == narrow.response_s
    assert wide.response_s_low < narrow.response_s_low < narrow.response_s_high < wide.response_s_high
    assert (wide.response_s_low_published, wide.response_s_high_published) == (
        narrow.response_s_low, narrow.response_s_high,
    )  # fmt: skip
    assert (wide.host, narrow.host) == ("any", "published")
    # Shortened LLaMA's RTX 3090: 1.25 ms a layer, 80 of them.
    assert wide.decode_s_per_token_low < 80 * 1.25e-3 < wide.decode_s_per_token_high
    assert any("--host published" in note for note in anyone.notes)
    assert not any("--host published" in note for note in published.notes)


def test_a_prior_is_a_typical_host_and_spreads_as_the_known_ones_do() -> None:
    chosen, factors = host_of(load_profile("4090"), "transformers-eager", None)
    assert chosen == "any" and factors == other_hosts(typical_host_s())._replace(hides_engine=True)
    assert host_of(load_profile("4090"), "vllm", None)[1] == factors  # its scheduler runs on a host too
    assert host_of(load_profile("4090"), "cuda-graph", None)[1] == SAME_HOST  # hardly any host
    one = Predictor.load("4090").predict(DEEP)
    assert one.response_s_low_published is None  # of no machine in particular
    assert one.response_s_low < one.response_s / 1.5 and one.response_s_high > 1.5 * one.response_s


def test_a_later_engine_may_hide_its_step() -> None:
    predictor = Predictor.load("a100", "vllm")
    own, low, high = predictor.targets("bfloat16")
    assert (low.runtime.step_s, low.runtime.sequence_s) == (0.0, 0.0)
    assert high.runtime.step_s == pytest.approx(own.runtime.step_s * other_hosts(typical_host_s()).slowest)
    at = predictor.at_end("low", Workload()).target("bfloat16").runtime
    assert (at.step_s, at.pass_s) == (0.0, pytest.approx(low.runtime.pass_s))


def test_a_host_counts_for_what_it_binds() -> None:
    """The same card and runtime: one deep narrow model waits for the host, one wide batch for the device."""
    predictor = Predictor.load("4090")
    wide = ModelConfig(num_hidden_layers=8, hidden_size=8192, intermediate_size=28672, num_attention_heads=64)
    host, device = predictor.predict(DEEP), predictor.predict(wide, Workload(batch_size=64))
    assert (host.bound, device.bound) == ("host", "memory")
    widths = [predictor.interval.width("decode", one.extrapolated) for one in (host, device)]
    slowest = other_hosts(typical_host_s()).slowest
    assert math.log(host.decode_s_per_token_high / host.decode_s_per_token) == pytest.approx(
        math.hypot(math.log(slowest), widths[0]), rel=0.1
    )
    assert math.log(device.decode_s_per_token_high / device.decode_s_per_token) == pytest.approx(widths[1], rel=0.1)


@pytest.mark.parametrize("end", ["low", "high"])
def test_parts_add_up_in_quadrature(end: str) -> None:
    anyone, published = Predictor.load("3090"), Predictor(load_profile("3090"), host="published")
    there = anyone.at_end("low" if end == "low" else "high", Workload()).predict(DEEP).response_s
    one, alone = anyone.predict(DEEP), published.predict(DEEP)
    host = math.log(there / one.response_s)
    device = math.log(getattr(alone, f"response_s_{end}") / alone.response_s)
    whole = math.log(getattr(one, f"response_s_{end}") / one.response_s)
    assert abs(whole) == pytest.approx(math.hypot(host, device))


def test_a_kernel_that_nobody_timed_on_the_card_may_cost_nothing_or_twice_as_much() -> None:
    """AWQ's kernel was fitted on an A100. Llama-2-7B takes 16.5 ms a token on one RTX 3090 (casper-hansen/AutoAWQ#76)."""
    work = Workload(prompt_tokens=64, new_tokens=200, dtype="float16", weights="int4-awq")
    one = Predictor.load("3090").predict("llama-7b", work)
    assert one.decode_s_per_token_low < 16.47e-3 < one.decode_s_per_token_high
    on_its_card = Predictor.load("a100")
    own, *ends = on_its_card.targets("float16", work.numbers().format)
    assert all(end.implementation is own.implementation for end in ends)
    own, low, high = Predictor.load("3090").targets("float16", work.numbers().format)
    kernels = [t.implementation.kernel(work.numbers().format) for t in (own, low, high)]
    assert [round(k.launches, 2) for k in kernels] == [2.97, 1.0, 4.94]
    assert [k.floors for k in kernels] == [10.0, 0.0, 20.0]


def test_the_command_line_refuses_a_published_host_that_is_a_prior() -> None:
    done = CliRunner().invoke(group, ["predict", "80x576", "--gpu", "4090", "--host", "published"])
    assert isinstance(done.exception, UsageError)
    assert "no host of transformers-eager was measured" in str(done.exception)


def test_this_machine_where_it_was_measured() -> None:
    profile = load_profile("3090")
    with pytest.raises(UsageError, match="--host-only"):
        host_of(profile, "transformers-eager", "this")
    mine = measured_here(profile, "transformers-eager")
    assert host_of(mine, "transformers-eager", None) == ("this", SAME_HOST)
    assert Predictor(mine, host="this").predict(DEEP).response_s_low == pytest.approx(
        Predictor(profile, host="published").predict(DEEP).response_s_low
    )
    assert host_of(mine, "transformers-eager", "any")[1] != SAME_HOST


@given(st.integers(1, 100), st.sampled_from([256, 1024, 4096]), st.sampled_from([1, 16]))
def test_many_rows_have_the_intervals_of_one(layers: int, hidden: int, batch: int) -> None:
    predictor, work = Predictor.load("3090"), Workload(batch_size=batch)
    model = ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=4 * hidden, num_attention_heads=hidden // 64,
        vocab_size=32000,
    )  # fmt: skip
    one = predictor.predict(model, work)
    many = predictor.predict_many({name: [value] * 2 for name, value in model.model_dump().items()}, work)
    assert many[1] == one
    low, high = many.low_high("decode")
    assert (low[0], high[0]) == pytest.approx((one.decode_s_per_token_low, one.decode_s_per_token_high), rel=1e-12)


def test_a_sure_search_keeps_the_budget_at_the_end_that_is_shown() -> None:
    space = SearchSpace(num_hidden_layers=(8, 16, 32), hidden_size=(512, 1024, 2048))
    found = frontier(Predictor.load("3090"), space, budget_s=3.0, sure=True)
    highs = [found.predictions[i].response_s_high for i in range(len(found))]
    assert max(highs) <= 3.0
    unsure = frontier(Predictor.load("3090"), space, budget_s=3.0)
    assert max(unsure.predictions[i].response_s_high for i in range(len(unsure))) > 3.0
    assert unsure.num_parameters.max() > found.num_parameters.max()
