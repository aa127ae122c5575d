"""Number formats of weights and KV cache: what they take in memory, exactly, scales and zero points included."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..arrays import Array, ceil, total
from .alignment import uneven
from .record import Record

CacheName = Literal["fp8", "int8", "q8_0", "q4_0"]
# One byte an element; one scale a tensor (TensorRT-LLM and vLLM), a few bytes in all, is not counted. llama.cpp's (its
# `--cache-type-k`) are blocks of 32 with a 16-bit scale, as of weights (`gguf.TENSOR_TYPES`).
CACHE_BYTES: dict[str, float] = {"fp8": 1.0, "int8": 1.0, "q8_0": 34.0 / 32.0, "q4_0": 18.0 / 32.0}


class WeightFormat(NamedTuple):
    """A quantised format of linear layers; everything else of a model stays in its dtype.

    `group` inputs × `columns` outputs share a scale (and a zero point, if it has bits); None stands for all of them.
    """

    name: str
    bits: float
    group: float | None
    columns: float | None
    scale_bytes: float
    zero_bits: float = 0.0
    input_bytes: float = 0.0  # for each input: the order of groups that GPTQ stores as `g_idx`
    workspace_bytes: float = 0.0  # held by kernels that hold any, for each output of the widest layer
    tensor_bytes: float = 0.0  # for each matrix
    flat: bool = False  # groups of weights run on from row to row
    vector_bytes: float | None = None  # of each parameter that is in no product and no table; None: the dtype's
    shipped: bool = False  # a checkpoint's own: its blocks say which products it does not apply to
    head_bits: float | None = None  # of the LM head, where the format stores it too (GGUF)
    multiple: int = 1  # of which every input dimension must be a multiple
    table_bytes: float | None = (
        None  # of each value of the embedding, in a file with `head_bits`; None: the format's own
    )
    runtime: str | None = None  # the one that alone runs it
    misfits: tuple[tuple[float, float], ...] = ()  # (dimension, bytes more a weight where it does not divide the input)
    head_misfits: tuple[tuple[float, float], ...] = ()  # the same of the LM head

    def linear_bytes(self, inputs: Array, outputs: Array) -> Array:
        """Bytes of one linear layer of `inputs` × `outputs` weights."""
        if self.flat and self.group is not None:
            blocks = ceil(inputs * outputs * (1.0 / self.group))
            return inputs * outputs * (self.bits / 8.0) + blocks * self.scale_bytes + self.tensor_bytes
        groups = 1.0 if self.group is None else ceil(inputs * (1.0 / self.group))
        columns = 1.0 if self.columns is None else ceil(outputs * (1.0 / self.columns))
        each = self.scale_bytes + self.zero_bits / 8.0
        return (
            inputs * outputs * (self.bits / 8.0)
            + groups * columns * each
            + inputs * self.input_bytes
            + self.tensor_bytes
        )

    @property
    def bytes_each(self) -> float:
        """Bytes read for each weight: scales that a group shares included, those of a whole dimension not."""
        shared = self.group * self.columns if self.group and self.columns else None
        return self.bits / 8.0 + ((self.scale_bytes + self.zero_bits / 8.0) / shared if shared else 0.0)

    def bytes_at(self, inputs: Array) -> Array:
        """The same of a product of so many inputs, which the format's blocks may not divide."""
        return _at(self.bytes_each, self.misfits, inputs)

    def head_bytes_at(self, inputs: Array) -> Array:
        """Bytes for each weight of an LM head of so many inputs, where the format stores it (`head_bits`)."""
        return _at((self.bits if self.head_bits is None else self.head_bits) / 8.0, self.head_misfits, inputs)


def _at(each: float, misfits: tuple[tuple[float, float], ...], inputs: Array) -> Array:
    return total([each, *(more * uneven(inputs, 1.0 / block) for block, more in misfits)])


