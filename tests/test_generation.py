"""Chunks, drafts and denoised blocks: closed forms against loops of single passes and a simulation of every token."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Step, Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.config import MAX_DIMENSION
from latmodel.predict.acceptance import break_even_acceptance, expected_tokens
from latmodel.predict.chunks import Chunks
from latmodel.predict.generation import Denoising, Draft, generate
from latmodel.predict.self_drafts import own_draft

PREDICTORS = [Predictor.load("3090"), Predictor.load("3090", "cuda-graph"), toy_predictor()]
TARGET = ModelConfig(num_hidden_layers=32, hidden_size=4096, num_attention_heads=32, num_key_value_heads=8)
SMALL = ModelConfig(num_hidden_layers=4, hidden_size=1024)
TARGET_BLOCKS, SMALL_BLOCKS = TARGET.architecture(), SMALL.architecture()


def draft(workload: Workload, lookahead: int = 4, acceptance: float = 0.7) -> Draft:
    return Draft("4x1024", SMALL_BLOCKS, workload, lookahead, acceptance)


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_one_token_a_pass_is_the_prediction(predictor: Predictor) -> None:
    windowed = Block(Attention(32.0, 8.0, 128.0, window=3500.0), FeedForward(11008.0))  # fills while it generates
    models = (TARGET_BLOCKS, Architecture((Group(20.0, windowed),), 4096.0, 32000.0))
    for model in models:
        for work in (Workload(), Workload(prompt_tokens=3000, new_tokens=700, batch_size=4, cached_tokens=100)):
            found, plain = generate(predictor, model, work), predictor.predict(model, work)
            for name in ("prefill_s", "decode_s_per_token", "response_s", "peak_memory_bytes", "bound"):
                assert getattr(found, name) == getattr(plain, name), name


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(PREDICTORS), st.integers(1, 5000), st.integers(1, 600), st.integers(0, 3000))
def test_chunks_are_a_loop_of_passes(predictor: Predictor, prompt: int, chunk: int, cached: int) -> None:
    work = Workload(prompt_tokens=prompt, cached_tokens=cached, new_tokens=0)
    found, seconds, done = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(chunk)), 0.0, 0
    while done < prompt:
        now = min(chunk, prompt - done)
        seconds += predictor.step(TARGET, Step(now, cached + done)).seconds
        done += now
    assert found.prefill_s == pytest.approx(seconds, rel=1e-9)
    assert found.peak_memory_bytes <= predictor.predict(TARGET, work).peak_memory_bytes
    # A prompt of one token over a cache is a decode step in a loop here; `prefill_s` waits for it.
    if chunk >= prompt > 1:
        assert found.prefill_s == predictor.predict(TARGET, work).prefill_s


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(PREDICTORS), st.integers(1, 2000), st.integers(1, 300), st.integers(1, 64), st.integers(1, 16)
)  # fmt: skip
def test_denoised_blocks_are_a_loop_of_passes(predictor: Predictor, prompt: int, new: int, block: int, n: int) -> None:
    work = Workload(prompt_tokens=prompt, new_tokens=new)
    found, seconds, written = generate(predictor, TARGET_BLOCKS, work, way=Denoising(block, n)), 0.0, 0
    every = Workload(logits="all")
    while written < new:
        for _ in range(n):
            seconds += predictor.step(TARGET, Step(block, prompt + written), every).seconds
        written += block
    assert found.decode_s_per_token == pytest.approx(seconds / new, rel=1e-9)
    assert found.response_s == pytest.approx(found.prefill_s + seconds, rel=1e-9)


def simulated_tokens(rng: np.random.Generator, rounds: int, lookahead: int, acceptance: float) -> Any:
    """Tokens of each round, drawn token by token: kept up to the first rejection, and one of the target's own."""
    accepted = rng.random((rounds, lookahead)) < acceptance
    return 1 + np.cumprod(accepted, axis=1).sum(axis=1)


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("lookahead", [1, 4, 12])
def test_expected_tokens_equal_a_simulation(acceptance: float, lookahead: int) -> None:
    tokens = simulated_tokens(np.random.default_rng(lookahead), 100_000, lookahead, acceptance)
    error = float(tokens.std()) / 100_000**0.5
    assert abs(float(tokens.mean()) - expected_tokens(acceptance, lookahead)) <= 4.0 * error


