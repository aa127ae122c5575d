"""Ends of intervals by hand: of a step, of a prediction, of many; energy and money of a response."""

import math
from dataclasses import replace

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Step, Workload
from latmodel.device.datasheets import datasheets
from latmodel.device.hosts import SAME_HOST, HostFactors
from latmodel.device.links import link_of
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.formats import FORMATS
from latmodel.model.layers.experts import Experts
from latmodel.model.layers.joined_input import JoinedInput
from latmodel.model.layers.mamba2 import Mamba2
from latmodel.predict.ends import ends_of
from latmodel.predict.energy import Power, cost_per_million, power_of, response_energy
from latmodel.predict.forward import Times, forecast
from latmodel.predict.inputs import work_of
from latmodel.predict.intervals import Interval
from latmodel.predict.passes import PassTimes
from latmodel.predict.prediction import Ends, Explained, Predictions, Source, Values, joined_ends, one_prediction
from latmodel.predict.step_prediction import interval_width, step_prediction
from latmodel.predict.tensor_parallel import share_of, together

# --- Energy and money; one step -------------------------------------------------------------------


def test_joules_and_money_by_hand() -> None:
    """100 W: 3 s of kernels; at the least a fifth of it for kernels that are e^0.5 quicker; at the most all of 10 s."""
    assert response_energy(100.0, 3.0, 10.0, 0.5) == pytest.approx((300.0, 0.2 * 300.0 / math.exp(0.5), 1000.0))
    assert response_energy(100.0, 3.0, None, math.nan) == (300.0, None, None)
    assert cost_per_million(7.2, 5.0, 100.0) == pytest.approx(7.2 / 3600 * 5.0 / 100.0 * 1e6)


def test_power_is_the_sheet_s_or_a_limit_that_was_set() -> None:
    known = {card.name: card for card in datasheets()}
    none = next(name for name, card in known.items() if card.power_limit_w is None)
    assert power_of(none) is None and power_of(none, 100.0) is None and power_of("no-such-card") is None
    card = known["nvidia-h100-80gb-hbm3"]
    assert card.power_limit_w == 700.0
    assert power_of(card.name) == Power(700.0, card.power_source) and power_of(card.name, 350.0) == Power(
        350.0, card.power_source
    )


def test_the_interval_of_a_step_is_its_phase_s() -> None:
    """Prefill 0.1, decode 0.3, and the larger of both, widened twice where outside, over a cache."""
    interval = Interval({"prefill": [0.1] * 20, "decode": [0.3] * 20}, 2.0)
    steps = (Step(5.0, 0.0), Step(1.0, 1.0), Step(5.0, 1.0), Step(1.0, 0.0))
    for outside, factor in ((0.0, 1.0), (1.0, 2.0)):
        widths = [interval_width(step, outside, interval) for step in steps]
        assert widths == pytest.approx([0.1 * factor, 0.3 * factor, 0.3 * factor, 0.1 * factor])
    rows = Step(np.array([5.0, 1.0]), np.array([0.0, 3.0]))
    assert interval_width(rows, 0.0, interval).tolist() == pytest.approx([0.1, 0.3])
    for code, name in enumerate(("host", "memory", "compute")):
        times = PassTimes(2.0, 1.0, 1.5, code > 0, code > 1)
        ends = (times._replace(seconds=1.0), times._replace(seconds=4.0))
        found = step_prediction(Step(5.0), times, ends, interval, 0.0)
        assert found.bound == name and not found.extrapolated and found.interval == 0.9
        reach = math.hypot(math.log(2.0), 0.1)
        assert (found.low_s, found.high_s) == pytest.approx((2 / math.exp(reach), 2 * math.exp(reach)))
    unknown = step_prediction(Step(5.0), times, ends, Interval({}, 2.0), 1.0)
    assert (unknown.low_s, unknown.high_s, unknown.extrapolated) == (None, None, True)


# --- One prediction and many ----------------------------------------------------------------------

