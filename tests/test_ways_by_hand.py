"""Chunks, drafts and denoised blocks as sums of single steps, each asked for one by one."""

import math
from typing import Any

import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Step, Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.config import MAX_DIMENSION
from latmodel.model.transformer import dense_ops
from latmodel.predict.acceptance import break_even_acceptance
from latmodel.predict.chunks import Chunks, Part, mixed_times, part_of
from latmodel.predict.forward import block_load, head_load, load
from latmodel.predict.generation import Denoising, Draft, check_way, generate
from latmodel.predict.inputs import work_of
from latmodel.predict.passes import PassTimes, pass_cost
from latmodel.predict.self_drafts import first_blocks

TOY = toy_predictor()
QUICK = toy_predictor(launch_s=0.0, block_s=0.0, prefill_block_s=0.0, pass_s=0.0, token_s=0.0)  # no host to speak of
SHAPE = ModelConfig(num_hidden_layers=6, hidden_size=1024, num_attention_heads=16, num_key_value_heads=4)
SMALL = ModelConfig(num_hidden_layers=2, hidden_size=512)
MODEL, LITTLE = SHAPE.architecture(), SMALL.architecture()
EVERY = Workload(logits="all")


def seconds(model: ModelConfig, new: int, cached: int, batch: int = 1, work: Workload | None = None) -> float:
    return float(TOY.step(model, Step(new, cached, batch), work).seconds)


def device_s(model: ModelConfig, new: int, cached: int, batch: int = 1, work: Workload | None = None) -> float:
    return float(TOY.step(model, Step(new, cached, batch), work).device_s)


# --- A prompt in chunks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "chunk", "passes"),
    [
        (700, 300, [(300, 40), (300, 340), (100, 640)]), (600, 300, [(300, 40), (300, 340)]), (300, 300, [(300, 40)]),
        (200, 300, [(200, 40)]),
    ],
)  # fmt: skip
def test_a_prompt_in_chunks_is_the_sum_of_its_passes(prompt: int, chunk: int, passes: list[tuple[int, int]]) -> None:
    work = Workload(prompt_tokens=prompt, cached_tokens=40, new_tokens=0, batch_size=2)
    found = generate(TOY, MODEL, work, chunks=Chunks(chunk))
    assert found.prefill_s == pytest.approx(sum(seconds(SHAPE, *one, 2) for one in passes), rel=1e-9)
    assert found.device_s == pytest.approx(sum(device_s(SHAPE, *one, 2) for one in passes), rel=1e-9)
    assert found.response_s == found.prefill_s and found.details == {"chunk_tokens": chunk}
    last = TOY.memory(MODEL, work_of(work)._replace(prompt=float(passes[-1][0]), cached=0.0))
    whole = TOY.predict(SHAPE, work.model_copy(update={"prompt_tokens": min(chunk, prompt)})).peak_memory_bytes
    extra = (
        (prompt - min(chunk, prompt)) * 2 * 4 * 64 * 2 * 6 * 2
    )  # positions of 4 KV heads of 64, six blocks, two sequences
    assert (
        found.peak_memory_bytes == pytest.approx(whole + extra, rel=0.02) and last.peak_bytes <= found.peak_memory_bytes
    )
    assert [line for line in found.extrapolated_because if "over" in line] == [
        f"a pass of {min(chunk, prompt)} tokens over {40 + max(prompt - chunk, 0)} cached: never measured"
    ]