def test_expected_tokens_by_hand() -> None:
    # 1 + 0.5 + 0.25 + 0.125; all accepted: three drafted and one more.
    assert expected_tokens(0.5, 3) == pytest.approx(1.875, rel=1e-12)
    assert expected_tokens(1.0, 3) == 4.0
    assert expected_tokens(0.0, 3) == 1.0
    assert expected_tokens(1.0 - 1e-13, 3) == pytest.approx(4.0, rel=1e-9)


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("acceptance", [0.4, 0.9])
def test_a_draft_equals_a_simulation_of_every_token(predictor: Predictor, acceptance: float) -> None:
    """100,000 rounds over a context that grows from 500 to 2500, each pass priced at its own context.

    Left over beside the sampling error: the last round's surplus of at most k tokens in 2000, and the kink where the
    longer timeline changes, half a percent together.
    """
    prompt, new, k = 500, 2000, 4
    work = Workload(prompt_tokens=prompt, new_tokens=new)
    found = generate(predictor, TARGET_BLOCKS, work, way=draft(work, k, acceptance))
    contexts = np.arange(prompt, prompt + new + 2 * k)
    drafted = predictor.step(SMALL, Step(1, contexts)).seconds
    checked = predictor.step(TARGET, Step(k + 1, contexts), Workload(logits="all")).seconds
    rng, totals, rounds = np.random.default_rng(1), [], 0
    while rounds < 100_000:
        ends = np.cumsum(simulated_tokens(rng, new, k, acceptance))
        starts = np.concatenate([[0], ends])[: int(np.searchsorted(ends, new)) + 1]
        # The part of the last round that is wanted counts.
        weights = np.minimum(new - starts, np.diff(np.append(starts, ends[len(starts) - 1])))
        share = weights / np.diff(np.append(starts, ends[len(starts) - 1]))
        seconds = sum(drafted[starts + i] for i in range(k)) + checked[starts]
        totals.append(float(np.sum(seconds * share)))
        rounds += len(starts)
    mean, error = float(np.mean(totals)), float(np.std(totals)) / len(totals) ** 0.5
    assert abs(mean - new * found.decode_s_per_token) <= 4.0 * error + 0.005 * mean
    assert found.response_s == pytest.approx(found.prefill_s + new * found.decode_s_per_token, rel=1e-12)


def test_the_parts_of_a_round_by_single_steps() -> None:
    work, predictor = Workload(prompt_tokens=900, new_tokens=1, batch_size=3), PREDICTORS[2]
    found = generate(predictor, TARGET_BLOCKS, work, way=draft(work, 1)).details
    assert found["draft_step_s"] == predictor.step(SMALL, Step(1, 900, 3)).seconds
    check = predictor.step(TARGET, Step(2, 900, 3), Workload(logits="all")).seconds
    assert found["verification_s"] == pytest.approx(check, rel=1e-12)
    assert found["round_s"] == pytest.approx(found["draft_step_s"] + check, rel=1e-12)


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_at_the_break_even_acceptance_a_draft_is_worth_nothing(predictor: Predictor) -> None:
    work = Workload()
    acceptance = generate(predictor, TARGET_BLOCKS, work, way=draft(work)).details["break_even_acceptance"]
    assert 0.0 < acceptance < 1.0
    even = generate(predictor, TARGET_BLOCKS, work, way=draft(work, acceptance=acceptance))
    assert even.decode_s_per_token == pytest.approx(predictor.predict(TARGET, work).decode_s_per_token, rel=1e-9)
    assert even.details["decode_speedup"] == pytest.approx(1.0, rel=1e-9)


def test_a_draft_as_slow_as_its_target_never_pays() -> None:
    work = Workload()
    same = Draft("itself", TARGET_BLOCKS, work, 4, 1.0)
    assert generate(PREDICTORS[0], TARGET_BLOCKS, work, way=same).details["break_even_acceptance"] is None
    assert break_even_acceptance(5.0, 1.0, 4) == pytest.approx(1.0)
    assert break_even_acceptance(1.0, 1.0, 4) == pytest.approx(0.0, abs=1e-9)


def test_a_draft_takes_its_weights_and_cache() -> None:
    predictor, work = PREDICTORS[2], Workload(new_tokens=100)
    alone = predictor.predict(TARGET, work).peak_memory_bytes
    with_draft = generate(predictor, TARGET_BLOCKS, work, way=draft(work)).peak_memory_bytes
    assert with_draft >= alone + 2.0 * SMALL_BLOCKS.num_parameters
    assert with_draft <= alone + predictor.predict(SMALL, work).peak_memory_bytes + 2e6


