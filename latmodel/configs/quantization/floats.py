"""Methods whose weights are 4- or 8-bit floats: fp8, mxfp4, ModelOpt; and compressed-tensors, which has both kinds."""

from collections.abc import Mapping
from typing import Any

from ...errors import UsageError
from ...model.formats import FORMATS, WeightFormat
from .module_names import Names, sorted_names
from .shipped import MAX_GROUP, NOTHING, Shipped, grouped, names_in, section, whole


def fp8(data: Mapping[str, Any]) -> Shipped:
    """One float32 scale a tensor, or a block of inputs and outputs."""
    block = data.get("weight_block_size")
    form = FORMATS["fp8"]
    if block is not None:
        if not (isinstance(block, list | tuple) and len(block) == 2 and all(
            isinstance(one, int) and 0 < one <= MAX_GROUP for one in block
        )):  # fmt: skip
            raise UsageError("quantization_config: weight_block_size: give two whole numbers")
        form = FORMATS["fp8-block"]._replace(group=float(block[1]), columns=float(block[0]))
    experts = data.get("expert_dtype")  # DeepSeek-V4: 4-bit floats, an 8-bit exponent for 32
    if experts not in (None, "fp8", "fp4"):
        raise UsageError(f"expert_dtype is {str(experts)[:40]!r}; known: fp4, fp8")
    named = ((sorted_names(["experts"]), FORMATS["mxfp4"]),) if experts == "fp4" else ()
    return Shipped(form, names_in(data, "modules_to_not_convert", "ignored_layers"), named=named)


def fbgemm(data: Mapping[str, Any]) -> Shipped:
    """A float32 scale an output."""
    return Shipped(WeightFormat("fp8", 8.0, None, 1.0, 4.0), names_in(data, "modules_to_not_convert"))


def mxfp4(data: Mapping[str, Any]) -> Shipped:
    """Pairs of 4-bit floats, an 8-bit exponent for 32; of experts alone (gpt-oss)."""
    return Shipped(FORMATS["mxfp4"], names_in(data, "modules_to_not_convert"), only=sorted_names(["experts"]))


_NVFP4 = FORMATS["nvfp4"]
# ModelOpt's algorithms.
ALGORITHMS: dict[str, WeightFormat] = {
    "FP8": FORMATS["fp8"],
    "FP8_PER_CHANNEL_PER_TOKEN": WeightFormat("fp8", 8.0, None, 1.0, 4.0),
    "FP8_PB_WO": FORMATS["fp8-block"],
    "FP8_PB_REAL": FORMATS["fp8-block"],
    "NVFP4": _NVFP4,
    "NVFP4_AWQ": _NVFP4,
    "W4A16_NVFP4": _NVFP4,
    "W4A8_NVFP4_FP8": _NVFP4,
    "MXFP8": WeightFormat("fp8", 8.0, 32.0, 1.0, 1.0),
    "MXFP4": FORMATS["mxfp4"],
    "W4A8_MXFP4_FP8": FORMATS["mxfp4"],
    "W4A16_AWQ": FORMATS["int4-awq"],
    "W4A8_AWQ": FORMATS["int4-awq"],
    "W8A16": FORMATS["int8"],
    "W8A8_SQ_PER_CHANNEL": FORMATS["int8"],
}


def _algorithm(data: Mapping[str, Any], default_group: int | None = None) -> WeightFormat:
    name = data.get("quant_algo")
    form = ALGORITHMS.get(name) if isinstance(name, str) else None
    if form is None:
        raise UsageError(f"quantization_config: quant_algo is {str(name)[:40]!r}; known: {', '.join(ALGORITHMS)}")
    group = whole(data, "group_size", default_group or 0)
    return form._replace(group=float(group)) if group > 0 and form.group and form.columns == 1.0 else form


def modelopt(data: Mapping[str, Any]) -> Shipped:
    """One algorithm for all but the excluded modules, or one for each module that `quantized_layers` names."""
    kept = names_in(data, "exclude_modules", "ignore")
    if data.get("quant_algo") != "MIXED_PRECISION":
        return Shipped(_algorithm(data), kept)
    by_format: dict[WeightFormat, list[str]] = {}
    for module, values in section(data, "quantized_layers").items():
        if not isinstance(values, Mapping):
            raise UsageError(f"quantization_config: quantized_layers: {module[:60]!r}: give an object")
        by_format.setdefault(_algorithm(values), []).append(module)
    if not by_format:
        raise UsageError("quantization_config: quant_algo is MIXED_PRECISION without quantized_layers")
    named = tuple((sorted_names(modules), form) for form, modules in by_format.items())
    rest = fp8(data).format if "weight_block_size" in data else None
    if rest is not None:  # a mixed checkpoint made from one in fp8
        return Shipped(rest, NOTHING, named=named)
    return Shipped(next(iter(by_format)), NOTHING, only=NOTHING, named=named)


def compressed_tensors(data: Mapping[str, Any]) -> Shipped:
    """Groups of modules, each with bits and a strategy; 16-bit scales, or those of nvfp4 and mxfp4."""
    groups = list(section(data, "config_groups").values())
    kept, default = names_in(data, "ignore"), None
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
            named.append((names_in(group, "targets"), form))
    if not groups:
        raise UsageError("quantization_config: config_groups is missing")
    if default is None:
        return Shipped(next(form for _, form in named[1:] if form is not None), only=NOTHING, named=tuple(named))
    return Shipped(default, kept, named=tuple(named))


def _scheme(weights: Mapping[str, Any], packing: str) -> WeightFormat:
    bits = whole(weights, "num_bits", 8, (2, 3, 4, 8))
    kind, strategy = weights.get("type", "int"), weights.get("strategy")
    group = whole(weights, "group_size", 0)
    if kind == "float" and bits == 4:
        return FORMATS["mxfp4"] if "mxfp4" in packing or group == 32 else _NVFP4
    if strategy == "block":
        return fp8({"weight_block_size": weights.get("block_structure")}).format
    name, scale = ("fp8", 4.0) if kind == "float" else (f"int{bits}", 2.0)
    if strategy == "tensor" or (strategy is None and group <= 0):
        return WeightFormat(name, bits, None, None, 4.0)
    zero = 0.0 if weights.get("symmetric", True) else float(bits if "pack" in packing else 8)
    order = 4.0 if weights.get("actorder") == "group" else 0.0
    form = grouped(name, bits, group if strategy in ("group", "tensor_group") else 0, scale, zero)
    return form._replace(input_bytes=order)
