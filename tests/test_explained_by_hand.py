"""Where seconds go by hand: rows of operators, parts of a response, one step more or less, and what a price rests on."""

from types import SimpleNamespace

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Workload
from latmodel.device.engine_options import EngineOptions
from latmodel.device.hosts import SAME_HOST, HostFactors
from latmodel.errors import ProfileError
from latmodel.laws.dispatch import op_seconds
from latmodel.model.formats import FORMATS
from latmodel.model.ops import OpCost, OpKind, gemm, pointwise
from latmodel.model.step import Step
from latmodel.predict.breakdown import Run, breakdown
from latmodel.predict.notes import check_cache, format_notes, host_notes
from latmodel.predict.timeline import mean_overlapped
from latmodel.predict.waterfall import DEVICE_PARTS, HOST_PARTS, _op_parts, _shared, _shared_mean, waterfall
from latmodel.quality.shapes import with_counts
from latmodel.search.steps import _moves, one_steps

TOY, QUICK = toy_predictor(), toy_predictor(launch_s=0.0, block_s=0.0, prefill_block_s=0.0, pass_s=0.0, token_s=0.0)
SHAPE = ModelConfig(
    num_hidden_layers=6,
    hidden_size=512,
    intermediate_size=1024,
    num_attention_heads=8,
    num_key_value_heads=2,
    vocab_size=4096,
)


# --- Rows of operators ----------------------------------------------------------------------------


@pytest.mark.parametrize("logits", ["last", "all"])
def test_rows_are_every_operator_of_the_prompt_and_of_the_last_step(logits: str) -> None:
    work = Workload(prompt_tokens=300, new_tokens=20, batch_size=2, logits=logits)
    rows = breakdown(TOY, SHAPE, work)
    prefill, decode = ([row for row in rows if row["phase"] == phase] for phase in ("prefill", "decode"))
    assert len(prefill) + len(decode) == len(rows)
    for some, tokens, logit_rows, pairs in (
        (prefill, 600, 600 if logits == "all" else 2, 2 * 300 * 301 / 2), (decode, 2, 2, 2 * 319 + 2),
    ):  # fmt: skip
        # Queries and output, keys and values, gate, up and down; the head's product of so many rows.
        products = 6 * tokens * 2 * (2 * 512 * 512 + 2 * 512 * 128 + 3 * 512 * 1024) + 2 * logit_rows * 512 * 4096
        assert sum(row["flops"] for row in some) == pytest.approx(products + 6 * 4 * 8 * 64 * pairs, rel=1e-9)
        assert {row["count"] for row in some} == {6.0, 1.0}
    target = TOY.target("bfloat16")
    assert sum(row["device_s"] for row in prefill) == pytest.approx(
        TOY.step(SHAPE, Step(300, 0, 2), work).device_s, rel=1e-9
    )
    assert sum(row["device_s"] for row in decode) == pytest.approx(TOY.step(SHAPE, Step(1, 319, 2)).device_s, rel=1e-9)
    for row in rows:
        assert row["host_s"] == pytest.approx(row["kernels"] * target.runtime.launch_s)
        assert row["mfu"] == pytest.approx(row["flops"] / row["device_s"] / 71e12)
        assert row["mbu"] == pytest.approx(row["bytes"] / row["device_s"] / 936e9)
        assert (row["bound"] == "host") == (row["host_s"] >= row["device_s"])


def test_arithmetic_binds_long_products_and_memory_what_reads() -> None:
    wide, work = ModelConfig(num_hidden_layers=2, hidden_size=4096), Workload(prompt_tokens=8000)
    rows = {(row["phase"], row["operator"]): row for row in breakdown(QUICK, wide, work)}
    prefill, decode = rows["prefill", "down_proj"], rows["decode", "down_proj"]
    assert (prefill["bound"], decode["bound"]) == ("compute", "memory")
    assert prefill["mfu"] > 0.5 > 0.1 > decode["mfu"] and decode["mbu"] > 0.5 > prefill["mbu"]
    eight = breakdown(toy_predictor(float8=True), wide, work.model_copy(update={"weights": "fp8"}))
    down = next(row for row in eight if row["operator"] == "down_proj")
    assert down["mfu"] == pytest.approx(down["flops"] / down["device_s"] / 142e12)


