"""GGUF headers: exact against the `gguf` package that writes and reads them, and safe against whatever else comes."""

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.engines.whole.gguf_file import tensors, write_gguf
from latmodel import ModelConfig, Predictor, Workload
from latmodel.configs.gguf.header import TYPES, read_header
from latmodel.configs.gguf.model import read_gguf
from latmodel.configs.huggingface import read_config, read_decoder
from latmodel.errors import UsageError
from latmodel.model.gguf import FILE_TYPES, TENSOR_TYPES
from latmodel.model.totals import num_parameters, weight_bytes

HIDDEN, INNER, HEADS, KV, VOCAB, LAYERS = 512, 1024, 8, 2, 1000, 4
LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV, "vocab_size": VOCAB,
}  # fmt: skip


def test_types_are_those_of_the_package() -> None:
    assert {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()} == {
        kind: (TENSOR_TYPES[name].block, TENSOR_TYPES[name].block_bytes) for kind, name in TYPES.items()
    }


class Written:
    """A file that the package writes: metadata, then tensors of given shapes (outputs first) and types."""

    def __init__(self, path: Path, family: str = "llama", **numbers: Any) -> None:
        self.path = path
        self._writer = gguf.GGUFWriter(path, family)
        sizes = {"block_count": LAYERS, "embedding_length": HIDDEN, "attention.head_count": HEADS,
                 "attention.head_count_kv": KV, "rope.dimension_count": 64, "context_length": 2048}  # fmt: skip
        for name, value in {**sizes, **numbers}.items():
            self._writer.add_uint32(f"{family}.{name.replace('__', '.')}", value)
        self._writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
        self._writer.add_token_list([f"t{index}" for index in range(VOCAB)])

    def add(self, name: str, shape: list[int], kind: Kind = Kind.F32) -> None:
        """One tensor, its weights zero."""
        block, size = gguf.GGML_QUANT_SIZES[kind]
        if kind in (Kind.F32, Kind.F16):
            self._writer.add_tensor(name, np.zeros(shape, np.float32 if kind == Kind.F32 else np.float16))
        else:
            stored = np.zeros([*shape[:-1], shape[-1] // block * size], np.uint8)
            self._writer.add_tensor(name, stored, raw_dtype=kind)

    def finish(self) -> Path:
        """Write it."""
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_tensors_to_file()
        self._writer.close()
        return self.path


def llama(path: Path, kind: Kind = Kind.Q4_K, other: Kind = Kind.Q6_K, **more: Any) -> Path:
    """A small Llama as llama.cpp quantises it: every other layer's values and last product with more bits."""
    file = Written(path, **more)
    file.add("token_embd.weight", [VOCAB, HIDDEN], kind)
    file.add("output.weight", [VOCAB, HIDDEN], other)
    file.add("output_norm.weight", [HIDDEN])
    file.add("rope_freqs.weight", [32])
    for index in range(LAYERS):
        block, last = f"blk.{index}.", other if index % 2 else kind
        file.add(block + "attn_norm.weight", [HIDDEN])
        file.add(block + "ffn_norm.weight", [HIDDEN])
        for name, shape, form in (
            ("attn_q", [HIDDEN, HIDDEN], kind), ("attn_k", [KV * 64, HIDDEN], kind), ("attn_v", [KV * 64, HIDDEN], last),
            ("attn_output", [HIDDEN, HIDDEN], kind), ("ffn_gate", [INNER, HIDDEN], kind),
            ("ffn_up", [INNER, HIDDEN], kind), ("ffn_down", [HIDDEN, INNER], last),
        ):  # fmt: skip
            file.add(f"{block}{name}.weight", shape, form)
    return file.finish()


@pytest.mark.parametrize(("kind", "other"), [
    (Kind.Q4_K, Kind.Q6_K), (Kind.Q4_0, Kind.Q4_0), (Kind.Q8_0, Kind.F16), (Kind.F16, Kind.F16), (Kind.Q5_1, Kind.IQ4_NL),
])  # fmt: skip
def test_parameters_and_bytes_are_those_that_the_package_reads(tmp_path: Path, kind: Kind, other: Kind) -> None:
    path = llama(tmp_path / "a.gguf", kind, other)
    reader = gguf.GGUFReader(path)
    tensors = [one for one in reader.tensors if one.name != "rope_freqs.weight"]  # a table, not a parameter
    model = read_gguf(path)
    assert model.parameters == sum(int(one.n_elements) for one in tensors) == num_parameters(read_config(LLAMA))
    assert model.tensor_bytes == sum(int(one.n_bytes) for one in tensors)
    decoder = read_decoder(path)
    modelled = weight_bytes(decoder.architecture, Workload(weights=decoder.format, dtype="float16").numbers())
    assert modelled == pytest.approx(model.tensor_bytes, rel=1e-3 if kind == Kind.F16 else 1e-12)
    assert (decoder.family, decoder.max_position_embeddings) == ("llama", 2048)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weights", FILE_TYPES)
def test_what_is_written_for_llama_cpp_is_what_the_package_reads_tensor_by_tensor(
    tmp_path: Path, weights: str, tied: bool
) -> None:
    config = ModelConfig(
        num_hidden_layers=8, hidden_size=HIDDEN, intermediate_size=INNER, num_attention_heads=HEADS,
        num_key_value_heads=KV, vocab_size=VOCAB, tie_word_embeddings=tied,
    )  # fmt: skip
    path = tmp_path / "a.gguf"
    write_gguf(path, config, weights)
    package = {
        one.name: (one.tensor_type.name.lower(), tuple(map(int, one.shape)), int(one.n_elements), int(one.n_bytes))
        for one in gguf.GGUFReader(path).tensors
    }
    read = read_header(path).tensors
    assert package == {name: (TYPES[one.kind], one.shape, one.values, one.bytes) for name, one in read.items()}
    asked = {one.name: (one.type, (one.columns, one.rows)) for one in tensors(config, weights)}
    assert {name: row[:2] for name, row in package.items() if "norm" not in name} == asked
    assert {row[0] for name, row in package.items() if "norm" in name} == {"f32"}
    model = read_gguf(path)
    parameters, nbytes = (sum(row[column] for row in package.values()) for column in (2, 3))
    assert model.parameters == parameters == num_parameters(config.architecture())
    assert model.tensor_bytes == nbytes
    modelled = weight_bytes(config.architecture(), Workload(weights=weights, dtype="float16").numbers())
    assert modelled == pytest.approx(
        nbytes, rel=1e-3 if weights in ("f16", "bf16") else 1e-12
    )  # norms in 32 bits there


def test_a_file_is_predicted(tmp_path: Path) -> None:
    decoder = read_decoder(llama(tmp_path / "a.gguf"))
    whole = Predictor.load("3090").predict(decoder.architecture, Workload(weights=decoder.format))
    assert whole.num_parameters == num_parameters(read_config(LLAMA))
    assert whole.response_s > 0


def test_experts_biases_norms_and_tied_heads(tmp_path: Path) -> None:
    """Qwen3-MoE's tensors: norms of queries and keys, experts in three-dimensional tensors, no head of its own."""
    file = Written(tmp_path / "moe.gguf", "qwen3moe", expert_count=4, expert_used_count=2, block_count=1,
                   attention__key_length=64)  # fmt: skip
    file.add("token_embd.weight", [VOCAB, HIDDEN], Kind.F16)
    file.add("output_norm.weight", [HIDDEN])
    for name, shape in (
        ("attn_norm", [HIDDEN]), ("ffn_norm", [HIDDEN]), ("attn_q_norm", [64]), ("attn_k_norm", [64]),
        ("attn_q", [HIDDEN, HIDDEN]), ("attn_k", [KV * 64, HIDDEN]), ("attn_v", [KV * 64, HIDDEN]),
        ("attn_output", [HIDDEN, HIDDEN]), ("ffn_gate_inp", [4, HIDDEN]), ("ffn_gate_exps", [4, 256, HIDDEN]),
        ("ffn_up_exps", [4, 256, HIDDEN]), ("ffn_down_exps", [4, HIDDEN, 256]),
    ):  # fmt: skip
        file.add(f"blk.0.{name}.weight", shape, Kind.F16 if len(shape) > 1 and name != "ffn_gate_inp" else Kind.F32)
    config = {
        "model_type": "qwen3_moe", "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": HEADS,
        "num_key_value_heads": KV, "head_dim": 64, "vocab_size": VOCAB, "num_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 256, "intermediate_size": 512, "tie_word_embeddings": True,
    }  # fmt: skip
    model = read_gguf(file.finish()).architecture
    assert num_parameters(model) == num_parameters(read_config(config))
    assert model.groups[0].block.layers == read_config(config).groups[0].block.layers


def test_a_kind_of_layer_that_is_not_read_is_refused_by_its_tensor(tmp_path: Path) -> None:
    file = Written(tmp_path / "ssm.gguf", "mamba", block_count=1)
    file.add("token_embd.weight", [VOCAB, HIDDEN])
    file.add("blk.0.ssm_in.weight", [HIDDEN, HIDDEN])
    with pytest.raises(UsageError, match=r"tensor 'blk\.0\.ssm_in\.weight' is of a kind of layer that is not read"):
        read_gguf(file.finish())


def header(*parts: bytes, tensors: int = 0, entries: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, entries) + b"".join(parts)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


HOSTILE = {
    "other letters": (header(magic=b"GGML"), "is no GGUF file"),
    "big-endian": (header(version=3 << 24), "version 50331648 is not read"),
    "cut off": (header()[:10], "ends within its header"),
    "many entries": (header(entries=2**63), "9223372036854775808 metadata entries"),
    "many tensors": (header(tensors=2**63), "9223372036854775808 tensors"),
    "a name of 2^63 bytes": (header(struct.pack("<Q", 2**63), entries=1), "longer than"),
    "a text of 2^63 bytes": (header(text(b"a"), struct.pack("<IQ", 8, 2**63), entries=1), "longer than"),
    "a list of 2^63": (header(text(b"a"), struct.pack("<IIQ", 9, 4, 2**63), entries=1), "says it has"),
    "texts of 2^63": (header(text(b"a"), struct.pack("<IIQQ", 9, 8, 1, 2**63), entries=1), "longer than"),
    "a list of lists": (header(text(b"a"), struct.pack("<IIQ", 9, 9, 1), entries=1), "list of lists"),
    "an unknown type": (header(text(b"a"), struct.pack("<I", 77), entries=1), "type 77"),
    "an entry twice": (header(*[text(b"a") + struct.pack("<II", 4, 1)] * 2, entries=2), "appears twice"),
    "nine dimensions": (header(text(b"t"), struct.pack("<I", 9), tensors=1), "9 dimensions"),
    "a size of 2^63": (header(text(b"t"), struct.pack("<IQIQ", 1, 2**63, 0, 0), tensors=1), "cannot have"),
    "a row that is no block": (header(text(b"t"), struct.pack("<IQIQ", 1, 33, 2, 0), tensors=1), "cannot have"),
    "an unknown tensor type": (header(text(b"t"), struct.pack("<IQIQ", 1, 32, 99, 0), tensors=1), "type 99"),
    "no architecture": (header(), "general.architecture is missing"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    raw, message = HOSTILE[case]
    path = tmp_path / "x.gguf"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=message) as caught:
        read_decoder(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_prefix_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = llama(tmp_path / "a.gguf").read_bytes()
    end = whole.index(b"blk.3.ffn_down.weight")
    path = tmp_path / "cut.gguf"
    for length in range(0, end, 499):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError):
            read_decoder(path)


SMALL = st.integers(0, 40).map(lambda n: struct.pack("<Q", n)) | st.integers(0, 2**64 - 1).map(
    lambda n: struct.pack("<Q", n)
)
PIECES = st.lists(
    st.binary(max_size=12) | SMALL | st.integers(0, 15).map(lambda n: struct.pack("<I", n))
    | st.sampled_from([text(b"general.architecture"), text(b"llama"), text(b"llama.block_count"), b"\x09\0\0\0"]),
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PIECES, tensors=st.integers(0, 3), entries=st.integers(0, 3))
def test_no_header_raises_anything_but_the_declared_error(
    tmp_path: Path, parts: list[bytes], tensors: int, entries: int
) -> None:
    path = tmp_path / "fuzz.gguf"
    path.write_bytes(header(*parts, tensors=tensors, entries=entries))
    try:
        read_header(path)
        read_gguf(path)
    except UsageError as error:
        assert "\n" not in str(error)
