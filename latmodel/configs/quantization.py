"""What a checkpoint's quantisation means: which products are in which format, with groups, scales and zero points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..model.formats import WeightFormat
from .module_names import Names, sorted_names

MAX_GROUP = 1_000_000
NOTHING = sorted_names(())


@dataclass(frozen=True)
class Shipped:
    """Formats of a checkpoint. `format` is that of every linear product of the blocks but those named.

    `named` are products in another format, or in none, and win in their order over `only` (if given, the format is of
    these alone) and `kept` (left in the dtype).
    """

    format: WeightFormat
    kept: Names = NOTHING
    only: Names | None = None
    named: tuple[tuple[Names, WeightFormat | None], ...] = ()
    head: WeightFormat | None = None  # of the LM head
    embedding: WeightFormat | None = None


def shipped(quantization: Mapping[str, Any]) -> Shipped:
    """The formats that a `quantization_config` or the object of a `hf_quant_config.json` describes.

    Raises:
        UsageError: a method, or a value of it, that is not understood; the field is named.
    """
    inner = quantization.get("quantization")
    if isinstance(inner, Mapping):  # hf_quant_config.json
        quantization = {"quant_method": "modelopt", **inner}
    method = quantization.get("quant_method")
    if method is None and ("quant_algo" in quantization or "producer" in quantization):
        method = "modelopt"
    if method is None and {"group_size", "bits"} <= quantization.keys():
        method = "mlx"
    if method == "fp8" and "quantized_layers" in quantization:
        method = "modelopt"
    read = METHODS.get(method) if isinstance(method, str) else None
    if read is None:
        raise UsageError(
            f"quantization_config: quant_method {str(method)[:40]!r} is not understood; known: {', '.join(METHODS)}"
        )
    return read(quantization)


def _whole(data: Mapping[str, Any], name: str, default: int, choices: Sequence[int] = ()) -> int:
    value = data.get(name)
    if value is None:
        return default
    good = isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= MAX_GROUP
    if not good or (choices and value not in choices):
        known = f"; known: {', '.join(map(str, choices))}" if choices else ""
        raise UsageError(f"quantization_config: {name} is {str(value)[:40]!r}{known}")
    return int(value)


def _list(data: Mapping[str, Any], *fields: str) -> Names:
    """The names that the first of the fields lists."""
    for field in fields:
        value = data.get(field)
        if value is None:
            continue
        if not isinstance(value, list | tuple):
            raise UsageError(f"quantization_config: {field} is a {type(value).__name__}: give a list of modules")
        names = sorted_names(value)
        if names.not_understood:
            raise UsageError(f"quantization_config: {field}: {names.not_understood[0]!r} is no pattern that is read")
        return names
    return NOTHING


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"quantization_config: {name} is a {type(value).__name__}: give an object")
    return value


def _grouped(name: str, bits: float, group: int, scale: float, zero_bits: float = 0.0, **more: float) -> WeightFormat:
    """A scale for each output and each `group` of inputs; −1 and 0 stand for all inputs."""
    return WeightFormat(name, bits, float(group) if group > 0 else None, 1.0, scale, zero_bits, **more)


GPTQ_WORKSPACE = 8.0 * 2048.0 * 4.0  # as `formats.FORMATS["int4-gptq"]`


def _gptq(data: Mapping[str, Any]) -> Shipped:
    """16-bit scales, zero points of as many bits, an int32 group index an input."""
    bits, group = _whole(data, "bits", 4, (2, 3, 4, 8)), _whole(data, "group_size", 128)

    def of(width: int, size: int) -> WeightFormat:
        return _grouped(f"int{width}-gptq", width, size, 2.0, width, input_bytes=4.0, workspace_bytes=GPTQ_WORKSPACE)

    named: list[tuple[Names, WeightFormat | None]] = []
    for rule, values in _section(data, "dynamic").items():
        names = sorted_names(["re:" + rule.removeprefix("-:").removeprefix("+:")])
        if names.not_understood or not isinstance(values, Mapping):
            raise UsageError(f"quantization_config: dynamic: {rule[:60]!r} is no pattern that is read")
        skipped = rule.startswith("-:")
        named.append((names, None if skipped else of(
            _whole(values, "bits", bits, (2, 3, 4, 8)), _whole(values, "group_size", group)
        )))  # fmt: skip
    form = of(bits, group)
    return Shipped(form, _list(data, "modules_to_not_convert"), named=tuple(named),
                   head=form if data.get("lm_head") is True else None)  # fmt: skip


def _awq(data: Mapping[str, Any]) -> Shipped:
    """As GPTQ without the index."""
    bits, group = _whole(data, "bits", _whole(data, "w_bit", 4), (4, 8)), _whole(data, "group_size", 128)
    return Shipped(_grouped(f"int{bits}-awq", bits, group, 2.0, bits), _list(data, "modules_to_not_convert"))


def _bitsandbytes(data: Mapping[str, Any]) -> Shipped:
    """nf4 or fp4: a float32 scale for 64 weights in a row, itself in 8 bits with a float32 for 256 of them if doubly
    quantised; LLM.int8: a float32 scale an output."""
    kept = _list(data, "llm_int8_skip_modules")
    if data.get("load_in_8bit") or data.get("_load_in_8bit"):
        return Shipped(WeightFormat("int8", 8.0, None, 1.0, 4.0), kept)
    kind = data.get("bnb_4bit_quant_type", "fp4")
    if not (data.get("load_in_4bit") or data.get("_load_in_4bit")) or kind not in ("nf4", "fp4"):
        raise UsageError("quantization_config: bitsandbytes with neither load_in_8bit nor load_in_4bit (nf4, fp4)")
    return Shipped(_grouped(kind, 4.0, 64, 1.0 + 4.0 / 256.0 if data.get("bnb_4bit_use_double_quant") else 4.0), kept)


def _fp8(data: Mapping[str, Any]) -> Shipped:
    """One float32 scale a tensor, or a block of inputs and outputs."""
    block = data.get("weight_block_size")
    form = WeightFormat("fp8", 8.0, None, None, 4.0)
    if block is not None:
        if not (isinstance(block, list | tuple) and len(block) == 2 and all(
            isinstance(one, int) and 0 < one <= MAX_GROUP for one in block
        )):  # fmt: skip
            raise UsageError("quantization_config: weight_block_size: give two whole numbers")
        form = form._replace(group=float(block[1]), columns=float(block[0]))
    return Shipped(form, _list(data, "modules_to_not_convert", "ignored_layers"))


def _fbgemm(data: Mapping[str, Any]) -> Shipped:
    """A float32 scale an output."""
    return Shipped(WeightFormat("fp8", 8.0, None, 1.0, 4.0), _list(data, "modules_to_not_convert"))


def _mxfp4(data: Mapping[str, Any]) -> Shipped:
    """Pairs of 4-bit floats, an 8-bit exponent for 32; of experts alone (gpt-oss)."""
    return Shipped(
        _grouped("mxfp4", 4.0, 32, 1.0), _list(data, "modules_to_not_convert"), only=sorted_names(["experts"])
    )


# ModelOpt's algorithms: bits, group, scale bytes of a group; a float32 scale a tensor beside them is not counted.
_NVFP4 = _grouped("nvfp4", 4.0, 16, 1.0)
_FP8 = WeightFormat("fp8", 8.0, None, None, 4.0)
ALGORITHMS: dict[str, WeightFormat] = {
    "FP8": _FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": WeightFormat("fp8", 8.0, None, 1.0, 4.0),
    "FP8_PB_WO": WeightFormat("fp8", 8.0, 128.0, 128.0, 4.0),
    "FP8_PB_REAL": WeightFormat("fp8", 8.0, 128.0, 128.0, 4.0),
    "NVFP4": _NVFP4,
    "NVFP4_AWQ": _NVFP4,
    "W4A16_NVFP4": _NVFP4,
    "W4A8_NVFP4_FP8": _NVFP4,
    "MXFP8": WeightFormat("fp8", 8.0, 32.0, 1.0, 1.0),
    "MXFP4": _grouped("mxfp4", 4.0, 32, 1.0),
    "W4A8_MXFP4_FP8": _grouped("mxfp4", 4.0, 32, 1.0),
    "W4A16_AWQ": _grouped("int4-awq", 4.0, 128, 2.0),
    "W4A8_AWQ": _grouped("int4-awq", 4.0, 128, 2.0),
    "W8A16": WeightFormat("int8", 8.0, None, 1.0, 4.0),
    "W8A8_SQ_PER_CHANNEL": WeightFormat("int8", 8.0, None, 1.0, 4.0),
}


def _algorithm(data: Mapping[str, Any], default_group: int | None = None) -> WeightFormat:
    name = data.get("quant_algo")
    form = ALGORITHMS.get(name) if isinstance(name, str) else None
    if form is None:
        raise UsageError(f"quantization_config: quant_algo is {str(name)[:40]!r}; known: {', '.join(ALGORITHMS)}")
    group = _whole(data, "group_size", default_group or 0)
    return form._replace(group=float(group)) if group > 0 and form.group and form.columns == 1.0 else form


def _modelopt(data: Mapping[str, Any]) -> Shipped:
    """One algorithm for all but the excluded modules, or one for each module that `quantized_layers` names."""
    kept = _list(data, "exclude_modules", "ignore")
    if data.get("quant_algo") != "MIXED_PRECISION":
        return Shipped(_algorithm(data), kept)
    by_format: dict[WeightFormat, list[str]] = {}
    for module, values in _section(data, "quantized_layers").items():
        if not isinstance(values, Mapping):
            raise UsageError(f"quantization_config: quantized_layers: {module[:60]!r}: give an object")
        by_format.setdefault(_algorithm(values), []).append(module)
    if not by_format:
        raise UsageError("quantization_config: quant_algo is MIXED_PRECISION without quantized_layers")
    named = tuple((sorted_names(modules), form) for form, modules in by_format.items())
    rest = _fp8(data).format if "weight_block_size" in data else None
    if rest is not None:  # a mixed checkpoint made from one in fp8
        return Shipped(rest, NOTHING, named=named)
    return Shipped(next(iter(by_format)), NOTHING, only=NOTHING, named=named)


def _compressed_tensors(data: Mapping[str, Any]) -> Shipped:
    """Groups of modules, each with bits and a strategy; 16-bit scales, or those of nvfp4 and mxfp4."""
    groups = list(_section(data, "config_groups").values())
    kept, default = _list(data, "ignore"), None
    named: list[tuple[Names, WeightFormat | None]] = [(kept, None)]
    for group in groups:
        if not isinstance(group, Mapping) or not isinstance(group.get("weights"), Mapping):
            raise UsageError("quantization_config: config_groups: a group has no weights")
        packing = group.get("format") or data.get("format") or ""
        form = _scheme(group["weights"], str(packing))
        targets = group.get("targets") or ["Linear"]
        if "Linear" in targets:
            default = form
        else:
            named.append((_list(group, "targets"), form))
    if not groups:
        raise UsageError("quantization_config: config_groups is missing")
    if default is None:
        return Shipped(next(form for _, form in named[1:] if form is not None), only=NOTHING, named=tuple(named))
    return Shipped(default, kept, named=tuple(named))


def _scheme(weights: Mapping[str, Any], packing: str) -> WeightFormat:
    bits = _whole(weights, "num_bits", 8, (2, 3, 4, 8))
    kind, strategy = weights.get("type", "int"), weights.get("strategy")
    group = _whole(weights, "group_size", 0)
    if kind == "float" and bits == 4:
        return _grouped("mxfp4", 4.0, 32, 1.0) if "mxfp4" in packing or group == 32 else _NVFP4
    if strategy == "block":
        return _fp8({"weight_block_size": weights.get("block_structure")}).format
    name, scale = ("fp8", 4.0) if kind == "float" else (f"int{bits}", 2.0)
    if strategy == "tensor" or (strategy is None and group <= 0):
        return WeightFormat(name, bits, None, None, 4.0)
    zero = 0.0 if weights.get("symmetric", True) else float(bits if "pack" in packing else 8)
    order = 4.0 if weights.get("actorder") == "group" else 0.0
    return _grouped(name, bits, group if strategy in ("group", "tensor_group") else 0, scale, zero, input_bytes=order)


# torchao's configurations: bits, and scale bytes (a 16-bit scale and zero point for a group; a scale an output).
_TORCHAO = {
    "int4_weight_only": ("int4", 4.0, 128, 4.0),
    "int8_weight_only": ("int8", 8.0, 0, 2.0),
    "int8_dynamic_activation_int8_weight": ("int8", 8.0, 0, 2.0),
    "int8_dynamic_activation_int4_weight": ("int4", 4.0, 32, 5.0),
    "float8_weight_only": ("fp8", 8.0, 0, 4.0),
    "float8_dynamic_activation_float8_weight": ("fp8", 8.0, 0, 4.0),
}  # fmt: skip


def _torchao(data: Mapping[str, Any]) -> Shipped:
    kind, options = data.get("quant_type"), _section(data, "quant_type_kwargs")
    if isinstance(kind, Mapping):
        inner = kind.get("default", kind)
        if not isinstance(inner, Mapping) or not isinstance(inner.get("_type"), str):
            raise UsageError("quantization_config: quant_type: give a configuration with its _type")
        options = _section(inner, "_data")
        kind = _snake(inner["_type"].removesuffix("Config"))
    if kind not in _TORCHAO:
        raise UsageError(f"quantization_config: quant_type is {str(kind)[:40]!r}; known: {', '.join(_TORCHAO)}")
    name, bits, group, scale = _TORCHAO[kind]
    size = _whole(options, "group_size", group)
    return Shipped(_grouped(name, bits, size, scale), _list(data, "modules_to_not_convert"))


def _snake(name: str) -> str:
    """Int4WeightOnly → int4_weight_only."""
    return "".join("_" + one.lower() if one.isupper() else one for one in name[:80]).strip("_")


def _hqq(data: Mapping[str, Any]) -> Shipped:
    """A 16-bit scale and zero point for a group; 3 bits are stored ten in 32."""
    inner = _section(data, "quant_config")
    values = _section(inner, "weight_quant_params") or inner
    bits, group = _whole(values, "nbits", 4, (1, 2, 3, 4, 8)), _whole(values, "group_size", 64)
    return Shipped(_grouped(f"int{bits}-hqq", 3.2 if bits == 3 else bits, group, 4.0), _list(data, "skip_modules"))


def _exl2(data: Mapping[str, Any]) -> Shipped:
    """Bits a weight on average, scales included; the head has its own."""
    bits, head = data.get("bits"), data.get("head_bits", 6)
    for name, value in (("bits", bits), ("head_bits", head)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 16:
            raise UsageError(f"quantization_config: {name} is {str(value)[:40]!r}: give bits a weight, 1 to 16")
    assert isinstance(bits, int | float), "checked above"
    return Shipped(WeightFormat("exl2", float(bits), None, None, 0.0), head=WeightFormat("exl2", head, None, None, 0.0))


def _mlx(data: Mapping[str, Any]) -> Shipped:
    """A 16-bit scale and bias for a group, of the embedding and the head too."""
    bits, group = _whole(data, "bits", 4, (2, 3, 4, 5, 6, 8)), _whole(data, "group_size", 64)
    form = _grouped(f"int{bits}-mlx", bits, group, 4.0)
    return Shipped(form, head=form, embedding=form)


METHODS: dict[str, Callable[[Mapping[str, Any]], Shipped]] = {
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "compressed-tensors": _compressed_tensors,
    "torchao": _torchao,
    "hqq": _hqq,
    "exl2": _exl2,
    "mlx": _mlx,
}