@pytest.mark.parametrize(("compute_s", "bound"), [(1.0, "compute"), (0.99, "memory")])
def test_half_of_a_kernel_s_time_makes_it_bound_by_arithmetic(
    compute_s: float, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = SimpleNamespace(seconds=2.0, compute_s=compute_s)
    monkeypatch.setattr("latmodel.predict.breakdown.op_seconds", lambda *_, **__: time)
    assert {row["bound"] for row in breakdown(QUICK, SHAPE, Workload())} == {bound}
    time.seconds = 0.0
    rows = breakdown(QUICK, SHAPE, Workload())
    assert {(row["mfu"], row["mbu"], row["bound"]) for row in rows} == {(0.0, 0.0, "host")}


# --- Parts of a response --------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", [TOY, QUICK, Predictor.load("a100", "vllm")])
@pytest.mark.parametrize("batch", [1, 64])
def test_parts_add_up_to_the_response(predictor: Predictor, batch: int) -> None:
    work = Workload(prompt_tokens=700, new_tokens=30, batch_size=batch)
    fall, whole = waterfall(predictor, SHAPE, work), predictor.predict(SHAPE, work)
    assert sum(fall.prefill.values()) == pytest.approx(whole.prefill_s, rel=1e-9)
    assert sum(fall.decode.values()) == pytest.approx(30 * whole.decode_s_per_token, rel=1e-9)
    assert {*fall.prefill, *fall.decode} <= {*HOST_PARTS, *DEVICE_PARTS}
    of_host = sum(map(fall.total, HOST_PARTS))
    assert fall.host_share == pytest.approx(of_host / whole.response_s, rel=1e-9)
    r = predictor.target("bfloat16").runtime
    kernels = sum(row["kernels"] for row in breakdown(predictor, SHAPE, work) if row["phase"] == "decode")
    assert fall.kernels_per_step == kernels
    engine = r.step_s + batch * r.sequence_s
    assert fall.total("engine step") == pytest.approx(engine + 30 * engine, rel=1e-9)
    assert fall.prefill["pass"] == r.pass_s and fall.total("nothing") == 0.0
    if predictor is TOY and batch == 1:  # the host binds each step
        assert fall.decode["blocks"] == pytest.approx(30 * 6 * r.block_s)
        assert fall.decode["kernel launches"] == pytest.approx(30 * kernels * r.launch_s)
        assert (fall.decode["token loop"], fall.decode["pass"]) == pytest.approx((30 * r.token_s, 30 * r.pass_s))


@pytest.mark.parametrize("logits", ["last", "all"])
def test_parts_of_every_logit_are_a_head_of_all_rows(logits: str) -> None:
    work = Workload(prompt_tokens=2000, new_tokens=0, logits=logits)
    fall = waterfall(QUICK, SHAPE, work)
    assert sum(fall.prefill.values()) == pytest.approx(QUICK.predict(SHAPE, work).prefill_s, rel=1e-9)
    assert sum(fall.decode.values()) == 0.0


def test_an_operator_s_seconds_go_to_its_arithmetic_or_to_its_bytes() -> None:
    target = TOY.target("bfloat16")
    long, short = gemm("g", 8192.0, 4096.0, 4096.0, 2.0, 2.0), gemm("g", 1.0, 4096.0, 4096.0, 2.0, 2.0)
    for op in (long, short, pointwise("p", 1e7, moves=2.0, kernels=1.0, bytes_each=2.0)):
        time = op_seconds(op, target.sheet, target.device, 5e-7)
        found, work, fixed = _op_parts(Run(3.0, op, 5e-7), target), 3 * time.work_s, 3 * time.fixed_s
        assert found["kernel floors"] == pytest.approx(fixed) and sum(found.values()) == pytest.approx(work + fixed)
        if op is long:
            assert found["arithmetic"] == pytest.approx(work)
        else:
            for part, nbytes in (("weights", op.weight_bytes), ("KV cache", 0.0), ("activations", op.activation_bytes)):
                assert found[part] == pytest.approx(work * nbytes / op.bytes)
    nothing = OpCost("p", OpKind.POINTWISE, kernels=2.0)
    assert set(_op_parts(Run(3.0, nothing, 5e-7), target)) == {"kernel floors"}


def test_two_timelines_share_what_does_not_hide() -> None:
    assert _shared({"a": 3.0, "b": 1.0}, {"x": 2.0}, 0.5) == {"a": 3.0, "b": 1.0, "x": 1.0}
    assert _shared({"a": 2.0}, {"x": 2.0}, 0.5) == {"a": 2.0, "x": 1.0}  # of equal ones the host counts
    assert _shared({"a": 1.0}, {"x": 1.5, "y": 0.5}, 0.25) == {"a": 0.25, "x": 1.5, "y": 0.5}


@pytest.mark.parametrize(
    ("host", "first", "last", "share"),
    [(2.0, 1.0, 3.0, 0.5), (5.0, 1.0, 3.0, 1.0), (0.5, 1.0, 3.0, 0.0), (2.0, 2.0, 2.0, 1.0), (1.0, 2.0, 2.0, 0.0), (3.0, 2.0, 2.0, 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("loss", [0.0, 0.25])
def test_of_growing_steps_the_host_binds_those_before_the_crossing(
    host: float, first: float, last: float, share: float, loss: float
) -> None:
    found = _shared_mean({"a": 0.75 * host, "b": 0.25 * host}, {"x": first}, {"x": 0.5 * last, "y": 0.5 * last}, loss)
    assert sum(found.values()) == pytest.approx(mean_overlapped(host, first, last, loss), rel=1e-12)
    assert found["a"] == pytest.approx(0.75 * host * (share + loss * (1 - share)))
    assert found["x"] / found["y"] == pytest.approx((first + 0.5 * last) / (0.5 * last)) if found["y"] else True
    assert _shared_mean({"a": 1.0}, {}, {}, 0.5) == {"a": 1.0}


# --- One step more or less ------------------------------------------------------------------------

HERE = {
    "num_hidden_layers": 6, "hidden_size": 512, "intermediate_size": 1024, "vocab_size": 4096, "batch_size": 1,
    "prompt_tokens": 300, "new_tokens": 1, "num_key_value_heads": 2, "num_attention_heads": 8,
}  # fmt: skip


def test_a_step_is_one_of_depth_64_of_widths_1024_of_words_and_a_group_of_heads() -> None:
    moves = {(name, row[name] - HERE[name]): row for name, row in _moves(HERE, 64)}
    steps = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "vocab_size": 1024, "prompt_tokens": 64,
             "new_tokens": 1, "num_key_value_heads": 1}  # fmt: skip
    assert set(moves) == {(name, sign * size) for name, size in steps.items() for sign in (1, -1)} | {("batch_size", 1)}
    assert moves["num_key_value_heads", 1]["num_attention_heads"] == 12
    assert moves["num_key_value_heads", -1]["num_attention_heads"] == 4
    small = dict(
        _moves({**HERE, "hidden_size": 64, "num_key_value_heads": 1, "num_attention_heads": 3, "new_tokens": 0}, 64)
    )
    assert small["hidden_size"]["hidden_size"] == 128  # none below 1: the last of a name is the only one
    assert small["num_key_value_heads"]["num_attention_heads"] == 6 and small["new_tokens"]["new_tokens"] == 1
    assert dict(_moves({**HERE, "hidden_size": 65}, 64))["hidden_size"]["hidden_size"] == 1
    for name, row in moves:
        assert {key for key in HERE if moves[name, row][key] != HERE[key]} <= {name, "num_attention_heads"}


def test_every_step_is_the_difference_to_a_prediction_of_its_own() -> None:
    work = Workload(prompt_tokens=300, new_tokens=1)

    def worth(shapes):  # type: ignore[no-untyped-def]
        return 3.0 * shapes["num_hidden_layers"] + shapes["num_parameters"]

    here = TOY.predict(SHAPE, work)
    steps = one_steps(TOY, SHAPE, work, worth)
    assert len(steps) == 15
    for one in steps:
        load = {one.dimension: one.after} if one.dimension in work.model_fields_set | {"batch_size"} else {}
        shape = {} if load else {one.dimension: one.after}
        if one.dimension == "num_key_value_heads":
            shape["num_attention_heads"] = 4 * one.after
        there = TOY.predict(SHAPE.model_copy(update=shape), work.model_copy(update=load))
        assert one.before == HERE[one.dimension] and one.response_s == pytest.approx(there.response_s, rel=1e-9)
        assert one.response_change_s == pytest.approx(there.response_s - here.response_s, abs=1e-12)
        assert one.memory_change_bytes == pytest.approx(there.peak_memory_bytes - here.peak_memory_bytes)
        assert one.parameters_change == there.num_parameters - here.num_parameters
        deeper = 3.0 * (one.after - one.before) if one.dimension == "num_hidden_layers" else 0.0
        assert one.quality_change == pytest.approx(one.parameters_change + deeper)
        assert one.as_dict()["dimension"] == one.dimension
    flat = one_steps(TOY, SHAPE, work, lambda shapes: np.float64(7.0))
    assert {one.quality_change for one in flat} == {0.0}
    assert with_counts(SHAPE.model_dump())["num_parameters"] == here.num_parameters


# --- What a price rests on ------------------------------------------------------------------------


def test_notes_say_whose_host_an_interval_is_for() -> None:
    profile = Predictor.load("3090").profile
    name, others = next(iter(profile.runtimes)), HostFactors(0.5, 2.0)
    part = profile.runtimes[name]
    alone = [note for note in host_notes(profile, name, "published", SAME_HOST) if "measured alone" in note]
    assert len(alone) == 1 and part.host in alone[0]
    assert not [
        note for note in host_notes(profile, name, "any", SAME_HOST) if "measured" in note and note != part.note
    ]
    wide = [note for note in host_notes(profile, name, "any", others) if "0.5 to 2 times" in note]
    assert len(wide) == 1 and "--host-only" in wide[0]
    for low, high, told in ((0.5, 0.71, 1), (0.5, 0.7, 0), (1.0, 1.0, 0)):  # a ratio of 1.4 and more is worth a word
        few = profile.model_copy(update={"runtimes": {name: part.model_copy(update={"host_range": (low, high)})}})
        assert sum("few rows" in note for note in host_notes(few, name, "published", SAME_HOST)) == told
        assert not any("few rows" in note for note in host_notes(few, name, "any", others))
    toy = TOY.profile
    assert host_notes(toy, "eager", "published", others) == host_notes(toy, "eager", "any", others) == []
    noted = toy.model_copy(update={"runtimes": {"eager": toy.runtimes["eager"].model_copy(update={"note": "mind"})}})
    assert host_notes(noted, "eager", "any", SAME_HOST) == ["mind"]


def test_notes_of_formats_say_what_was_not_timed() -> None:
    target = TOY.target("bfloat16").implementation

    def notes(name: str | None) -> list[str]:
        return format_notes(TOY.profile, target, Workload(weights=name))

    assert notes(None) == [] and notes("int4-gptq") == []
    assert ["no time of nvfp4 weights" in note for note in notes("nvfp4")] == [True]
    assert [" multiplied in bfloat16" in note for note in notes("fp8")][-1:] == [True]
    h100 = Predictor.load("h100", "vllm")
    of_h100 = [
        format_notes(h100.profile, h100.target("bfloat16").implementation, Workload(weights=name))
        for name in ("fp8", "fp8-block")
    ]
    assert (
        [len(some) for some in of_h100] == [1, 1]
        and "scales by block" in of_h100[1][0]
        and "scales by block" not in of_h100[0][0]
    )
    error = next(row.mape_percent for row in h100.profile.quality.errors if row.phase == "gemm fp8")
    assert f"({error:.1f} % off on shapes held out)" in of_h100[0][0]
    blind = h100.profile.model_copy(update={"quality": h100.profile.quality.model_copy(update={"errors": []})})
    assert (
        "off on shapes" not in format_notes(blind, h100.target("bfloat16").implementation, Workload(weights="fp8"))[0]
    )
    assert FORMATS["fp8"].group is None


def test_a_cache_in_a_format_that_the_runtime_does_not_have_is_refused() -> None:
    llama = Predictor.load("3090", "llama.cpp")
    implementation, part = TOY.target("bfloat16").implementation, TOY.profile.runtimes["eager"]
    check_cache(part, implementation, Workload(kv_cache="fp8"))
    check_cache(part, implementation, Workload())
    with pytest.raises(ProfileError, match="no cache in q8_0"):
        check_cache(part, implementation, Workload(kv_cache="q8_0"))
    llama_cpp = llama.target("bfloat16").implementation
    for measured, asked, advice in ((None, "q8_0", "leave out --kv-cache"), ("q8_0", None, "use --kv-cache q8_0")):
        engine = EngineOptions(kv_cache=measured)
        theirs = part.model_copy(update={"engine": engine})
        check_cache(theirs, llama_cpp, Workload(kv_cache=measured))
        with pytest.raises(ProfileError, match=advice):
            check_cache(theirs, llama_cpp, Workload(kv_cache=asked))
    check_cache(part, llama_cpp, Workload(kv_cache="q8_0"))
