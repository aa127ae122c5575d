"""`shipped`: a quantisation configuration by the method that it names."""

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import UsageError
from .floats import compressed_tensors, fbgemm, fp8, modelopt, mxfp4
from .integers import awq, bitnet, bitsandbytes, exl2, gptq, hqq, mlx, torchao
from .shipped import Shipped

METHODS: dict[str, Callable[[Mapping[str, Any]], Shipped]] = {
    "gptq": gptq,
    "awq": awq,
    "bitsandbytes": bitsandbytes,
    "fp8": fp8,
    "fbgemm_fp8": fbgemm,
    "mxfp4": mxfp4,
    "modelopt": modelopt,
    "compressed-tensors": compressed_tensors,
    "torchao": torchao,
    "hqq": hqq,
    "exl2": exl2,
    "mlx": mlx,
    "bitnet": bitnet,
}


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