INTERVAL = Interval({"prefill": [0.1] * 20, "decode": [0.3] * 20}, 2.0)
SOURCE = Source(INTERVAL, 1000.0, "gpu", "runtime", "profile", "any", published=True)
VALUES = Values(7.0, 6.0, 1.0, 8.0, 3.0, 0.5, 1000.0, 2.0, 0.0)
SIDES = Ends(Times(5.0, 0.5, 6.0), Times(9.0, 3.0, 12.0))


def reach(own: float, end: float, width: float) -> float:
    """How far an end is from the time in log units: the host's part and the device's in quadrature."""
    return math.hypot(math.log(end / own), width)


@pytest.mark.parametrize(("outside", "factor"), [(0.0, 1.0), (1.0, 2.0)])
def test_a_prediction_s_ends_are_the_host_s_and_the_device_s_in_quadrature(outside: float, factor: float) -> None:
    """A response without residuals of its own is off as its parts are: three quarters are prefill, 0.15 in all."""
    found = one_prediction(VALUES._replace(outside=outside), SOURCE, SIDES, because=("why",), notes=("note",))
    widths = [0.1 * factor, 0.3 * factor, (0.75 * 0.1 + 0.25 * 0.3) * factor]
    lows = [own / math.exp(reach(own, end, w)) for own, end, w in zip((6, 1, 8), SIDES.fastest, widths, strict=True)]
    highs = [own * math.exp(reach(own, end, w)) for own, end, w in zip((6, 1, 8), SIDES.slowest, widths, strict=True)]
    assert (found.prefill_s_low, found.decode_s_per_token_low, found.response_s_low) == pytest.approx(tuple(lows))
    assert (found.prefill_s_high, found.decode_s_per_token_high, found.response_s_high) == pytest.approx(tuple(highs))
    alone = math.exp(widths[2])
    assert (found.response_s_low_published, found.response_s_high_published) == pytest.approx((8 / alone, 8 * alone))
    assert (found.extrapolated, found.extrapolated_because, found.notes) == (bool(outside), ("why",), ("note",))
    assert (found.bound, found.fits_memory, found.num_parameters, found.interval) == ("compute", True, 7, 0.9)


def test_without_ends_an_interval_is_for_the_profile_s_own_host() -> None:
    found = one_prediction(VALUES, SOURCE)
    assert (found.prefill_s_low, found.prefill_s_high) == pytest.approx((6 / math.exp(0.1), 6 * math.exp(0.1)))
    assert found.response_s_low_published is None and found.response_s_high_published is None
    unpublished = one_prediction(VALUES, SOURCE._replace(published=False), SIDES)
    assert unpublished.response_s_low_published is None
    full = one_prediction(VALUES._replace(peak_memory_bytes=1000.1), SOURCE)
    assert (
        not full.fits_memory
        and one_prediction(VALUES._replace(response_s=0.0, prefill_s=0.0), SOURCE).response_s == 0.0
    )
    unknown = one_prediction(VALUES, SOURCE._replace(interval=Interval({}, 2.0)), SIDES)
    assert (unknown.prefill_s_low, unknown.response_s_high, unknown.response_s_low_published) == (None, None, None)
    assert found.holds("prefill_s", 6.0) and not found.holds("prefill_s", 6.7) and not found.holds("prefill_s", 5.4)
    assert found.prefill_s_low is not None and found.prefill_s_high is not None
    assert found.holds("prefill_s", found.prefill_s_low) and found.holds("prefill_s", found.prefill_s_high)
    assert not unknown.holds("prefill_s", 6.0) and not unknown._replace(prefill_s_low=1.0).holds("prefill_s", 6.0)
    assert not unknown._replace(prefill_s_high=9.0).holds("prefill_s", 6.0)


