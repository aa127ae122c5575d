"""One pass of q tokens over c cached: two cases of it are a prediction's own, and what must hold of any."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Profile, Step, StepPrediction, Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group, uniform
from latmodel.model.formats import Numbers
from latmodel.model.layers.attention import attention_op
from latmodel.predict.passes import pass_cost

PREDICTORS = {"3090": Predictor.load("3090"), "vllm": Predictor.load("a100", "vllm"), "toy": toy_predictor()}
predictors = st.sampled_from(sorted(PREDICTORS)).map(PREDICTORS.__getitem__)
batches, lengths = st.integers(1, 16), st.integers(1, 8192)
shapes = st.builds(
    lambda layers, width, groups: ModelConfig(
        num_hidden_layers=layers, hidden_size=64 * width, num_attention_heads=4 * groups, num_key_value_heads=groups,
        head_dim=64, vocab_size=32000,
    ),
    st.integers(1, 60), st.integers(1, 64), st.integers(1, 16),
)  # fmt: skip
TWO_BYTES = Numbers(2.0, 2.0, 2.0)
SHAPE = ModelConfig(num_hidden_layers=24, hidden_size=2048)


def laws_alone(predictor: Predictor) -> Predictor:
    return Predictor(predictor.profile, predictor.runtime, corrected=False)


@settings(deadline=None, max_examples=50)
@given(predictors, shapes, lengths, batches, st.sampled_from(["last", "all"]))
def test_prefill_and_decode_are_two_cases_to_the_last_digit(
    predictor: Predictor, shape: ModelConfig, prompt: int, batch: int, logits: Any
) -> None:
    work = Workload(prompt_tokens=prompt, new_tokens=1, batch_size=batch, logits=logits)
    whole = predictor.predict(shape, work)
    prefill = predictor.step(shape, Step(new_tokens=prompt, batch_size=batch), work)
    decode = predictor.step(shape, Step(new_tokens=1, cached_tokens=prompt, batch_size=batch), work)
    assert (prefill.seconds, prefill.low_s, prefill.high_s) == (
        whole.prefill_s, whole.prefill_s_low, whole.prefill_s_high,
    )  # fmt: skip
    assert (decode.seconds, decode.low_s, decode.high_s) == (
        whole.decode_s_per_token, whole.decode_s_per_token_low, whole.decode_s_per_token_high,
    )  # fmt: skip
    assert prefill.extrapolated == decode.extrapolated == whole.extrapolated


@pytest.mark.parametrize("logits", ["last", "all"])
def test_a_runtime_that_cuts_the_last_block_cuts_it_in_a_step_too(logits: Any) -> None:
    work = Workload(prompt_tokens=512, new_tokens=1, weights="q4_0", logits=logits)
    predictor, shape = Predictor.load("3090", "llama.cpp"), ModelConfig(num_hidden_layers=4, hidden_size=1024)
    whole = predictor.predict(shape, work)
    assert predictor.step(shape, Step(512), work).seconds == whole.prefill_s
    assert predictor.step(shape, Step(1, 512), work).seconds == whole.decode_s_per_token


@settings(deadline=None, max_examples=50)
@given(predictors, shapes, st.lists(st.tuples(st.integers(1, 64), st.integers(0, 5000), batches), min_size=1))
def test_arrays_of_both_phases_equal_numbers(predictor: Predictor, shape: ModelConfig, rows: list[Any]) -> None:
    many = predictor.step(shape, Step(*(np.array(column) for column in zip(*rows, strict=True))))
    for index, row in enumerate(rows):
        one = predictor.step(shape, Step(*row))
        assert one.seconds == pytest.approx(many.seconds[index], rel=1e-9)
        assert one.low_s == pytest.approx(many.low_s[index], rel=1e-9)
        assert one.host_s == pytest.approx(many.host_s[index], rel=1e-9)
        assert one.device_s == pytest.approx(many.device_s[index], rel=1e-9)
        assert (one.bound, one.extrapolated) == (many.bound[index], many.extrapolated[index])


def test_models_may_be_arrays_too() -> None:
    depths = np.array([1.0, 12.0, 40.0])
    fields = SHAPE.model_dump()
    model = uniform(**{**{k: float(v) for k, v in fields.items()}, "num_hidden_layers": depths})
    many = PREDICTORS["toy"].step(model, Step(8, 4000))
    one = PREDICTORS["toy"].step(SHAPE.model_copy(update={"num_hidden_layers": 12}), Step(8, 4000))
    assert many.seconds[1] == pytest.approx(one.seconds, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(predictors, st.integers(1, 64), st.integers(0, 8192), batches, st.integers(1, 30), st.integers(1, 30))
def test_loads_add_up_over_layers(predictor: Predictor, q: int, c: int, b: int, few: int, more: int) -> None:
    """Kernels, seconds and arithmetic of the blocks, from which the two timelines are put together."""
    target, step = predictor.target("bfloat16"), Step(float(q), float(c), float(b))
    wide, narrow = (Block(Attention(16.0, 4.0, 64.0), FeedForward(ffn)) for ffn in (4096.0, 1024.0))

    def blocks(*groups: Group) -> tuple[float, ...]:
        found = pass_cost(Architecture(groups, 1024.0, 32000.0), step, False, TWO_BYTES, target).first
        return found.kernels, found.seconds, found.compute_s

    first, second = Group(float(few), wide), Group(float(more), narrow)
    apart = [x + y for x, y in zip(blocks(first), blocks(second), strict=True)]
    assert blocks(first, second) == pytest.approx(apart, rel=1e-12)
    assert blocks(Group(float(few + more), wide)) == pytest.approx(
        [(few + more) * each for each in blocks(Group(1.0, wide))], rel=1e-12
    )


@settings(deadline=None, max_examples=80)
@given(
    predictors, shapes, st.sampled_from(["prefill", "decode", "over a cache"]), lengths, batches,
    st.sampled_from(["new_tokens", "cached_tokens", "batch_size"]), st.integers(1, 8),
)  # fmt: skip
def test_never_falls_within_a_case(
    predictor: Predictor, shape: ModelConfig, case: str, length: int, batch: int, name: str, more: int
) -> None:
    before = {
        "prefill": Step(length, 0, batch),
        "decode": Step(1, length, batch),
        "over a cache": Step(2 + length // 64, length, batch),
    }[case]
    fixed = {"prefill": "cached_tokens", "decode": "new_tokens"}.get(case)
    assume(name != fixed)
    # Prompts grow by whole tiles: a partial one may cost more than a whole (`test_properties`).
    growth = 128 * more if name == "new_tokens" else more
    after = before._replace(**{name: getattr(before, name) + growth})
    laws = laws_alone(predictor)
    assert laws.step(shape, after).seconds >= laws.step(shape, before).seconds * (1.0 - 1e-9)


def test_attention_sees_the_cache_and_the_causal_half_of_the_new_tokens() -> None:
    # 8 heads · 64 · 4 FLOPs a pair; 3 queries over 100 cached see 101, 102 and 103 positions.
    implementation = PREDICTORS["3090"].target("bfloat16").implementation.with_attention("flash")
    op = attention_op(Attention(8.0, 2.0, 64.0), Step(3.0, 100.0), implementation, TWO_BYTES)
    assert op.flops == 4 * 8 * 64 * (101 + 102 + 103)
    assert op.cache_bytes == 2 * 2 * 64 * 2 * 103


def test_a_pass_over_a_cache_is_marked_and_its_interval_is_the_wider() -> None:
    predictor = PREDICTORS["toy"]
    over, alone = predictor.step(SHAPE, Step(8, 4000)), predictor.step(SHAPE, Step(4000))
    assert over.extrapolated
    assert not alone.extrapolated
    assert over.extrapolated_because == ("a pass of 8 tokens over 4000 cached: never measured",)
    assert over.high_s / over.seconds > alone.high_s / alone.seconds
    assert isinstance(over, StepPrediction)


def test_a_profile_that_measured_passes_does_not_mark_them() -> None:
    profile = PREDICTORS["toy"].profile.model_dump(mode="json")
    profile["runtimes"]["eager"]["ranges"] = {"cached_tokens": [0, 4096], "prompt_tokens": [16, 4112]}
    measured = Predictor(Profile.model_validate_json(json.dumps(profile)))
    inside, beyond = measured.step(SHAPE, Step(2, 4000)), measured.step(SHAPE, Step(8, 5000))
    assert not inside.extrapolated
    assert beyond.extrapolated_because == (
        "cached_tokens 5000 (0 to 4096 measured)", "prompt_tokens 5008 (16 to 4112 measured)",
    )  # fmt: skip
    # The wider of both phases, not widened further.
    assert inside.high_s / inside.seconds == pytest.approx(math.exp(0.1), rel=1e-9)


def test_host_and_device_bracket_the_seconds() -> None:
    for step in (Step(512), Step(1, 512), Step(8, 512)):
        found = PREDICTORS["3090"].step(SHAPE, step)
        assert max(found.host_s, found.device_s) <= found.seconds * (1 + 1e-9)
        assert found.seconds <= (found.host_s + found.device_s) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (Step(0), "new_tokens"), (Step(1, -1), "cached_tokens"), (Step(1, 1, 0), "batch_size"), (Step(1.5), "new_tokens"),
        (Step(float("nan")), "new_tokens"), (Step("x"), "new_tokens"), (Step(1, np.array([1, 2.5])), "cached_tokens"),
    ],
)  # fmt: skip
def test_what_is_no_step_is_refused(step: Step, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        PREDICTORS["toy"].step(SHAPE, step)


def test_a_cache_beyond_the_table_of_positions_is_refused() -> None:
    learned = Architecture((Group(2.0, Block(Attention(4.0, 4.0, 64.0), FeedForward(512.0))),), 256.0, 1000.0,
                           positions=1024.0)  # fmt: skip
    assert PREDICTORS["toy"].step(learned, Step(24, 1000)).seconds > 0
    with pytest.raises(UsageError, match="1024"):
        PREDICTORS["toy"].step(learned, Step(25, 1000))
    with pytest.raises(UsageError, match="1024"):
        PREDICTORS["toy"].predict(learned, Workload(cached_tokens=1000, prompt_tokens=24, new_tokens=1))


@settings(deadline=None, max_examples=30)
@given(shapes, st.integers(2, 600), st.integers(1, 8000), st.integers(0, 50), batches)
def test_a_cached_prefix_is_a_step_and_its_decode_starts_behind_it(
    shape: ModelConfig, prompt: int, cached: int, new: int, batch: int
) -> None:
    predictor = PREDICTORS["toy"]
    work = Workload(prompt_tokens=prompt, cached_tokens=cached, new_tokens=new, batch_size=batch)
    found = predictor.predict(shape, work)
    assert found.prefill_s == predictor.step(shape, Step(prompt, cached, batch)).seconds
    plain = predictor.predict(shape, Workload(prompt_tokens=prompt + cached, new_tokens=new, batch_size=batch))
    assert found.decode_s_per_token == plain.decode_s_per_token
    assert any("over" in reason for reason in found.extrapolated_because)
    # The cache is that of the whole context; activations are of the new tokens alone.
    assert found.peak_memory_bytes <= plain.peak_memory_bytes


def test_torch_equals_and_has_gradients() -> None:
    torch = pytest.importorskip("torch")
    import latmodel.torch as on_torch

    predictor = PREDICTORS["toy"]
    fields = {k: float(v) for k, v in SHAPE.model_dump().items()}
    for step in (Step(512.0), Step(1.0, 900.0), Step(8.0, 900.0)):
        widths = torch.tensor([2048.0, 4096.0], dtype=torch.float64, requires_grad=True)
        found = on_torch.step(predictor, {**fields, "hidden_size": widths}, step)
        assert found.seconds[0].item() == pytest.approx(predictor.step(SHAPE, step).seconds, rel=1e-9)
        smooth = on_torch.step(predictor, {**fields, "hidden_size": widths}, step, smooth=True)
        (slope,) = torch.autograd.grad(smooth.device_s.sum(), widths)
        assert (slope > 0).all()
    cached = torch.tensor(900.0, dtype=torch.float64, requires_grad=True)
    found = on_torch.step(predictor, fields, Step(8.0, cached), smooth=True)
    (slope,) = torch.autograd.grad(found.device_s, cached)
    step = [on_torch.step(predictor, fields, Step(8.0, 900.0 + d), smooth=True).device_s for d in (-1.0, 1.0)]
    assert slope.item() == pytest.approx((step[1] - step[0]) / 2.0, rel=1e-6)
