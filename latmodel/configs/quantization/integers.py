"""Methods whose weights are whole numbers, or levels of a table: GPTQ, AWQ, bitsandbytes, torchao, HQQ, EXL2, MLX."""

from collections.abc import Mapping
from typing import Any

from ...errors import UsageError
from ...model.formats import FORMATS, WeightFormat
from .module_names import Names, sorted_names
from .shipped import Shipped, grouped, names_in, section, whole


def _packed(method: str, bits: int, group: int) -> WeightFormat:
    """GPTQ's or AWQ's in other widths: zero points of as many bits."""
    shared = float(group) if group > 0 else None
    known = FORMATS[f"int4-{method}"]
    return known._replace(name=f"int{bits}-{method}", bits=float(bits), zero_bits=float(bits), group=shared)


def gptq(data: Mapping[str, Any]) -> Shipped:
    """16-bit scales, zero points of as many bits, an int32 group index an input."""
    bits, group = whole(data, "bits", 4, (2, 3, 4, 8)), whole(data, "group_size", 128)
    named: list[tuple[Names, WeightFormat | None]] = []
    for rule, values in section(data, "dynamic").items():
        names = sorted_names(["re:" + rule.removeprefix("-:").removeprefix("+:")])
        if names.not_understood or not isinstance(values, Mapping):
            raise UsageError(f"quantization_config: dynamic: {rule[:60]!r} is no pattern that is read")
        skipped = rule.startswith("-:")
        named.append((names, None if skipped else _packed(
            "gptq", whole(values, "bits", bits, (2, 3, 4, 8)), whole(values, "group_size", group)
        )))  # fmt: skip
    form = _packed("gptq", bits, group)
    return Shipped(form, names_in(data, "modules_to_not_convert"), named=tuple(named),
                   head=form if data.get("lm_head") is True else None)  # fmt: skip


def awq(data: Mapping[str, Any]) -> Shipped:
    """As GPTQ without the index."""
    bits, group = whole(data, "bits", whole(data, "w_bit", 4), (4, 8)), whole(data, "group_size", 128)
    return Shipped(_packed("awq", bits, group), names_in(data, "modules_to_not_convert"))


def bitsandbytes(data: Mapping[str, Any]) -> Shipped:
    """nf4 or fp4: a float32 scale for 64 weights in a row, itself in 8 bits with a float32 for 256 of them if doubly
    quantised; LLM.int8: a float32 scale an output."""
    kept = names_in(data, "llm_int8_skip_modules")
    if data.get("load_in_8bit") or data.get("_load_in_8bit"):
        return Shipped(FORMATS["int8"], kept)
    kind = data.get("bnb_4bit_quant_type", "fp4")
    if not (data.get("load_in_4bit") or data.get("_load_in_4bit")) or kind not in ("nf4", "fp4"):
        raise UsageError("quantization_config: bitsandbytes with neither load_in_8bit nor load_in_4bit (nf4, fp4)")
    form = FORMATS["nf4"]._replace(name=kind)
    if data.get("bnb_4bit_use_double_quant"):
        form = form._replace(scale_bytes=1.0 + 4.0 / 256.0, tensor_bytes=64.0 + 4.0 + 256.0 * 4.0)
    return Shipped(form, kept)


# torchao's configurations: bits, and scale bytes (a 16-bit scale and zero point for a group; a scale an output).
_TORCHAO = {
    "int4_weight_only": ("int4", 4.0, 128, 4.0),
    "int8_weight_only": ("int8", 8.0, 0, 2.0),
    "int8_dynamic_activation_int8_weight": ("int8", 8.0, 0, 2.0),
    "int8_dynamic_activation_int4_weight": ("int4", 4.0, 32, 5.0),
    "float8_weight_only": ("fp8", 8.0, 0, 4.0),
    "float8_dynamic_activation_float8_weight": ("fp8", 8.0, 0, 4.0),
}  # fmt: skip


def torchao(data: Mapping[str, Any]) -> Shipped:
    kind, options = data.get("quant_type"), section(data, "quant_type_kwargs")
    if isinstance(kind, Mapping):
        inner = kind.get("default", kind)
        if not isinstance(inner, Mapping) or not isinstance(inner.get("_type"), str):
            raise UsageError("quantization_config: quant_type: give a configuration with its _type")
        options = section(inner, "_data")
        kind = _snake(inner["_type"].removesuffix("Config"))
    if not isinstance(kind, str) or kind not in _TORCHAO:
        raise UsageError(f"quantization_config: quant_type is {str(kind)[:40]!r}; known: {', '.join(_TORCHAO)}")
    name, bits, group, scale = _TORCHAO[kind]
    size = whole(options, "group_size", group)
    return Shipped(grouped(name, bits, size, scale), names_in(data, "modules_to_not_convert"))


def _snake(name: str) -> str:
    """Int4WeightOnly → int4_weight_only."""
    return "".join("_" + one.lower() if one.isupper() else one for one in name[:80]).strip("_")


def hqq(data: Mapping[str, Any]) -> Shipped:
    """A 16-bit scale and zero point for a group; 3 bits are stored ten in 32."""
    inner = section(data, "quant_config")
    values = section(inner, "weight_quant_params") or inner
    bits, group = whole(values, "nbits", 4, (1, 2, 3, 4, 8)), whole(values, "group_size", 64)
    return Shipped(grouped(f"int{bits}-hqq", 3.2 if bits == 3 else bits, group, 4.0), names_in(data, "skip_modules"))


def exl2(data: Mapping[str, Any]) -> Shipped:
    """Bits a weight on average, scales included; the head has its own."""
    bits, head = data.get("bits"), data.get("head_bits", 6)
    for name, value in (("bits", bits), ("head_bits", head)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 16:
            raise UsageError(f"quantization_config: {name} is {str(value)[:40]!r}: give bits a weight, 1 to 16")
    assert isinstance(bits, int | float), "checked above"
    return Shipped(WeightFormat("exl2", float(bits), None, None, 0.0), head=WeightFormat("exl2", head, None, None, 0.0))


def mlx(data: Mapping[str, Any]) -> Shipped:
    """A 16-bit scale and bias for a group, of the embedding and the head too."""
    bits, group = whole(data, "bits", 4, (2, 3, 4, 5, 6, 8)), whole(data, "group_size", 64)
    form = grouped(f"int{bits}-mlx", bits, group, 4.0)
    return Shipped(form, head=form, embedding=form)


def bitnet(data: Mapping[str, Any]) -> Shipped:
    """Ternary weights, four in a byte, and a 16-bit scale a matrix; trained ones are packed when they are loaded."""
    mode = data.get("quantization_mode", "offline")
    if mode not in ("offline", "online"):
        raise UsageError(f"quantization_config: quantization_mode is {str(mode)[:40]!r}; known: offline, online")
    form = WeightFormat("bitnet", 2.0 if mode == "offline" else 16.0, None, None, 0.0, tensor_bytes=2.0)
    return Shipped(form, names_in(data, "modules_to_not_convert"))