def test_many_are_joined_from_parts_and_equal_one_by_one() -> None:
    """A number of a part stands for all of its rows."""
    first = Values(*(np.array([value, value]) for value in VALUES))
    parts = [first._replace(outside=0.0), VALUES._replace(prefill_s=np.array([3.0]), outside=np.array([1.0]))]
    ends = joined_ends([Ends(*(Times(*(np.array([x, x]) for x in side)) for side in SIDES)), SIDES], [2, 1])
    assert [column.tolist() for column in ends.fastest] == [[5.0] * 3, [0.5] * 3, [6.0] * 3]
    asked = []

    def price() -> Ends:
        asked.append(1)
        return ends

    many = Predictions.joined(parts, [2, 1], SOURCE, price, lambda row: Explained((f"row {row}",)))
    assert len(many) == 3 and many.prefill_s.tolist() == [6.0, 6.0, 3.0] and many.bound.tolist() == ["compute"] * 3
    assert (many.extrapolated.tolist(), many.fits_memory.tolist()) == ([False, False, True], [True] * 3)
    one = many[2]
    assert one == one_prediction(VALUES._replace(prefill_s=3.0, outside=1.0), SOURCE, SIDES, because=("row 2",))
    for phase, name in (("prefill", "prefill_s"), ("decode", "decode_s_per_token"), ("response", "response_s")):
        low, high = many.low_high(phase)
        each = [(getattr(many[i], f"{name}_low"), getattr(many[i], f"{name}_high")) for i in range(3)]
        assert list(zip(low.tolist(), high.tolist(), strict=True)) == [pytest.approx(pair) for pair in each]
    assert asked == [1]  # ends are priced once, when first asked for
    plain = Predictions.joined(parts, [2, 1], SOURCE)
    assert plain.ends is None and plain[0] == one_prediction(VALUES, SOURCE)
    assert plain.low_high("prefill")[0][0] == pytest.approx(6 / math.exp(0.1))
    none = Predictions.joined([], [], SOURCE)
    assert len(none) == 0 and [column.size for side in joined_ends([], []) for column in side] == [0] * 6


# --- Predictors -----------------------------------------------------------------------------------

SHAPE = ModelConfig(num_hidden_layers=12, hidden_size=512)


def test_a_slower_host_s_predictor_and_those_of_both_ends() -> None:
    toy = toy_predictor()
    same, slow = toy.with_slower_host(1.0), toy.with_slower_host(3.0)
    work = Workload(prompt_tokens=64, new_tokens=8)
    own, thrice = toy.predict(SHAPE, work), slow.predict(SHAPE, work)
    assert same.predict(SHAPE, work) == own and own.bound == "host"
    assert 2.0 * own.response_s < thrice.response_s <= 3.0 * own.response_s
    for factor in (0.0, -1.0, 1e6, math.inf, math.nan):
        with pytest.raises(Exception, match="positive factor"):
            toy.with_slower_host(factor)
    rtx = Predictor.load("3090")
    ends = rtx.targets("bfloat16")
    for name, target in (("low", ends[1]), ("high", ends[2])):
        there = rtx.at_end(name, work)  # type: ignore[arg-type]
        assert there.host == "published" and there.target("bfloat16").runtime.launch_s == pytest.approx(
            target.runtime.launch_s
        )
    alone = Predictor(rtx.profile, host="published")
    assert alone.at_end("low", work) is alone


