"""GGUF formats against the sizes of files that llama.cpp publishes, and what they ask of a shape."""

import pytest
from shapes import LLAMA_7B

from latmodel import ModelConfig, Workload
from latmodel.model.gguf import FILE_TYPES, more_bits
from latmodel.model.totals import weight_bytes

# Files of Llama-2-7B in GiB, as llama-bench prints them (ggml-org/llama.cpp, tools/llama-bench README and discussions).
PUBLISHED_GIB = {"f16": 12.55, "q8_0": 6.67, "q6_k": 5.15, "q5_k_m": 4.45, "q4_k_m": 3.80, "q4_0": 3.56}


@pytest.mark.parametrize("name", PUBLISHED_GIB)
def test_bytes_are_those_of_the_published_file(name: str) -> None:
    numbers = Workload(weights=name).numbers()
    size = weight_bytes(LLAMA_7B.architecture(), numbers) / 2**30
    assert size == pytest.approx(PUBLISHED_GIB[name], abs=0.006)  # rounded to a hundredth of a GiB


def test_tied_head_is_stored_once_in_the_heads_type() -> None:
    shape = {"num_hidden_layers": 1, "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4}
    sizes = [
        weight_bytes(
            ModelConfig(**shape, vocab_size=1000, tie_word_embeddings=tied).architecture(),
            Workload(weights="q4_0").numbers(),
        )
        for tied in (True, False)
    ]
    # 256,000 weights of the embedding, in q4_0: 18 bytes for each 32 of them.
    assert sizes[1] - sizes[0] == 256_000 / 32 * 18


def test_half_of_the_blocks_get_more_bits() -> None:
    # First eighth 0-3, last eighth 28-31, and between them 6, 9, ... 27.
    chosen = [index for index in range(32) if more_bits(index, 32)]
    assert chosen == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_multiples_are_the_largest_block() -> None:
    assert {name: types.multiple for name, types in FILE_TYPES.items()} == {
        "f16": 1, "bf16": 1, "q8_0": 32, "q6_k": 256, "q5_k_m": 256, "q4_k_m": 256, "q4_0": 256,
    }  # fmt: skip
