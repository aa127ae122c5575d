"""A GGUF file of a Llama with random weights, in the tensor types that llama.cpp's own quantiser would choose.

The `gguf` package writes the file but does not quantise to K-types, and nothing needs quantising: blocks of random
bytes with small, finite scales are weights like any others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig
from latmodel.model.gguf import FILE_TYPES, TENSOR_TYPES, more_bits, stored_type

Bytes = NDArray[np.uint8]
WEIGHT_STD = 0.02  # about what trained weights have: activations stay finite through any depth
# Where a block keeps its float16 scales, and what they are worth so that weights come out at about `WEIGHT_STD`:
# quantised values times 6-bit or 8-bit factors of the same random bytes.
SCALES: dict[str, dict[int, float]] = {
    "q8_0": {0: WEIGHT_STD / 74.0},
    "q4_0": {0: WEIGHT_STD / 4.6},
    "q4_k": {0: WEIGHT_STD / 150.0, 2: WEIGHT_STD / 20.0},
    "q5_k": {0: WEIGHT_STD / 300.0, 2: WEIGHT_STD / 20.0},
    "q6_k": {208: WEIGHT_STD / 1360.0},
    "q5_0": {0: WEIGHT_STD / 9.2},
    "q5_1": {0: WEIGHT_STD / 9.2, 2: -15.5 * WEIGHT_STD / 9.2},
}
FIRST_WORDS = 259  # unknown, begin, end, and the 256 bytes that the tokenizer falls back to
TRAINED_CONTEXT = 1 << 17


class Tensor(NamedTuple):
    """One matrix of the file: `rows` outputs of `columns` inputs."""

    name: str
    rows: int
    columns: int
    type: str


def tensors(config: ModelConfig, weights: str) -> Iterator[Tensor]:
    """The matrices of a Llama in a file type, in order.

    Raises:
        UsageError: the format is unknown.
    """
    if weights not in FILE_TYPES:
        raise UsageError(f"llama.cpp has no weights in {weights[:40]}: choose from {', '.join(FILE_TYPES)}")
    for tensor in _wanted(config, weights):
        yield tensor._replace(type=stored_type(tensor.type, tensor.columns))


def _wanted(config: ModelConfig, weights: str) -> Iterator[Tensor]:
    """The same in the types that they have where blocks divide their inputs."""
    types, c = FILE_TYPES[weights], config
    queries, keys = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    tied = c.tie_word_embeddings
    yield Tensor("token_embd.weight", c.vocab_size, c.hidden_size, types.head if tied else types.base)
    if not tied:
        yield Tensor("output.weight", c.vocab_size, c.hidden_size, types.head)
    for index in range(c.num_hidden_layers):
        most = types.base
        more = types.more if more_bits(index, c.num_hidden_layers) else most
        for name, rows, columns, kind in (
            ("attn_q", queries, c.hidden_size, most),
            ("attn_k", keys, c.hidden_size, most),
            ("attn_v", keys, c.hidden_size, more),
            ("attn_output", c.hidden_size, queries, most),
            ("ffn_gate", c.intermediate_size, c.hidden_size, most),
            ("ffn_up", c.intermediate_size, c.hidden_size, most),
            ("ffn_down", c.hidden_size, c.intermediate_size, more),
        ):
            yield Tensor(f"blk.{index}.{name}.weight", rows, columns, kind)


def write_gguf(path: Path, config: ModelConfig, weights: str, seed: int = 0) -> None:
    """Write the model.

    Raises:
        UsageError: the `gguf` package is missing, or the format is unknown.
    """
    try:
        import gguf
    except ImportError:
        raise UsageError("writing models for llama.cpp needs gguf: pip install 'latmodel[llama-cpp]'") from None
    matrices = list(tensors(config, weights))
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, config)
    random = np.random.default_rng(seed)
    writer.add_tensor("output_norm.weight", np.ones(config.hidden_size, np.float32))
    for index in range(config.num_hidden_layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{index}.{name}.weight", np.ones(config.hidden_size, np.float32))
    for tensor in matrices:
        kind = gguf.GGMLQuantizationType[tensor.type.upper()]
        writer.add_tensor(tensor.name, _values(tensor, random), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, config: ModelConfig) -> None:
    """Dimensions, and a tokenizer of made-up words, without which the file is no model."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(TRAINED_CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config.vocab_size)
    words = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    words += [b"w%d" % index for index in range(FIRST_WORDS, config.vocab_size)]
    kinds = [2, 3, 3] + [6] * 256 + [1] * max(0, config.vocab_size - FIRST_WORDS)  # unknown, control, byte, normal
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words[: config.vocab_size])
    writer.add_token_scores([0.0] * config.vocab_size)
    writer.add_token_types(kinds[: config.vocab_size])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def _values(tensor: Tensor, random: np.random.Generator) -> NDArray[Any]:
    """Random weights of a tensor as the file keeps them."""
    if tensor.type in ("f16", "bf16"):
        values = random.standard_normal((tensor.rows, tensor.columns), dtype=np.float32) * WEIGHT_STD
        if tensor.type == "f16":
            return values.astype(np.float16)
        # bfloat16 is the upper half of a float32.
        upper: NDArray[Any] = (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        return upper.reshape(tensor.rows, -1)
    kind = TENSOR_TYPES[tensor.type]
    blocks = (tensor.rows, int(tensor.columns // kind.block), int(kind.block_bytes))
    packed: Bytes = random.integers(0, 256, blocks, dtype=np.uint8)
    for place, scale in SCALES[tensor.type].items():
        packed[:, :, place : place + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return packed.reshape(tensor.rows, -1)