def test_what_a_predictor_says_of_memory_steps_and_ranges() -> None:
    toy, work = toy_predictor(), Workload(prompt_tokens=64, new_tokens=8)
    memory = toy.memory(SHAPE.architecture(), work_of(work))
    assert memory.cache_bytes == 12 * 72 * 2 * 2 * 64 * 2  # 72 positions, keys and values of two heads of 64, 16 bits
    found, alone = toy.predict(SHAPE, work), forecast(SHAPE.architecture(), work_of(work), toy.target("bfloat16"))
    assert found.prefill_s_per_layer == pytest.approx(alone.prefill_blocks_s / 12)
    assert found.decode_s_per_layer == pytest.approx(alone.decode_blocks_s / 12)
    for prefix, fits in ((28, True), (29, False)):  # 64 of the prompt and 8 more: a table of 100 is full
        learned = replace(SHAPE.architecture(), positions=100.0)
        if fits:
            assert toy.predict(learned, work.model_copy(update={"cached_tokens": prefix})).response_s > 0.0
        else:
            with pytest.raises(UsageError, match="101 positions"):
                toy.predict(learned, work.model_copy(update={"cached_tokens": prefix}))
    retained = toy.memory(SHAPE.architecture(), work_of(work), retained=10.0)
    assert retained.cache_bytes == 12 * 82 * 2 * 2 * 64 * 2
    assert toy.step(SHAPE, Step(5, 100)).extrapolated_because == ("a pass of 5 tokens over 100 cached: never measured",)
    assert toy.step(SHAPE, Step([5, 6], 100)).extrapolated_because == ()
    shapes = {key: np.array([float(value)] * 2) for key, value in SHAPE.model_dump().items()}
    ranges = {**toy.profile.runtimes["eager"].ranges, "prompt_tokens": (1.0, 1000.0)}
    part = toy.profile.runtimes["eager"].model_copy(update={"ranges": ranges})
    narrow = Predictor(toy.profile.model_copy(update={"runtimes": {"eager": part}}))
    assert narrow.extrapolates(shapes).tolist() == [0.0, 0.0]
    assert narrow.extrapolates(shapes, Workload(prompt_tokens=1001)).tolist() == [1.0, 1.0]


def test_rows_are_priced_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, work = Predictor.load("3090"), Workload(prompt_tokens=64, new_tokens=8)
    columns = {
        "num_hidden_layers": np.array([4, 5, 6, 7, 8]),
        "hidden_size": np.array([512, 640, 768, 896, 1024]),
        "batch_size": 2,
    }
    whole = predictor.predict_many(columns, work)
    ends = [end.tolist() for end in whole.low_high("response")]
    monkeypatch.setattr("latmodel.predict.predictor.CHUNK", 2)
    parts = predictor.predict_many(columns, work)
    assert len(parts) == 5 and parts.response_s.tolist() == whole.response_s.tolist()
    assert [end.tolist() for end in parts.low_high("response")] == ends
    assert parts[4] == whole[4]


# --- The ends themselves --------------------------------------------------------------------------


def test_ends_are_on_the_fastest_and_the_slowest_host_with_their_own_kernels() -> None:
    """A format that nobody timed on the card has its overhead at the slow end alone, on the profile's own host too."""
    own, form = Predictor.load("3090").target("bfloat16"), FORMATS["int4-awq"]
    engine = own._replace(runtime=own.runtime._replace(step_s=3.0, sequence_s=2.0))
    assert ends_of(engine, SAME_HOST, None, "card") is None
    assert ends_of(engine, SAME_HOST, form, "nvidia-a100-sxm4-80gb") is None
    untimed = ends_of(engine, SAME_HOST, form, "card")
    assert untimed is not None and untimed[0].runtime == untimed[1].runtime == engine.runtime
    assert untimed[0].implementation != untimed[1].implementation != engine.implementation
    for hides, least in ((True, 0.0), (False, 0.5)):
        ends = ends_of(engine, HostFactors(0.5, 4.0, hides), None, "card")
        assert ends is not None
        assert (ends[0].runtime.step_s, ends[0].runtime.sequence_s) == (least * 3.0, least * 2.0)
        assert ends[0].runtime.launch_s == 0.5 * engine.runtime.launch_s
        assert (ends[1].runtime.step_s, ends[1].runtime.launch_s) == (12.0, 4.0 * engine.runtime.launch_s)
        assert ends[0].implementation is ends[1].implementation is engine.implementation


@pytest.mark.parametrize("weights", [None, "int4-awq"])
def test_times_at_both_ends_are_those_of_their_targets(weights: str | None) -> None:
    predictor, workload = Predictor.load("3090"), Workload(weights=weights, prompt_tokens=64, new_tokens=8)
    found = predictor.predict_many(SHAPE.model_dump(), workload).ends
    model, work = SHAPE.architecture(), work_of(workload)
    own, *targets = predictor.targets("bfloat16", work.numbers.format)
    assert found is not None
    for side, target in zip(found, targets, strict=True):
        alone = forecast(model, work, target)
        assert [float(column[0]) for column in side] == pytest.approx((alone.prefill_s, alone.step_s, alone.response_s))
    for name, target in zip(("low", "high"), targets, strict=True):
        there = predictor.at_end(name, workload).target("bfloat16", work.numbers.format)  # type: ignore[arg-type]
        assert there.implementation == target.implementation
    assert (targets[0].implementation == own.implementation) == (weights is None)