def test_others_get_a_token_between_two_chunks() -> None:
    work = Workload(prompt_tokens=700, new_tokens=0)
    found = generate(TOY, MODEL, work, chunks=Chunks(300, 8, 2000))
    read = [seconds(SHAPE, *one) for one in ((300, 0), (300, 300), (100, 600))]
    own = seconds(SHAPE, 1, 2000, 8)
    assert found.prefill_s == pytest.approx(sum(read) + 2 * own, rel=1e-9)  # none after the last
    assert found.details == {
        "chunk_tokens": 300, "others": 8, "others_tokens": 2000,
        "others_token_s": pytest.approx(sum(read) / 3 + own, rel=1e-9),
    }  # fmt: skip
    busy = sum(device_s(SHAPE, *one) for one in ((300, 0), (300, 300), (100, 600))) + 2 * device_s(SHAPE, 1, 2000, 8)
    assert found.device_s == pytest.approx(busy, rel=1e-9)
    one = generate(TOY, MODEL, work, chunks=Chunks(700, 8, 2000))
    assert one.prefill_s == pytest.approx(seconds(SHAPE, 700, 0), rel=1e-9)
    # The pass that tells what binds is the last over the prompt, not the others': that one is bound by memory.
    long = generate(QUICK, MODEL, Workload(prompt_tokens=1400, new_tokens=0), chunks=Chunks(1000, 8, 2000))
    assert QUICK.step(SHAPE, Step(1, 2000, 8)).bound == "memory"
    assert long.bound == QUICK.step(SHAPE, Step(400, 1000)).bound == "compute"


MIXING = Predictor.load("a100", "vllm")


def test_a_pass_of_both_is_one_product_of_all_rows() -> None:
    """Without attention it is a prefill of all rows, but for the engine's time, which is for the sequences of both."""
    target, work = MIXING.target("bfloat16"), work_of(Workload(prompt_tokens=500))
    decode, r = Step(1.0, 2000.0, 24.0), target.runtime
    plain = Architecture(
        (Group(2.0, Block(None, FeedForward(2048.0))), Group(3.0, Block(None, FeedForward(512.0)))), 512.0, 1000.0
    )
    both = mixed_times(plain, Step(500.0, 0.0, 2.0), decode, work._replace(logits_all=True), target)
    whole = MIXING.step(plain, Step(1024, 0, 1), EVERY)
    assert both.device_s == pytest.approx(float(whole.device_s), rel=1e-12)
    assert both.host_s == pytest.approx(float(whole.host_s) + 25 * r.sequence_s, rel=1e-12)
    last = mixed_times(plain, Step(500.0, 0.0, 2.0), decode, work, target)  # logits of 2 and of 24
    fewer = head_load(plain, 1024.0, 26.0, work.numbers, target)
    assert whole.device_s - last.device_s == pytest.approx(
        pass_cost(plain, Step(1024.0), True, work.numbers, target).head.seconds - fewer.seconds, rel=1e-9
    )


def test_attention_of_each_kind_is_its_own_in_a_pass_of_both() -> None:
    """What it takes beyond the products of its rows, with the prompt's and with the others'."""
    target, work, decode = MIXING.target("bfloat16"), work_of(Workload(prompt_tokens=500)), Step(1.0, 2000.0, 24.0)
    block, prompt = Block(Attention(8.0, 2.0, 64.0), None), Step(500.0, 0.0, 2.0)
    apart = [block_load(block, 512.0, step, work.numbers, target).seconds for step in (prompt, decode)]
    dense = [
        load(dense_ops(block, 512.0, rows, target.implementation, work.numbers), target).seconds
        for rows in (1000.0, 24.0, 1024.0)
    ]
    model = Architecture((Group(2.0, block),), 512.0, 1000.0)
    found = mixed_times(model, prompt, decode, work, target).device_s
    head = head_load(model, 1024.0, 26.0, work.numbers, target).seconds
    assert found == pytest.approx(2 * (dense[2] + sum(apart) - dense[0] - dense[1]) + head, rel=1e-6)


def test_chunks_of_an_engine_that_mixes_are_passes_of_both() -> None:
    target, decode = MIXING.target("bfloat16"), Step(1.0, 2000.0, 24.0)
    found = generate(MIXING, MODEL, Workload(prompt_tokens=1000, new_tokens=0), chunks=Chunks(500, 24, 2000))
    first, second = (
        mixed_times(MODEL, Step(500.0, before, 1.0), decode, work_of(Workload(prompt_tokens=1000)), target)
        for before in (0.0, 500.0)
    )
    assert found.prefill_s == pytest.approx(first.seconds + second.seconds, rel=1e-12)
    assert found.details["others_token_s"] == pytest.approx(0.5 * (first.seconds + second.seconds), rel=1e-12)


