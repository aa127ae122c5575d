"""Plans by hand: which cases there are and how large, prompts cut to a limit, rings that exceed a cache."""

import math
from dataclasses import replace
from typing import Any

import pytest
from calibration_support import config

from calibration.measure.cases import Case
from calibration.measure.plan import (
    CPU,
    EFFORTS,
    GPU,
    Plan,
    Scale,
    _around,
    _batch,
    _Maker,
    active_parameters,
    make_plan,
)
from calibration.measure.reference import Reference
from calibration.measure.samples import Rules
from calibration.observations.decoder_config import DecoderConfig
from latmodel.model.config import ModelConfig

# 128 wide, FFN of 384, two heads of 64 with one pair of keys and values (`calibration_support.config`).
BLOCK = 2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 384 + 2 * 128
AROUND = 256 * 128 + 128  # a tied embedding of 256 tokens, and the last norm
TOY = Scale((128, 512), (32, 512), (64, 1024), (128, 2048), (1024, 16384), 8, 1e9, cold_models=False)


def plan(effort: str = "quick", scale: Scale = TOY, cache_bytes: float = 1e6, **more: Any) -> Plan:
    return make_plan(effort, "torch-eager", "float32", scale, cache_bytes, **more)


def maker(cache_bytes: float = 0.0, most_flops: float = 1e18, dtype: str = "float32") -> _Maker:
    return _Maker("torch-eager", dtype, cache_bytes, most_flops)


@pytest.mark.parametrize(
    ("share", "most", "batch"),
    [
        (0.0, 32, 1),
        (0.549, 32, 1),
        (0.55, 32, 2),
        (0.639, 32, 2),  # a fifth of what is left
        (0.641, 32, 4),
        (0.729, 32, 4),
        (0.731, 32, 8),
        (0.99, 32, 32),
        (0.774, 4, 2),
        (0.776, 4, 4),
    ],
)
def test_more_than_half_of_the_points_are_of_one_sequence(share: float, most: int, batch: int) -> None:
    """The others are powers of two, equally many of each."""
    assert _batch(share, most) == batch


@pytest.mark.parametrize(
    ("effort", "shapes", "held_out", "passes", "heads", "models", "rounds"),
    [("quick", 19, 4, 4, 2, 2, 2), ("normal", 40, 10, 8, 4, 3, 3), ("rigorous", 96, 24, 20, 6, 4, 4)],
)
def test_efforts_as_documented(
    effort: str, shapes: int, held_out: int, passes: int, heads: int, models: int, rounds: int
) -> None:
    """docs/calibration.md: shapes (those held out), passes over a cache; heads and whole models, each in both phases."""
    made = plan(effort)
    blocks = [case for case in made.cases if case.part == "blocks"]
    assert len(blocks) == 2 * shapes + passes
    assert sum(case.held_out for case in blocks if not case.workload.cached_tokens) == 2 * held_out
    assert sum(case.workload.cached_tokens > 0 for case in blocks) == passes
    assert [sum(case.part == part for case in made.cases) for part in ("head", "model")] == [heads, 2 * models]
    assert made.rules.rounds == rounds


def test_held_out_shapes_are_spread_over_the_plan() -> None:
    """Every fifth of 19, from the third on; every fourth of 40 and of 96: 0-based 2, 6, 10 …"""
    for effort, every, count in (("quick", 5, 4), ("normal", 4, 10), ("rigorous", 4, 24)):
        names = [case.name for case in plan(effort).cases if case.held_out and case.name.endswith("-prefill")]
        assert names == [f"held-{2 + every * i:02d}-prefill" for i in range(count)]


def test_samples_of_each_effort() -> None:
    """A rigorous sample may take five times as long as a quick one and stops when it is twice as sure."""
    rules = {effort: made[4] for effort, made in EFFORTS.items()}
    assert [rules[name].sample_s for name in ("quick", "normal", "rigorous")] == [0.3, 0.5, 1.5]
    assert rules["rigorous"].precision == 0.5 * rules["normal"].precision == 0.5 * rules["quick"].precision


def test_names_of_a_shape_differ_in_what_is_timed() -> None:
    cases = plan().cases
    first = [case.name for case in cases if case.name.startswith("00")]
    assert first[:2] == ["00-prefill", "00-decode"]
    assert [case.phase for case in cases if case.name.startswith("00-")][:2] == ["prefill", "decode"]
    passes = [case for case in cases if case.name.endswith("-pass")]
    assert not any(case.workload.cached_tokens for case in plan(passes=False).cases)
    assert [case.workload.prompt_tokens for case in passes] == [2, 4, 8, 16] and {c.phase for c in passes} == {
        "prefill"
    }
    # The middles of four equal parts of 19 shapes; the third, with 12 of 19, is held out.
    assert [int(case.name.removeprefix("held-")[:2]) for case in passes] == [2, 7, 11, 16]