# Formats of engines that measure whole models, GGUF's apart; what they leave in the dtype is float32 on a CPU.
# ONNX Runtime GenAI's builder by default: MatMulNBits of symmetric 4-bit blocks, each of 32 inputs with a float32
# scale, the LM head too; "float32" is the same graph without.
ENGINE_FORMATS: dict[str, WeightFormat] = {
    "int4": WeightFormat(
        "int4", 4.0, 32.0, 1.0, 4.0, vector_bytes=4.0, head_bits=5.0, multiple=32, table_bytes=4.0,
        runtime="onnxruntime",
    ),
    "float32": WeightFormat("float32", 32.0, None, None, 0.0, head_bits=32.0, runtime="onnxruntime"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Numbers(Record):
    """Bytes per element of weights, activations and KV cache; `format` if the blocks' linear layers are quantised."""

    weight_bytes: float
    activation_bytes: float
    cache_bytes: float
    format: WeightFormat | None = None
    parts: tuple[tuple[str, WeightFormat | None], ...] = ()  # products of one block in another format, or in none

    @property
    def head_bytes(self) -> float:
        """Bytes per weight of the LM head, which quantised formats leave alone, but for GGUF's."""
        if self.format is None:
            return self.weight_bytes
        return self.activation_bytes if self.format.head_bits is None else self.format.head_bits / 8.0

    def within(self, parts: tuple[tuple[str, WeightFormat | None], ...]) -> "Numbers":
        """Those of one block: the formats that its checkpoint has for single products, if it is run as shipped."""
        return self._replace(parts=parts) if parts and self.format is not None and self.format.shipped else self

    def format_of(self, product: str) -> WeightFormat | None:
        """The format of one linear product."""
        return next((form for name, form in self.parts if name == product), self.format)

    def of(self, form: WeightFormat) -> "Numbers":
        """The same with all products in one format."""
        return self._replace(weight_bytes=form.bytes_each, format=form, parts=())

    def product_bytes(self, product: str, inputs: Array) -> Array:
        """Bytes read for each weight of one linear product of so many inputs."""
        form = self.format_of(product)
        return self.activation_bytes if form is None else form.bytes_at(inputs)

    def head_bytes_at(self, inputs: Array) -> Array:
        """Bytes for each weight of an LM head of so many inputs: `head_bytes`, but for a GGUF width of odd blocks."""
        form = self.format
        return self.head_bytes if form is None or not form.head_misfits else form.head_bytes_at(inputs)


FORMATS: dict[str, WeightFormat] = {
    # One float32 scale a tensor, as static fp8 checkpoints have.
    "fp8": WeightFormat("fp8", 8.0, None, None, 4.0),
    # LLM.int8 (arXiv 2208.07339): one float32 scale an output.
    "int8": WeightFormat("int8", 8.0, None, 1.0, 4.0),
    # GPTQ (arXiv 2210.17323) as AutoGPTQ stores it: 16-bit scales, 4-bit zero points, an int32 group index an input.
    # Its default kernels, ExLlamaV2's, hold a float32 output of 8 × 2048 rows of the widest layer, whatever is run, and
    # the largest matrix unpacked (AutoGPTQ 0.6, qlinear_exllamav2.py: `scratch_space_fixed`).
    "int4-gptq": WeightFormat("int4-gptq", 4.0, 128.0, 1.0, 2.0, 4.0, 4.0, 8.0 * 2048.0 * 4.0),
    # AWQ (arXiv 2306.00978), GEMM layout: the same without the index.
    "int4-awq": WeightFormat("int4-awq", 4.0, 128.0, 1.0, 2.0, 4.0),
    # GPTQ in 8 bits: 8-bit zero points.
    "int8-gptq": WeightFormat("int8-gptq", 8.0, 128.0, 1.0, 2.0, 8.0, 4.0),
    # bitsandbytes' NormalFloat (QLoRA, arXiv 2305.14314): a float32 maximum for each 64 weights of the flattened matrix
    # and 16 float32 levels a matrix; maxima are not quantised again unless asked for (bnb_4bit_use_double_quant).
    "nf4": WeightFormat("nf4", 4.0, 64.0, 1.0, 4.0, tensor_bytes=64.0, flat=True),
    # OCP Microscaling (MX) specification 1.0: 32 inputs share an 8-bit exponent.
    "mxfp4": WeightFormat("mxfp4", 4.0, 32.0, 1.0, 1.0),
    # NVIDIA's NVFP4: 16 inputs share an 8-bit float, and a matrix a float32.
    "nvfp4": WeightFormat("nvfp4", 4.0, 16.0, 1.0, 1.0, tensor_bytes=4.0),
    # DeepSeek-V3 (arXiv 2412.19437, section 3.3): a float32 scale for 128 × 128 weights.
    "fp8-block": WeightFormat("fp8-block", 8.0, 128.0, 128.0, 4.0),
    "int4": ENGINE_FORMATS["int4"],
}
