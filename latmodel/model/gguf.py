"""Number formats of GGUF files, as llama.cpp writes them: tensors of several types in one file, exact in bytes.

A type packs blocks of 32 weights, or super-blocks of 256 (K-quants), with their scales. A matrix whose input
dimension is no multiple of the block is stored in another type (`FALLBACKS`). A file type is a mixture: `more` stands
for the values' projection and the down projection of about half the blocks, `head` for the LM head, which is the
embedding itself where the two are tied. Norms are float32.
Source of both: ggml-org/llama.cpp, `ggml-common.h` (sizes of blocks) and `llama-quant.cpp`
(`llama_tensor_get_type`, `use_more_bits`, `tensor_type_fallback`), as shipped with llama-cpp-python 0.3.36;
`tests/test_gguf.py` holds block sizes against the `gguf` package and files against those of `llama-quantize`.
"""

from typing import NamedTuple

from .formats import WeightFormat


class TensorType(NamedTuple):
    """A type of tensor: `block` weights take `block_bytes`."""

    block: float
    block_bytes: float

    @property
    def bits(self) -> float:
        """Bits a weight, scales included."""
        return 8.0 * self.block_bytes / self.block


# Type → values of a block and its bytes, scales included (gguf.GGML_QUANT_SIZES 0.19; tests compare them).
TENSOR_TYPES: dict[str, TensorType] = {
    "f32": TensorType(1.0, 4.0), "f16": TensorType(1.0, 2.0),
    "q4_0": TensorType(32.0, 18.0), "q4_1": TensorType(32.0, 20.0),
    "q5_0": TensorType(32.0, 22.0), "q5_1": TensorType(32.0, 24.0),
    "q8_0": TensorType(32.0, 34.0), "q8_1": TensorType(32.0, 40.0),
    "q2_k": TensorType(256.0, 84.0), "q3_k": TensorType(256.0, 110.0),
    "q4_k": TensorType(256.0, 144.0), "q5_k": TensorType(256.0, 176.0),
    "q6_k": TensorType(256.0, 210.0), "q8_k": TensorType(256.0, 292.0),
    "iq2_xxs": TensorType(256.0, 66.0), "iq2_xs": TensorType(256.0, 74.0),
    "iq3_xxs": TensorType(256.0, 98.0), "iq1_s": TensorType(256.0, 50.0),
    "iq4_nl": TensorType(32.0, 18.0), "iq3_s": TensorType(256.0, 110.0),
    "iq2_s": TensorType(256.0, 82.0), "iq4_xs": TensorType(256.0, 136.0),
    "i8": TensorType(1.0, 1.0), "i16": TensorType(1.0, 2.0),
    "i32": TensorType(1.0, 4.0), "i64": TensorType(1.0, 8.0),
    "f64": TensorType(1.0, 8.0), "iq1_m": TensorType(256.0, 56.0),
    "bf16": TensorType(1.0, 2.0), "tq1_0": TensorType(256.0, 54.0),
    "tq2_0": TensorType(256.0, 66.0), "mxfp4": TensorType(32.0, 17.0),
    "nvfp4": TensorType(64.0, 36.0), "q1_0": TensorType(128.0, 18.0),
}  # fmt: skip


class FileType(NamedTuple):
    """Types of tensor in one file: of most matrices, of the ones given more bits, and of the LM head."""

    base: str
    more: str
    head: str

    @property
    def multiple(self) -> int:
        """What every input dimension must be a multiple of."""
        return int(max(TENSOR_TYPES[name].block for name in self))


# What is stored instead of a type whose blocks do not divide the input dimension; 16 bits where neither's do.
FALLBACKS = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}


def stored_type(name: str, inputs: int) -> str:
    """The type that the quantiser stores a matrix of so many inputs in, where `name` is what it is to have."""
    while inputs % TENSOR_TYPES[name].block:
        name = FALLBACKS.get(name, "f16")
    return name


def misfits(name: str) -> tuple[tuple[float, float], ...]:
    """(block, bytes more a weight where it does not divide the input dimension) for a type and what replaces it."""
    kind = TENSOR_TYPES[name]
    if kind.block == 1.0:
        return ()
    instead = FALLBACKS.get(name, "f16")
    return ((kind.block, (TENSOR_TYPES[instead].bits - kind.bits) / 8.0), *misfits(instead))


FILE_TYPES = {
    "f16": FileType("f16", "f16", "f16"),
    "bf16": FileType("bf16", "bf16", "bf16"),
    "q8_0": FileType("q8_0", "q8_0", "q8_0"),
    "q6_k": FileType("q6_k", "q6_k", "q6_k"),
    "q5_k_m": FileType("q5_k", "q6_k", "q6_k"),
    "q4_k_m": FileType("q4_k", "q6_k", "q6_k"),
    "q4_0": FileType("q4_0", "q4_0", "q6_k"),
}
# Mixtures give `more` to half of the down projections, and to half of the values', which share a product with the keys.
MIXED = {"down_proj": 0.5, "kv_proj": 0.25}


def more_bits(index: int, layers: int) -> bool:
    """Whether a mixture gives the block of this index more bits (`use_more_bits`).

    The first and the last eighth do, and every third between: half of them, but for depths that eight does not divide.
    """
    first = layers // 8
    return index < first or index >= 7 * layers // 8 or (index - first) % 3 == 2


def weight_format(name: str) -> WeightFormat:
    """The file type as a format of linear products."""
    types = FILE_TYPES[name]
    base, head = TENSOR_TYPES[types.base].bits, TENSOR_TYPES[types.head].bits
    return WeightFormat(
        name, base, None, None, 0.0, vector_bytes=TENSOR_TYPES["f32"].block_bytes, head_bits=head,
        multiple=types.multiple, runtime="llama.cpp", misfits=misfits(types.base), head_misfits=misfits(types.head),
    )  # fmt: skip


def mixed_parts(name: str) -> tuple[tuple[str, WeightFormat | None], ...]:
    """Products that a mixture keeps in other types, with their mean bits: right where half the blocks get more.

    At other depths the sum over a model is off by at most 0.4 % (22 blocks of Q4_K_M).
    """
    types, form = FILE_TYPES[name], GGUF_FORMATS[name]
    if not form.misfits:  # of one type, whatever the dimensions
        return ()
    base, more = TENSOR_TYPES[types.base].bits, TENSOR_TYPES[types.more].bits
    return tuple(
        (product, form._replace(bits=base + share * (more - base), misfits=_mixed(types, share)))
        for product, share in MIXED.items()
    )


def _mixed(types: FileType, share: float) -> tuple[tuple[float, float], ...]:
    """Misfits of a mean of the two types, whose blocks are alike."""
    pairs = zip(misfits(types.base), misfits(types.more), strict=True)
    return tuple((block, (1.0 - share) * base + share * more) for (block, base), (_, more) in pairs)


GGUF_FORMATS: dict[str, WeightFormat] = {name: weight_format(name) for name in FILE_TYPES}
GGUF_PARTS = {name: mixed_parts(name) for name in FILE_TYPES}