def test_a_part_is_so_many_passes_and_what_binds_one() -> None:
    passes = [
        PassTimes(2.0, 1.0, 1.5, device, compute) for device, compute in ((False, False), (True, False), (True, True))
    ]
    assert [part_of(one, 3.0) for one in passes] == [Part(6.0, code, 4.5) for code in (0, 1, 2)]
    assert part_of(passes[1]) == Part(2.0, 1, 1.5)
    assert (Chunks(5).others, Chunks(5).others_tokens) == (0, 1)


# --- Drafts and denoised blocks -------------------------------------------------------------------


def draft(work: Workload, lookahead: int, acceptance: float, shares: Any = "", model: Architecture = LITTLE) -> Draft:
    return Draft("little", model, work, lookahead, acceptance, shares)


def test_a_round_is_steps_of_the_draft_and_one_check() -> None:
    """One token is wanted: all passes are at one context, the draft's second step a position further on the mean."""
    work = Workload(prompt_tokens=900, new_tokens=1, batch_size=3, cached_tokens=20)
    found = generate(TOY, MODEL, work, way=draft(work, 3, 0.5))
    drafts = [seconds(SMALL, 1, 920 + ahead, 3) for ahead in range(3)]
    check, plain = seconds(SHAPE, 4, 920, 3, EVERY), seconds(SHAPE, 1, 920, 3)
    read = seconds(SHAPE, 900, 20, 3) + seconds(SMALL, 900, 20, 3)
    round_s, tokens = 3 * drafts[1] + check, 1 + 0.5 + 0.25 + 0.125
    assert found.details == {
        "draft": "little", "lookahead": 3, "acceptance": 0.5, "tokens_per_round": tokens,
        "round_s": pytest.approx(round_s, rel=1e-9), "draft_step_s": pytest.approx(drafts[1], rel=1e-9),
        "verification_s": pytest.approx(check, rel=1e-9),
        "decode_speedup": pytest.approx(plain * tokens / round_s, rel=1e-9),
        "break_even_acceptance": break_even_acceptance(round_s, plain, 3),
    }  # fmt: skip
    assert (found.prefill_s, found.decode_s_per_token) == pytest.approx((read, round_s / tokens), rel=1e-9)
    assert found.response_s == pytest.approx(read + round_s / tokens, rel=1e-9)
    busy = device_s(SHAPE, 900, 20, 3) + device_s(SMALL, 900, 20, 3)
    busy += (3 * device_s(SMALL, 1, 921, 3) + device_s(SHAPE, 4, 920, 3, EVERY)) / tokens
    assert found.device_s == pytest.approx(busy, rel=1e-9)
    assert "a pass of 4 tokens over 920 cached: never measured" in found.extrapolated_because


def test_a_draft_s_round_is_the_mean_over_the_generation() -> None:
    """Over 21 tokens contexts grow by 20: for a device that is bound by memory the mean is that of the middle."""
    work = Workload(prompt_tokens=4000, new_tokens=21, batch_size=8)
    found = generate(QUICK, MODEL, work, way=draft(work, 1, 1.0)).details
    ends = [float(QUICK.step(SHAPE, Step(2, 4000 + past, 8), EVERY).seconds) for past in (0, 20)]
    assert ends[0] < ends[1] and found["verification_s"] == pytest.approx(0.5 * sum(ends), rel=1e-9)
    drafts = [float(QUICK.step(SMALL, Step(1, 4000 + past, 8)).seconds) for past in (0, 20)]
    assert drafts[0] < drafts[1] and found["draft_step_s"] == pytest.approx(0.5 * sum(drafts), rel=1e-6)


