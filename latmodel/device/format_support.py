"""Which formats of weights a runtime runs on which devices, where a source says that some do not run."""

from typing import NamedTuple

from ..errors import UnknownDeviceError, UsageError
from ..model.formats import FORMATS, WeightFormat
from .datasheets import DataSheet, datasheet
from .profile import Profile


class Support(NamedTuple):
    """Devices on which a runtime multiplies by weights of a format.

    `capability` is the lowest CUDA compute capability (8.9: "sm_89"). `others` are the devices of other makers, by kind
    or by kind and the beginning of their architecture.
    """

    capability: float
    others: tuple[str, ...]
    source: str


# Cards of AMD with products of 8-bit floats.
_ROCM_FLOAT8 = ("rocm gfx94", "rocm gfx95", "rocm gfx12")
_VLLM = "vLLM 0.33.0: get_min_capability of model_executor/layers/quantization, supported_quantization of platforms"
# Below sm_89 Marlin reads 8-bit floats and multiplies in 16 bits; on a CPU and on Apple's chips vLLM has none of these.
_VLLM_FLOAT8 = Support(7.5, ("rocm", "xpu"), f"{_VLLM}; fp8.py")
_VLLM_BITSANDBYTES = Support(7.0, ("rocm",), "vLLM 0.6 as remembered, not looked up; 0.33.0 has no bitsandbytes")
_VLLM_AWQ = Support(7.5, ("rocm", "xpu", "cpu"), f"{_VLLM}; auto_awq.py")
_VLLM_GPTQ = Support(6.0, ("rocm", "xpu", "cpu"), f"{_VLLM}; auto_gptq.py")
_SERVING = {
    "int4-gptq": _VLLM_GPTQ,
    "int8-gptq": _VLLM_GPTQ,
    "int4-awq": _VLLM_AWQ,
    "int8-awq": _VLLM_AWQ,
    "fp8": _VLLM_FLOAT8,
    "fp8-block": _VLLM_FLOAT8,
    "int8": _VLLM_BITSANDBYTES,
    "nf4": _VLLM_BITSANDBYTES,
    "mxfp4": Support(8.0, ("rocm", "xpu"), f"{_VLLM}; mxfp4.py"),
    "nvfp4": Support(7.5, ("rocm",), f"{_VLLM}; modelopt.py, ModelOptNvFp4Config"),
}
# Elsewhere Transformers unpacks these checkpoints to 16 bits when it loads them. bitsandbytes 0.50 runs on all that
# latmodel knows (its README, "Accelerator support"), and so does GPTQModel.
_TRANSFORMERS = {
    "fp8-block": Support(8.9, (*_ROCM_FLOAT8, "xpu"), "Transformers 5.23: quantizers/quantizer_finegrained_fp8.py"),
    "mxfp4": Support(7.5, ("rocm", "xpu", "cpu"), "Transformers 5.23: quantizers/quantizer_mxfp4.py"),
}
# By a runtime's implementation. What is missing runs everywhere, as far as is known.
SUPPORT: dict[str, dict[str, Support]] = {
    "serving": _SERVING, "transformers": _TRANSFORMERS, "transformers-cpu": _TRANSFORMERS,
}  # fmt: skip


def runs(card: DataSheet, support: Support) -> bool:
    """Whether the device is one of those."""
    if card.kind == "cuda":
        return capability(card) >= support.capability
    return any(f"{card.kind} {card.architecture}".startswith(one) for one in support.others)


def capability(card: DataSheet) -> float:
    """CUDA compute capability: 8.9 of "sm_89", 10.3 of "sm_103"; 0 where the sheet has none."""
    digits = card.architecture.removeprefix("sm_")
    return float(f"{digits[:-1]}.{digits[-1]}") if digits.isdecimal() and len(digits) > 1 else 0.0


def check_format(profile: Profile, runtime: str, form: WeightFormat) -> None:
    """Refuse weights that a runtime cannot run on the profile's device, and name the formats that it can.

    A device without a data sheet is taken to run everything but the formats that one engine alone has.

    Raises:
        UsageError: it cannot.
    """
    part = profile.runtimes[runtime]
    if form.runtime and not part.formats:
        raise UsageError(f"{runtime} cannot run {form.name}, a format of one engine: use --runtime {form.runtime}")
    table = SUPPORT.get(part.implementation, {})
    support = table.get(form.name)
    if support is None:
        return
    try:
        card = datasheet(profile.gpu)
    except UnknownDeviceError:
        return
    if runs(card, support):
        return
    every = [name for name, one in FORMATS.items() if not one.runtime]  # the others are those of one engine
    others = [name for name in every if name not in table or runs(card, table[name])]
    able = f"there it has {', '.join(others)}" if others else "it has no quantised weights there"
    raise UsageError(
        f"{runtime} cannot run {form.name} weights on {card.title} ({card.architecture}), only on "
        f"{_wanted(support)}: {able}; or take a checkpoint in 16 bits"
    )


def _wanted(support: Support) -> str:
    """The devices, in words."""
    return ", ".join([f"sm_{10 * support.capability:.0f} and later", *support.others])
