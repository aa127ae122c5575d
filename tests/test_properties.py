"""What must hold of the physics, on shapes that nobody chose. No learned correction takes part: coefficients are a
profile's own, through the formulas alone.

One exception is real and left out: a model whose query heads all have their own KV head (MHA) runs another decode
kernel than one whose heads share them, and may be *slower* with fewer query heads or *faster* with more KV heads.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Workload
from latmodel.laws.coefficients import DeviceCoefficients
from latmodel.model.architecture import uniform
from latmodel.model.formats import FORMATS, Numbers
from latmodel.predict.forward import Forecast, forecast
from latmodel.predict.target import Target, Work

PREDICTORS = {"3090": Predictor.load("3090"), "toy": toy_predictor()}
TARGETS = {name: predictor.target("bfloat16") for name, predictor in PREDICTORS.items()}
SLACK = 1e-9  # rounding, relative
TIMES = ("prefill_s", "step_s", "response_s")


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, float]:
    kv_heads = draw(st.integers(1, 16))
    return {
        "num_hidden_layers": float(draw(st.integers(1, 100))),
        "hidden_size": 64.0 * draw(st.integers(1, 128)),
        "intermediate_size": 64.0 * draw(st.integers(1, 256)),
        "num_attention_heads": float(kv_heads * draw(st.integers(2, 8))),
        "num_key_value_heads": float(kv_heads),
        "head_dim": draw(st.sampled_from([64.0, 128.0])),
        "vocab_size": 8192.0 * draw(st.integers(1, 20)),
        "tie_word_embeddings": 1.0,
    }


works = st.builds(
    Work, prompt=st.integers(1, 4096).map(float), new=st.integers(1, 500).map(float),
    batch=st.integers(1, 32).map(float), logits_all=st.booleans(), numbers=st.just(Numbers(2.0, 2.0, 2.0)),
    cached=st.just(0.0),
)  # fmt: skip
targets = st.sampled_from(sorted(TARGETS)).map(TARGETS.__getitem__)


def times(shape: dict[str, float], work: Work, target: Target) -> list[float]:
    found: Forecast = forecast(uniform(**shape), work, target)
    return [float(getattr(found, name)) for name in TIMES]


def never_less(more: list[float], before: list[float]) -> None:
    for name, larger, smaller in zip(TIMES, more, before, strict=True):
        assert larger >= smaller * (1.0 - SLACK), name


TILES = {"num_hidden_layers": 1.0, "hidden_size": 256.0, "intermediate_size": 256.0}


@settings(deadline=None)
@given(shapes(), works, targets, st.sampled_from(sorted(TILES)), st.integers(1, 8))
def test_never_falls_when_a_dimension_grows_by_whole_tiles(
    shape: dict[str, float], work: Work, target: Target, name: str, count: int
) -> None:
    grown = {**shape, name: shape[name] + count * TILES[name]}
    never_less(times(grown, work, target), times(shape, work, target))


@settings(deadline=None)
@given(shapes(), works, targets, st.integers(1, 8))
def test_never_falls_when_heads_and_their_kv_heads_grow(
    shape: dict[str, float], work: Work, target: Target, count: int
) -> None:
    """By groups: 256 / head_dim KV heads with their queries are whole tiles of every projection."""
    groups = count * 256.0 / shape["head_dim"]
    sharing = shape["num_attention_heads"] / shape["num_key_value_heads"]
    grown = {
        **shape,
        "num_key_value_heads": shape["num_key_value_heads"] + groups,
        "num_attention_heads": shape["num_attention_heads"] + groups * sharing,
    }
    never_less(times(grown, work, target), times(shape, work, target))


@settings(deadline=None)
@given(shapes(), works, targets, st.sampled_from(["batch", "prompt"]), st.integers(1, 4))
def test_never_falls_when_batch_or_context_grow(
    shape: dict[str, float], work: Work, target: Target, name: str, count: int
) -> None:
    grown = work._replace(**{name: getattr(work, name) + (count if name == "batch" else 128.0 * count)})
    never_less(times(shape, grown, target), times(shape, work, target))


@settings(deadline=None)
@given(shapes(), works, targets, st.integers(1, 200))
def test_more_tokens_never_take_less(shape: dict[str, float], work: Work, target: Target, more: int) -> None:
    before, after = (times(shape, w, target) for w in (work, work._replace(new=work.new + more)))
    assert after[2] > before[2]
    never_less(after, before)


@settings(deadline=None)
@given(shapes(), works, targets, st.sampled_from(["bandwidth_bytes_per_s", "peak_flops_per_s"]), st.floats(1.0, 10.0))
def test_never_rises_with_a_faster_device(
    shape: dict[str, float], work: Work, target: Target, name: str, factor: float
) -> None:
    faster = target._replace(sheet=target.sheet._replace(**{name: getattr(target.sheet, name) * factor}))
    never_less(times(shape, work, target), times(shape, work, faster))


HOST = ("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s", "gap_s")


@settings(deadline=None)
@given(shapes(), works, targets, st.sampled_from(HOST), st.floats(0.0, 1.0))
def test_never_rises_with_a_faster_host(
    shape: dict[str, float], work: Work, target: Target, name: str, factor: float
) -> None:
    faster = target._replace(runtime=target.runtime._replace(**{name: getattr(target.runtime, name) * factor}))
    never_less(times(shape, work, target), times(shape, work, faster))


def in_units(target: Target, unit: float) -> Target:
    """The same target told in another unit of time: seconds grow by `unit`, rates shrink by it."""

    def told(part: Any) -> Any:
        return part._replace(
            **{name: getattr(part, name) * unit for name in part.__match_args__ if name.endswith("_s")}
        )

    sheet = target.sheet._replace(
        peak_flops_per_s=target.sheet.peak_flops_per_s / unit,
        bandwidth_bytes_per_s=target.sheet.bandwidth_bytes_per_s / unit,
    )
    device = DeviceCoefficients(*(family and told(family) for family in target.device._asdict().values()))
    return target._replace(sheet=sheet, device=device, runtime=told(target.runtime))


@settings(deadline=None)
@given(shapes(), works, targets, st.floats(1e-2, 1e3))
def test_scaling_the_unit_of_time_scales_the_answer(
    shape: dict[str, float], work: Work, target: Target, unit: float
) -> None:
    found = times(shape, work, in_units(target, unit))
    assert found == pytest.approx([unit * seconds for seconds in times(shape, work, target)], rel=1e-9)


# --- Many rows ------------------------------------------------------------------------------------


def table(rows: int, seed: int = 0) -> dict[str, Any]:
    """Random architectures with their work, some misaligned."""
    generator = np.random.default_rng(seed)
    kv_heads = generator.integers(1, 9, rows)
    return {
        "num_hidden_layers": generator.integers(1, 100, rows),
        "hidden_size": 8 * generator.integers(4, 1000, rows) - (generator.random(rows) < 0.2),
        "intermediate_size": generator.integers(32, 20_000, rows),
        "num_attention_heads": kv_heads * generator.integers(1, 9, rows),
        "num_key_value_heads": kv_heads,
        "head_dim": generator.choice([64, 80, 128, 100], rows),
        "vocab_size": generator.integers(1000, 200_000, rows),
        "tie_word_embeddings": generator.random(rows) < 0.5,
        "prompt_tokens": generator.integers(1, 4000, rows),
        "new_tokens": generator.integers(0, 300, rows),
        "batch_size": generator.integers(1, 16, rows),
    }


def compare(one: Any, other: Any, rel: float) -> None:
    for name, a, b in zip(one.values._fields, one.values, other.values, strict=True):
        assert np.allclose(a, b, rtol=rel, atol=0.0), name
    for phase in ("prefill", "decode", "response"):
        assert np.allclose(one.low_high(phase), other.low_high(phase), rtol=rel, atol=0.0), phase


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
def test_many_rows_equal_one_by_one(predictor: Predictor) -> None:

    columns = table(200)
    many = predictor.predict_many(columns)
    for i in range(200):
        row = {name: values[i].item() for name, values in columns.items()}
        work = Workload(**{name: row.pop(name) for name in ("prompt_tokens", "new_tokens", "batch_size")})
        alone, together = predictor.predict(ModelConfig(**row), work).as_dict(), many[i].as_dict()
        for name, value in alone.items():
            assert together[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


def test_chunking_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from latmodel.predict import predictor as predict

    columns = table(1000, seed=1)
    whole = PREDICTORS["3090"].predict_many(columns)
    for chunk in (1000, 999, 128, 7):
        monkeypatch.setattr(predict, "CHUNK", chunk)
        compare(PREDICTORS["3090"].predict_many(columns), whole, 1e-14)


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_rows_changes_nothing(random: Any) -> None:
    columns = table(50, seed=2)
    order = list(range(50))
    random.shuffle(order)
    shuffled = PREDICTORS["3090"].predict_many({name: values[order] for name, values in columns.items()})
    assert shuffled.response_s.tolist() == pytest.approx(
        PREDICTORS["3090"].predict_many(columns).response_s[order].tolist(), rel=1e-14
    )


@settings(deadline=None, max_examples=50)
@given(shapes(), st.floats(0.5, 0.99))
def test_intervals_hold_their_prediction_and_widen_with_the_level(shape: dict[str, float], level: float) -> None:
    assume(shape["num_hidden_layers"] > 1)
    profile = PREDICTORS["3090"].profile
    some, most = (Predictor(profile, confidence=c).predict(uniform(**shape)) for c in (level, 0.99))
    assert some.response_s_low <= some.response_s <= some.response_s_high
    assert most.response_s_low <= some.response_s_low
    assert most.response_s_high >= some.response_s_high


@pytest.mark.parametrize("weights", [name for name, form in FORMATS.items() if not form.runtime])
def test_batches_on_both_sides_of_a_kernels_limit_are_priced_as_alone(weights: str) -> None:
    # A kernel of quantised weights hands over to another from some rows on: a column of batches holds both.
    predictor = Predictor.load("4090")  # every format runs on it
    model = ModelConfig(num_hidden_layers=4, hidden_size=2048, num_attention_heads=16)
    batches = [1, 4, 16, 64, 512]
    many = predictor.predict_many({**model.model_dump(), "batch_size": batches}, Workload(weights=weights))
    for index, batch in enumerate(batches):
        one = predictor.predict(model, Workload(weights=weights, batch_size=batch))
        assert many[index].prefill_s == pytest.approx(one.prefill_s, rel=1e-12)
        assert many[index].decode_s_per_token == pytest.approx(one.decode_s_per_token, rel=1e-12)
