"""Cases by hand: what they count, the weights of a ring, bytes at the peak, and the record that is kept of a time."""

from dataclasses import replace
from typing import Any

import pytest
from calibration_support import case, config

from calibration.measure.cases import Case, case_bytes, ring_depth, weight_elements
from calibration.observations.decoder_config import DecoderConfig
from latmodel.model.config import ModelConfig, Workload
from latmodel.model.totals import num_parameters

# `config()`: 128 wide, FFN of 384, two heads of 64 with one pair of keys and values. Queries and output 128², keys and
# values 128 · 64 each, gate, up and down 128 · 384 each, two norms.
BLOCK = 2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 384 + 2 * 128
LINE = 64  # numbers to which a weight is aligned


def with_work(one: Case, **work: Any) -> Case:
    return replace(one, workload=one.workload.model_copy(update=work))


@pytest.mark.parametrize(
    ("phase", "part", "cached", "context", "units"),
    [
        ("prefill", "blocks", 5, 5 + 16, 1),
        ("decode", "blocks", 16, 16 + 3, 3),
        ("prefill", "model", 5, 5 + 16, 1),
        ("decode", "model", 16, 16 + 3, 3),
        ("decode", "head", 16, 16 + 3, 4),  # copies
        ("prefill", "head", 5, 5 + 16, 4),
    ],
)
def test_positions_and_passes(phase: str, part: str, cached: int, context: int, units: int) -> None:
    one = with_work(case("a", phase, part), new_tokens=3, cached_tokens=5)
    assert (one.cached, one.context, one.units) == (cached, context, units)


@pytest.mark.parametrize(
    ("cache_bytes", "dtype", "blocks"),
    [
        (BLOCK * 2.0 * 10 / 3.0, "bfloat16", 10),  # three times the cache, to the byte
        (BLOCK * 2.0 * 10.01 / 3.0, "bfloat16", 11),
        (BLOCK * 2.0 * 10 / 3.0, "float32", 5),
        (0.0, "float32", 2),
        (BLOCK * 4.0 * 2.5 / 3.0, "float32", 3),
    ],
)
def test_a_ring_is_three_times_the_cache_and_two_blocks_at_least(cache_bytes: float, dtype: str, blocks: int) -> None:
    assert ring_depth(config(), dtype, cache_bytes * (1.0 - 1e-12)) == blocks


def test_weights_of_a_case_with_room_to_align_each() -> None:
    """Nine weights a block, and the embedding (tied here), the last norm and the head, each padded to a line."""
    assert weight_elements(case("a")) == 4 * BLOCK + 2 * 128 + (4 * 9 + 3) * LINE  # a vocabulary of one
    assert weight_elements(case("a", part="model")) == 4 * BLOCK + 128 + 256 * 128 + (4 * 9 + 3) * LINE
    # Every copy of a head has an embedding and a norm of its own, and room for a block.
    assert weight_elements(case("a", part="head")) == 4 * (BLOCK + 128 + 256 * 128 + (9 + 3) * LINE)


HYBRID = DecoderConfig.of(
    {"model_type": "qwen3", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "head_dim": 64,
     "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 256}
)  # fmt: skip


def test_any_other_block_has_room_for_forty_weights() -> None:
    one = replace(case("a", part="model"), config=HYBRID)
    room = weight_elements(one) - int(num_parameters(HYBRID.architecture()))
    assert room == (3 * 40 + 8) * LINE


def test_bytes_at_the_peak_are_weights_cache_and_what_is_computed() -> None:
    """In float32, 64 positions of four sequences: 2 · 64 numbers a position and block in the cache."""
    one = with_work(case("a"), prompt_tokens=60, new_tokens=4, batch_size=4)
    cache = 2 * 64 * 4 * (60 + 4) * 4 * 4.0
    computed = case_bytes(one) - weight_elements(one) * 4.0 - cache
    residual = 2 * 128 * 4 * 60 * 4.0
    assert residual < computed < 20 * residual  # the residual stream twice, and the widest activations
    half = with_work(one, dtype="bfloat16")
    assert case_bytes(half) < 0.55 * case_bytes(one)
    assert case_bytes(with_work(one, cached_tokens=36)) >= case_bytes(one) + 2 * 64 * 4 * 36 * 4 * 4.0


def test_logits_of_every_position_are_held_at_once() -> None:
    wide = ModelConfig(num_hidden_layers=1, hidden_size=128, intermediate_size=384, num_attention_heads=2,
                       vocab_size=100_000)  # fmt: skip
    last = replace(case("a", "prefill", "model"), config=wide)
    every = with_work(last, logits="all")
    rows = last.workload.prompt_tokens
    assert case_bytes(every) >= case_bytes(last) + (rows - 1) * 100_000 * 4.0


def test_the_record_of_a_time() -> None:
    row = with_work(case("a"), batch_size=3, cached_tokens=7).observation("toy", "wall", 0.5, 0.02, ("drifting",))
    assert row.model_dump(exclude_defaults=True) == {
        "part": "blocks", "phase": "decode", "timing": "wall", "seconds": 0.5, "flags": ("drifting",), "gpu": "toy",
        "runtime": "transformers-eager", "dtype": "float32", "num_hidden_layers": 4, "hidden_size": 128,
        "intermediate_size": 384, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64,
        "vocab_size": 256, "tie_word_embeddings": True, "batch_size": 3, "prompt_tokens": 16, "new_tokens": 2, "cached_tokens": 7,
        "source": "latmodel calibrate", "name": "a",
    }  # fmt: skip


def test_a_prefill_makes_no_token_and_a_head_has_no_blocks() -> None:
    prefill = replace(case("a", "prefill"), held_out=True).observation("toy", "wall", 1.0, 0.02, ("noisy",))
    assert prefill.new_tokens == 0 and prefill.flags == ("noisy", "held-out")
    head = case("a", "decode", "head").observation("toy", "wall", 1.0, 0.02, ())
    assert head.num_hidden_layers == 0 and head.new_tokens == 2 and head.logits == "last"


def test_a_decoder_s_record_holds_its_configuration() -> None:
    row = replace(case("a", part="model"), config=HYBRID).observation("toy", "loop", 1.0, 0.02, ())
    assert row.config == HYBRID.text and row.head_dim is None
    assert (row.num_hidden_layers, row.hidden_size, row.vocab_size) == (3, 128, 256)
    with pytest.raises(AssertionError, match="other decoders"):
        _ = replace(case("a"), config=HYBRID).shape


def test_the_dimensions_of_a_plain_block() -> None:
    assert case("a").shape == config()
    assert case("a").workload == Workload(prompt_tokens=16, new_tokens=2, dtype="float32")
