"""Number formats of weights and KV cache: what they take in memory, exactly, scales and zero points included."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from ..arrays import Array, ceil

CacheName = Literal["fp8", "int8"]
# One byte an element; one scale a tensor (TensorRT-LLM and vLLM), a few bytes in all, is not counted.
CACHE_BYTES: dict[str, float] = {"fp8": 1.0, "int8": 1.0}


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
    head_bits: float | None = None  # of the LM head, where the format stores it too (GGUF)
    mixed: tuple[tuple[str, float], ...] = ()  # mean bits of the linear products, by name, that have others
    multiple: int = 1  # of which every input dimension must be a multiple

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


class Numbers(NamedTuple):
    """Bytes per element of weights, activations and KV cache; `format` if the blocks' linear layers are quantised."""

    weight_bytes: float
    activation_bytes: float
    cache_bytes: float
    format: WeightFormat | None = None

    @property
    def head_bytes(self) -> float:
        """Bytes per weight of the LM head, which quantised formats leave alone, but for GGUF's."""
        if self.format is None:
            return self.weight_bytes
        return self.activation_bytes if self.format.head_bits is None else self.format.head_bits / 8.0

    def bytes_of(self, linear: str) -> float:
        """Bytes per weight of the linear product of this name."""
        if self.format is not None:
            for name, bits in self.format.mixed:
                if name == linear:
                    return bits / 8.0
        return self.weight_bytes


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
}


def format_of(quantization: Mapping[str, Any] | None) -> tuple[WeightFormat | None, str | None]:
    """The format that a `quantization_config` describes, and a note if it is not understood.

    Read: gptq and awq (4 or 8 bits, any group size), fp8 (with or without blocks), bitsandbytes (8 bits, nf4), mxfp4.
    """
    if not quantization:
        return None, None
    method = quantization.get("quant_method")
    reader = _READERS.get(method) if isinstance(method, str) else None
    chosen = None if reader is None else reader(quantization)
    if chosen is None:
        return None, f"quantization_config: {str(method)[:40]!r} is not understood; weights taken as the dtype's"
    return chosen, None


def _grouped(quantization: Mapping[str, Any]) -> WeightFormat | None:
    """GPTQ or AWQ: the bits of weights and zero points, and the inputs that share them."""
    method, bits, group = quantization["quant_method"], quantization.get("bits", 4), quantization.get("group_size", 128)
    if bits not in (4, 8) or not isinstance(group, int):
        return None
    width, known = float(bits), FORMATS[f"int4-{method}"]
    shared = float(group) if group > 0 else None
    return known._replace(name=f"int{bits}-{method}", bits=width, zero_bits=width, group=shared)


def _fp8(quantization: Mapping[str, Any]) -> WeightFormat:
    """fp8 with one float32 scale a tensor, or a block of inputs and outputs."""
    block = quantization.get("weight_block_size")
    if isinstance(block, list | tuple) and len(block) == 2 and all(isinstance(x, int) and x > 0 for x in block):
        return FORMATS["fp8-block"]._replace(group=float(block[1]), columns=float(block[0]))
    return FORMATS["fp8"]


def _bitsandbytes(quantization: Mapping[str, Any]) -> WeightFormat | None:
    """LLM.int8, or NormalFloat with maxima that are not quantised again (4 bits of another kind take as many bytes)."""
    if quantization.get("load_in_8bit"):
        return FORMATS["int8"]
    if not quantization.get("load_in_4bit"):
        return None
    if not quantization.get("bnb_4bit_use_double_quant"):
        return FORMATS["nf4"]
    # 8 bits a maximum, a float32 for each 256 of them, their mean and 256 levels.
    return FORMATS["nf4"]._replace(scale_bytes=1.0 + 4.0 / 256.0, tensor_bytes=64.0 + 4.0 + 256.0 * 4.0)


_READERS: dict[str, Callable[[Mapping[str, Any]], WeightFormat | None]] = {
    "gptq": _grouped,
    "awq": _grouped,
    "fp8": _fp8,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": lambda _: FORMATS["mxfp4"],
}