def test_memory_of_a_draft_by_what_it_shares() -> None:
    work = Workload(prompt_tokens=100, new_tokens=50)
    memory = TOY.memory(MODEL, work_of(work)._replace(new=53.0))
    other = TOY.memory(LITTLE, work_of(work)._replace(new=53.0))
    both = [getattr(one, name) for one in (memory, other) for name in ("weight_bytes", "cache_bytes")]
    larger = [max(getattr(memory, name), getattr(other, name)) for name in ("transient_bytes", "overhead_bytes")]
    found = generate(TOY, MODEL, work, way=draft(work, 3, 0.5))
    assert found.peak_memory_bytes == pytest.approx(sum(both) + sum(larger), rel=1e-12)
    blocks = generate(TOY, MODEL, work, way=draft(work, 3, 0.5, "first blocks", first_blocks(MODEL, 2)))
    assert blocks.peak_memory_bytes == memory.peak_bytes
    assert blocks.prefill_s == TOY.predict(SHAPE, work).prefill_s
    first = generate(TOY, MODEL, work, way=draft(work, 3, 0.5, "", first_blocks(MODEL, 2)))
    read = float(TOY.step(first_blocks(MODEL, 2), Step(100)).device_s)  # the prompt, which it need not read
    assert first.device_s - blocks.device_s == pytest.approx(read, rel=1e-6)
    # A draft in a format whose kernels hold a workspace: that of the larger counts.
    packed = work.model_copy(update={"weights": "int4-gptq"})
    held = TOY.memory(LITTLE, work_of(packed)._replace(new=53.0))
    drafted = generate(TOY, MODEL, work, way=draft(packed, 3, 0.5))
    assert held.overhead_bytes > memory.overhead_bytes == 0.0
    kept = memory.weight_bytes + memory.cache_bytes + held.weight_bytes + held.cache_bytes + held.overhead_bytes
    assert drafted.peak_memory_bytes == pytest.approx(kept + max(memory.transient_bytes, held.transient_bytes))
    module = generate(TOY, MODEL, work, way=draft(work, 3, 0.5, "module"))
    words = 65536 * 512 * 2  # the table that is the model's
    assert found.peak_memory_bytes - module.peak_memory_bytes == pytest.approx(words, rel=1e-6)


def test_denoised_blocks_are_whole_and_have_all_logits() -> None:
    """50 tokens in blocks of 16 are four; each takes three passes; 14 positions more are written."""
    work = Workload(prompt_tokens=100, new_tokens=50, cached_tokens=30, batch_size=2)
    found = generate(TOY, MODEL, work, way=Denoising(16, 3))
    passes = [3 * seconds(SHAPE, 16, 130 + 16 * index, 2, EVERY) for index in range(4)]
    assert found.decode_s_per_token == pytest.approx(sum(passes) / 50, rel=1e-9)
    assert found.response_s == pytest.approx(seconds(SHAPE, 100, 30, 2) + sum(passes), rel=1e-9)
    assert found.details == {"block_tokens": 16, "denoising_steps": 3, "passes": 12}
    busy = sum(3 * device_s(SHAPE, 16, 130 + 16 * index, 2, EVERY) for index in range(4))
    assert found.device_s == pytest.approx(device_s(SHAPE, 100, 30, 2) + busy, rel=1e-9)
    assert found.peak_memory_bytes == TOY.memory(MODEL, work_of(work)._replace(new=65.0)).peak_bytes
    assert "a pass of 16 tokens over 130 cached: never measured" in found.extrapolated_because
    one, two = (generate(TOY, MODEL, work, way=Denoising(size, 3)).extrapolated_because for size in (1, 2))
    assert not any("a pass of 1 tokens" in line for line in one) and any("a pass of 2 tokens" in line for line in two)
    plain = work.model_copy(update={"cached_tokens": 0})
    one, two = (generate(TOY, MODEL, plain, chunks=Chunks(size)).extrapolated_because for size in (1, 2))
    assert not any("a pass of" in line for line in one)
    assert "a pass of 2 tokens over 98 cached: never measured" in two