def test_the_two_scales() -> None:
    """A card's blocks are of models of 1B to 70B, a CPU's of what it answers with in seconds."""
    assert (GPU.hidden, GPU.prompt, GPU.context) == ((512, 8 * 1024), (64, 4096), (64, 8192))
    assert (GPU.cached, GPU.vocab, GPU.most_batch, GPU.most_flops) == ((512, 16384), (16384, 131072), 32, 1e14)
    assert (CPU.hidden, CPU.prompt, CPU.context) == ((128, 1024), (32, 512), (32, 4096))
    assert (CPU.cached, CPU.vocab, CPU.most_batch, CPU.most_flops) == ((128, 4096), (2048, 32768), 4, 8e9)
    assert CPU.cold_models and not GPU.cold_models


def sizes(case: Case) -> tuple[int, int, int]:
    return case.workload.batch_size, case.workload.prompt_tokens, case.config.num_hidden_layers


def test_sizes_of_a_case_are_those_of_its_point() -> None:
    """By the coordinates: prompt (5th), batch (6th), context (7th)."""
    from calibration.measure.shapes import points

    free = replace(TOY, most_flops=1e18)
    cases = {case.name: case for case in plan(scale=free, cache_bytes=0.0).cases}
    for index, point in enumerate(points(19, 0)):
        name = f"{'held-' if index in (2, 7, 12, 17) else ''}{index:02d}"
        batch, prompt = _batch(point[5], 8), round(32 * 16 ** point[4])
        assert sizes(cases[f"{name}-decode"]) == (batch, round(64 * 16 ** point[6]), 2)
        # Of many long prompts one is read.
        assert sizes(cases[f"{name}-prefill"]) == (batch if batch * prompt <= 512 else 1, prompt, 2)
        assert cases[f"{name}-decode"].workload.new_tokens == 4
        if f"{name}-pass" in cases:
            assert cases[f"{name}-pass"].workload.cached_tokens == round(128 * 16 ** point[6])
            assert cases[f"{name}-pass"].workload.batch_size == batch


def test_a_decode_ring_exceeds_the_cache_and_a_prefill_ring_less_the_more_rows_read_it() -> None:
    """Cache of five blocks in float32: 3 · 5. In prefill 0.4 of it: six, up to 256 rows, at 512 rows half of that."""
    one = maker(cache_bytes=5.0 * BLOCK * 4.0 * (1.0 - 1e-9))
    depths = [
        one.block("a", phase, config(), prompt, batch, False, cached).config.num_hidden_layers  # type: ignore[arg-type]
        for phase, prompt, batch, cached in (
            ("decode", 64, 1, 0), ("prefill", 16, 1, 0), ("prefill", 256, 1, 0), ("prefill", 128, 4, 0),
            ("prefill", 512, 1, 0), ("prefill", 16, 1, 9),
        )
    ]  # fmt: skip
    assert depths == [15, 6, 6, 3, 3, 15]


def test_prompts_are_cut_to_so_many_operations() -> None:
    """Two blocks, and what lies around them: two operations a weight and row."""
    weights = 2 * BLOCK + AROUND
    one = maker(most_flops=2.0 * weights * 100.5)
    assert one.block("a", "prefill", config(), 400, 1, False).workload.prompt_tokens == 100
    assert one.block("a", "prefill", config(), 400, 3, False).workload.prompt_tokens == 33
    assert one.block("a", "prefill", config(), 90, 1, False).workload.prompt_tokens == 90
    assert one.block("a", "prefill", config(), 400, 20, False).workload.prompt_tokens == 16  # at least
    assert one.block("a", "decode", config(), 400, 1, False).workload.prompt_tokens == 400
    assert one.block("a", "prefill", config(), 400, 1, False, cached=7).workload.prompt_tokens == 400


def test_what_a_case_of_blocks_says() -> None:
    one = maker(dtype="bfloat16").block("a", "prefill", config(), 40, 3, True, cached=7)
    assert (one.name, one.part, one.phase, one.runtime, one.held_out) == ("a", "blocks", "prefill", "torch-eager", True)
    work = one.workload
    assert (work.prompt_tokens, work.batch_size, work.cached_tokens, work.dtype) == (40, 3, 7, "bfloat16")
    assert work.logits == "last" and not one.cold