def test_an_engine_that_may_hide_its_step_has_none_at_the_fast_end() -> None:
    predictor = Predictor.load("a100", "vllm")
    own, fast, slow = (target.runtime.step_s for target in predictor.targets("bfloat16"))
    low, high = (predictor.at_end(end, Workload()).target("bfloat16").runtime.step_s for end in ("low", "high"))  # type: ignore[arg-type]
    assert predictor._hosts.hides_engine and own > 0.0
    assert (low, fast) == (0.0, 0.0) and high == pytest.approx(slow) == pytest.approx(predictor._hosts.slowest * own)


def test_several_devices_add_their_sums_to_times_and_ends_alike() -> None:
    h100, model = Predictor.load("h100", "vllm"), SHAPE.architecture()
    work = Workload(prompt_tokens=64, new_tokens=8, batch_size=2)
    part = h100.profile.runtimes["vllm"].model_copy(update={"conformal_scores": {}})
    blind = Predictor(h100.profile.model_copy(update={"runtimes": {"vllm": part}}), "vllm")
    link = link_of(h100.profile.gpu, 2)
    # Two a block and one of the embedding, of 512 values of 16 bits in each row.
    sums = {"prefill_s": 25 * link.all_reduce_s(128 * 1024.0), "decode_s_per_token": 25 * link.all_reduce_s(2 * 1024.0)}
    sums["response_s"] = sums["prefill_s"] + 8 * sums["decode_s_per_token"]
    for predictor in (h100, blind):
        alone, both = predictor.predict(share_of(model, 2), work).as_dict(), together(predictor, model, work, 2)
        for name, added in sums.items():
            for end in ("", "_low", "_high"):
                before = alone[f"{name}{end}"]
                expected = None if before is None else pytest.approx(before + added, rel=1e-12)
                assert both[f"{name}{end}"] == expected
        assert (alone["response_s_low"] is None) == (predictor is blind) and both["extrapolated"]


@pytest.mark.parametrize(
    "block",
    [
        Block(None, FeedForward(512.0)), Block(Attention(8.0, 8.0, 64.0), None), Block(Mamba2(4.0, 16.0, 2.0, 8.0), FeedForward(512.0)),
        Block(Attention(8.0, 8.0, 64.0), Experts(8.0, 2.0, 512.0)), Block(Attention(7.0, 7.0, 64.0), FeedForward(512.0)),
        Block(Attention(8.0, 8.0, 64.0), FeedForward(511.0)), Block(Attention(12.0, 3.0, 64.0), FeedForward(512.0)),
    ],
)  # fmt: skip
def test_only_blocks_of_attention_and_a_dense_ffn_that_divide_are_cut(block: Block) -> None:
    good = Group(2.0, Block(Attention(8.0, 2.0, 64.0), FeedForward(512.0)))
    whole = share_of(Architecture((good,), 256.0, 100.0), 4)
    cut = whole.groups[0].block
    assert (whole.vocab_size, whole.hidden_size) == (25.0, 256.0) and cut == Block(
        Attention(2.0, 1.0, 64.0), FeedForward(128.0)
    )
    for groups in ((Group(1.0, block),), (good, Group(1.0, block))):
        with pytest.raises(UsageError, match="--devices"):
            share_of(Architecture(groups, 256.0, 100.0), 4)
    for changes in ({"vocab_size": 102.0}, {"stem": (JoinedInput(),)}):
        with pytest.raises(UsageError, match="vocabulary"):
            share_of(replace(Architecture((good,), 256.0, 100.0), **changes), 4)