def test_what_binds_is_that_of_the_longest_part() -> None:
    work = Workload(prompt_tokens=4000, new_tokens=1)
    assert generate(TOY, MODEL, work).bound == TOY.step(SHAPE, Step(4000)).bound == "compute"
    long = Workload(prompt_tokens=1, new_tokens=4000)
    assert generate(TOY, MODEL, long).bound == TOY.step(SHAPE, Step(1, 2000)).bound == "host"


def test_intervals_are_the_widest_of_the_profile_s() -> None:
    """0.1 in every phase, twice that where a pass was not measured; for the profile's own host exactly that."""
    work, own_host = Workload(prompt_tokens=900, new_tokens=10), Predictor(TOY.profile, host="published")
    for way, chunks in ((None, Chunks(300)), (draft(work, 3, 0.5), None), (Denoising(8, 2), None)):
        found = generate(own_host, MODEL, work, chunks=chunks, way=way)
        for name in ("prefill_s", "decode_s_per_token", "response_s"):
            own, low, high = (getattr(found, f"{name}{end}") for end in ("", "_low", "_high"))
            assert (low, high) == pytest.approx((own / math.exp(0.2), own * math.exp(0.2)), rel=1e-9)
        assert found.extrapolated and found.fits_memory
        flat = found.as_dict()
        assert "device_s" not in flat and "details" not in flat and found.details.items() <= flat.items()
        assert flat["extrapolated_because"] == list(found.extrapolated_because)
    profile = Predictor.load("3090").profile
    wide, alone = (generate(Predictor(profile, host=host), MODEL, work) for host in ("any", "published"))  # type: ignore[arg-type]
    for name in ("prefill_s", "decode_s_per_token", "response_s"):
        assert getattr(wide, f"{name}_low") < getattr(alone, f"{name}_low")
        assert getattr(wide, f"{name}_high") > getattr(alone, f"{name}_high")


@pytest.mark.parametrize(
    ("chunks", "way", "word"),
    [
        (Chunks(0), None, "chunk_tokens"), (Chunks(8, 1, 0), None, "others_tokens"), (None, Denoising(0, 1), "block_"),
        (None, Denoising(1, 0), "denoising_steps"), (Chunks(MAX_DIMENSION + 1), None, "chunk_tokens"),
        (None, draft(Workload(), 0, 0.5), "lookahead"), (None, draft(Workload(), 1, -0.1), "acceptance"),
        (None, draft(Workload(), 1, 1.1), "acceptance"), (None, draft(Workload(), 1, math.nan), "acceptance"),
        (Chunks(2.5), None, "chunk_tokens"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused(chunks: Chunks | None, way: Any, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        check_way(chunks, way)


def test_ends_of_what_is_accepted_and_of_what_a_table_of_positions_holds() -> None:
    check_way(Chunks(1, 0, 1), Denoising(1, 1))
    check_way(Chunks(MAX_DIMENSION), draft(Workload(), 1, 0.0))
    check_way(None, draft(Workload(), 1, 1.0))
    with pytest.raises(UsageError, match="generate 0"):
        generate(TOY, MODEL, Workload(new_tokens=0), way=Denoising(1, 1))
    block = Block(Attention(4.0, 4.0, 64.0), FeedForward(512.0))
    work = Workload(prompt_tokens=10, new_tokens=6, cached_tokens=4)
    for way, written in ((None, 20), (Denoising(4, 1), 23), (draft(work, 3, 0.5), 23)):
        fits, short = (
            Architecture((Group(2.0, block),), 256.0, 100.0, positions=written - less) for less in (0.0, 1.0)
        )
        generate(TOY, fits, work, way=way)
        with pytest.raises(UsageError, match="table of positions"):
            generate(TOY, short, work, way=way)