QWEN = DecoderConfig.of(
    {"model_type": "qwen3", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "head_dim": 64,
     "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 1024}
)  # fmt: skip
QWEN_BLOCK = BLOCK + 2 * 64  # norms of queries and of keys


def test_a_decoder_runs_as_a_model_of_its_kinds_of_layers() -> None:
    one = maker().decoder("a", "decode", QWEN, 64, 2, True)
    assert (one.part, one.config.num_hidden_layers, one.config.vocab_size) == ("model", 1, 256)
    assert (one.workload.batch_size, one.workload.new_tokens, one.held_out) == (2, 4, True)
    small = DecoderConfig.of({**QWEN.fields, "vocab_size": 100})
    assert maker().decoder("a", "decode", small, 64, 2, False).config.vocab_size == 100
    # Five blocks in float32 fill the cache: 15; in prefill six, of few rows.
    filled = maker(cache_bytes=5.0 * QWEN_BLOCK * 4.0 * (1.0 - 1e-9))
    assert filled.decoder("a", "decode", QWEN, 64, 1, False).config.num_hidden_layers == 15
    assert filled.decoder("a", "prefill", QWEN, 64, 1, False).config.num_hidden_layers == 6
    assert filled.decoder("a", "prefill", QWEN, 128, 4, False).config.num_hidden_layers == 3


def test_prompts_of_a_decoder_may_take_four_times_the_operations() -> None:
    assert active_parameters(QWEN.architecture()) == 3 * QWEN_BLOCK
    one = maker(most_flops=2.0 * QWEN_BLOCK * 100.5 / 4.0)
    assert one.decoder("a", "prefill", QWEN, 400, 1, False).workload.prompt_tokens == 100
    assert one.decoder("a", "prefill", QWEN, 400, 3, False).workload.prompt_tokens == 33
    assert one.decoder("a", "prefill", QWEN, 400, 50, False).workload.prompt_tokens == 16
    assert one.decoder("a", "decode", QWEN, 400, 1, False).workload.prompt_tokens == 400
    two = maker(cache_bytes=5.0 * QWEN_BLOCK * 4.0 * (1.0 - 1e-9), most_flops=2.0 * QWEN_BLOCK * 600.5 / 4.0)
    assert two.decoder("a", "prefill", QWEN, 200, 1, False).workload.prompt_tokens == 100  # six blocks


def test_heads_from_narrow_with_many_tokens_to_wide_with_few() -> None:
    """Two: at a quarter and three quarters of the ranges, by their logarithms, in steps of 64."""
    first, last = maker().heads(2, TOY, None)
    assert (first.config.hidden_size, first.config.vocab_size) == (192, 8192)  # 128 · 4^¼ = 181, 1024 · 16^¾
    assert (last.config.hidden_size, last.config.vocab_size) == (384, 2048)  # 362
    assert [case.config.num_attention_heads for case in (first, last)] == [3, 6]
    assert [case.config.intermediate_size for case in (first, last)] == [4 * 192, 4 * 384]
    assert (first.name, first.phase, first.workload.logits) == ("head-0", "decode", "last")
    assert (last.name, last.phase, last.workload.logits) == ("head-1", "prefill", "all")
    assert {(case.workload.prompt_tokens, case.workload.new_tokens) for case in (first, last)} == {(16, 1)}
    assert {(case.workload.batch_size, case.part, case.held_out) for case in (first, last)} == {(1, "head", False)}
    assert {case.config.head_dim for case in (first, last)} == {64}


@pytest.mark.parametrize(("dtype", "copies"), [("float32", 5), ("bfloat16", 10)])
def test_copies_of_a_head_exceed_the_cache_three_times(dtype: str, copies: int) -> None:
    (one,) = maker(cache_bytes=5 / 3 * 4.0 * 256 * 4096 * (1.0 - 1e-9), dtype=dtype).heads(1, TOY, None)
    assert (one.config.hidden_size, one.config.vocab_size) == (256, 4096)  # in the middle
    assert one.config.num_hidden_layers == copies and one.phase == "prefill"
    assert maker(dtype=dtype).heads(1, TOY, None)[0].config.num_hidden_layers == 1


def test_heads_like_another_model_are_its_own() -> None:
    like = ModelConfig(num_hidden_layers=4, hidden_size=960, intermediate_size=2560, num_attention_heads=15,
                       vocab_size=5000)  # fmt: skip
    found = maker().heads(3, TOY, like)
    assert {(case.config.hidden_size, case.config.vocab_size) for case in found} == {(960, 5000)}
    assert [case.phase for case in found] == ["decode", "decode", "prefill"]


@pytest.mark.parametrize(("cold", "steps"), [(True, 1), (False, 8)])
def test_whole_models_are_few_and_narrow(cold: bool, steps: int) -> None:
    """Of two, four, six … blocks, as narrow as can be and twice that, in turn, with prompts of 16, 32, 48 …"""
    found = maker().models(3, replace(TOY, cold_models=cold))
    assert [case.name for case in found[:2]] == ["model-0-prefill", "model-0-decode"]
    assert [case.phase for case in found] == ["prefill", "decode"] * 3
    shapes = [(case.config.num_hidden_layers, case.config.hidden_size, case.workload.prompt_tokens) for case in found]
    assert shapes[::2] == shapes[1::2] == [(2, 128, 16), (4, 256, 32), (6, 128, 48)]
    for case in found:
        hidden = case.config.hidden_size
        assert (case.config.intermediate_size, case.config.num_attention_heads) == (3 * hidden, hidden // 64)
        assert (case.config.num_key_value_heads, case.config.head_dim) == (hidden // 64, 64)
        assert (case.workload.new_tokens, case.workload.batch_size, case.cold) == (steps, 1, cold)
        assert (case.config.vocab_size, case.part, case.held_out) == (1024, "model", False)


def test_references_are_a_block_of_middling_width_in_both_phases() -> None:
    """256 wide, between 128 and 512. The prefill's ring is two blocks, the decode's three times the cache."""
    prefill, decode = maker(cache_bytes=1e9).references(TOY)
    for case, phase, new in ((prefill, "prefill", 4), (decode, "decode", 1)):
        assert (case.name, case.phase, case.part) == (f"reference-{phase}", phase, "blocks")
        assert (case.config.hidden_size, case.config.intermediate_size) == (256, 768)
        assert (case.config.num_attention_heads, case.config.num_key_value_heads, case.config.head_dim) == (4, 4, 64)
        assert (case.workload.prompt_tokens, case.workload.batch_size) == (64, 1) and not case.held_out
        assert case.workload.new_tokens == new
    assert prefill.config.num_hidden_layers == 2
    block = 4 * 256 * 256 + 3 * 256 * 768 + 2 * 256
    assert decode.config.num_hidden_layers == math.ceil(3e9 / (4 * block))


@pytest.mark.parametrize(
    ("hidden", "expected"), [(256, (128, 512)), (1024, (512, 1024)), (320, (128, 512)), (2048, (1024, 2048)), (64, (64, 128))]
)  # fmt: skip
def test_blocks_around_a_decoder_are_half_to_twice_as_wide(hidden: int, expected: tuple[int, int]) -> None:
    """No wider than the device's widest, or than the decoder."""
    like = DecoderConfig.of({**QWEN.fields, "hidden_size": hidden})
    assert _around(TOY, like).hidden == expected
    assert _around(TOY, like).prompt == TOY.prompt and _around(TOY, None) == TOY


def test_of_a_decoder_s_shapes_every_third_is_a_llama_block() -> None:
    cases = plan(like=QWEN).cases
    plain = {int(case.name.removeprefix("held-")[:2]) for case in cases if case.part == "blocks"}
    assert plain == {0, 3, 6, 9, 12, 15, 18}
    own = [case for case in cases if isinstance(case.config, DecoderConfig)]
    assert len(own) == 2 * 12 and {case.part for case in own} == {"model"}


def test_seconds_of_a_plan_add_up() -> None:
    """Two cases, of 1 s and of two steps of 2 s; a reference of 0.01 s, run three times, beside each; two rounds."""
    prefill, decode = (maker().block(name, name, config(), 64, 1, False) for name in ("prefill", "decode"))  # type: ignore[arg-type]
    decode = replace(decode, workload=decode.workload.model_copy(update={"new_tokens": 2}))
    seconds = {"prefill": 1.0, "decode": 2.0, "reference": 0.01}
    reference = replace(prefill, name="reference")
    made = Plan((prefill, decode), (reference,), Rules(rounds=2, precision=0.5))
    # Two runs to warm up, of which the second counts, and two more blocks: 4 s and 16 s; set-up of 0.15 s.
    assert Reference.runs(0.01) == 3
    expected = 1.2 * 2 * (4.0 + 0.15 + 16.0 + 0.15 + 2 * 0.01 * (1 + 3))
    assert made.estimate_s(lambda case: seconds[case.name]) == pytest.approx(expected)


def test_a_fingerprint_is_short_and_tells_every_part_apart() -> None:
    made = plan()
    assert len(made.fingerprint) == 16 and int(made.fingerprint, 16) >= 0
    others = [
        replace(made, cases=made.cases[:-1]), replace(made, references=made.references[:1]),
        replace(made, rules=Rules(rounds=9)), plan(cache_bytes=2e6),
    ]  # fmt: skip
    assert len({made.fingerprint, *(one.fingerprint for one in others)}) == 5