def test_intervals_hold_the_prediction_and_are_marked() -> None:
    for predictor in PREDICTORS:
        work = Workload(prompt_tokens=1000)
        found = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(256), way=draft(work))
        assert found.response_s_low is not None
        assert found.response_s_high is not None
        assert found.response_s_low < found.response_s < found.response_s_high
        assert "a pass of 256 tokens over 744 cached: never measured" in found.extrapolated_because
        assert "a pass of 5 tokens over 1000 cached: never measured" in found.extrapolated_because


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"way": draft(Workload(), lookahead=0)}, "lookahead"), ({"way": draft(Workload(), acceptance=1.2)}, "acceptance"),
        ({"way": draft(Workload(), acceptance=float("nan"))}, "acceptance"), ({"chunks": Chunks(0)}, "chunk_tokens"),
        ({"way": Denoising(0, 8)}, "block_tokens"), ({"way": Denoising(32, 0)}, "denoising_steps"),
        ({"way": Denoising(MAX_DIMENSION + 1, 1)}, "block_tokens"),
    ],
)  # fmt: skip
def test_bad_values_are_refused(values: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        generate(PREDICTORS[2], TARGET_BLOCKS, Workload(), **values)


def test_nothing_to_generate_is_refused() -> None:
    with pytest.raises(UsageError, match="--generate 0"):
        generate(PREDICTORS[2], TARGET_BLOCKS, Workload(new_tokens=0), way=Denoising(32, 8))


def test_the_first_blocks_draft_without_memory_or_a_prompt_of_their_own() -> None:
    predictor, work = PREDICTORS[0], Workload(prompt_tokens=900, new_tokens=1)
    shares, model = own_draft("self:8", TARGET_BLOCKS) or ("", TARGET_BLOCKS)
    assert shares == "first blocks"
    assert model.num_hidden_layers == 8
    way = Draft("self:8", model, work, 4, 0.7, shares)
    found, plain = generate(predictor, TARGET_BLOCKS, work, way=way), predictor.predict(TARGET, work)
    assert found.prefill_s == plain.prefill_s
    cache = 4 * 2 * 8 * 128 * 2 * 32  # four more positions: keys and values of 8 heads of 128, in 16 bits, 32 blocks
    assert found.peak_memory_bytes == pytest.approx(plain.peak_memory_bytes + cache, rel=1e-3)
    shallow = TARGET.model_copy(update={"num_hidden_layers": 8})
    mean = np.mean([predictor.step(shallow, Step(1, 900 + i)).seconds for i in range(4)])
    assert found.details["draft_step_s"] == pytest.approx(mean, rel=1e-3)


def test_a_module_drafts_with_one_block_and_the_models_embedding_and_head() -> None:
    predictor, work = PREDICTORS[2], Workload(prompt_tokens=900, new_tokens=1)
    shares, model = own_draft("mtp", TARGET_BLOCKS) or ("", TARGET_BLOCKS)
    assert shares == "module"
    # A block, the final norm, a projection from two widths to one, and two norms more than embedding and head.
    block, embedding = float(Group(1.0, TARGET_BLOCKS.groups[0].block).block.parameters(4096.0)), 65536 * 4096
    assert float(model.num_parameters) == embedding + block + 4096 + 2 * 4096 * 4096 + 2 * 4096
    found = generate(predictor, TARGET_BLOCKS, work, way=Draft("mtp", model, work, 1, 0.7, shares))
    alone = generate(predictor, TARGET_BLOCKS, work.model_copy(update={"new_tokens": 2}))
    beside = found.peak_memory_bytes - alone.peak_memory_bytes
    cache = 902 * 2 * 8 * 128 * 2
    assert beside == pytest.approx(2 * (block + 4096 + 2 * 4096 * 4096 + 2 * 4096) + cache, rel=1e-6)
    one = predictor.step(TARGET.model_copy(update={"num_hidden_layers": 1}), Step(1, 900)).seconds
    assert one < found.details["draft_step_s"] < 1.5 * one


@pytest.mark.parametrize("text", ["self:32", "self:0", "self:", "self:x"])
def test_a_draft_of_as_many_blocks_or_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="self:"):
        own_draft(text, TARGET_BLOCKS)
    assert own_draft("llama-7b", TARGET_BLOCKS) is None


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_others_decode_between_chunks(predictor: Predictor) -> None:
    work = Workload(prompt_tokens=1000, new_tokens=0)
    alone = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(300))
    among = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(300, 8, 2000))
    step = predictor.step(TARGET, Step(1, 2000, 8)).seconds
    assert among.prefill_s == pytest.approx(alone.prefill_s + 3 * step, rel=1e-9)  # between four chunks
    assert among.details["others_token_s"] == pytest.approx(alone.prefill_s / 4 + step, rel=1e-9)


def test_a_serving_engine_takes_a_chunk_and_the_others_in_one_pass() -> None:
    predictor, work = Predictor.load("a100", "vllm"), Workload(prompt_tokens=1024, new_tokens=0)
    alone = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(256)).prefill_s
    among = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(256, 16, 1000)).prefill_s
    apart = alone + 4 * predictor.step(TARGET, Step(1, 1000, 16)).seconds
    assert alone < among < 0.9 * apart  # weights are read once, an engine's step is paid once
    none = generate(predictor, TARGET_BLOCKS, work, chunks=Chunks(256, 0)).prefill_s
    assert none == alone
