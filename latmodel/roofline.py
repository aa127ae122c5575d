"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from typing import NamedTuple

from .arrays import Array, maximum
from .attention import decode_seconds, prefill_seconds
from .coefficients import CpuCoefficients, Device, PointwiseCoefficients, Sheet
from .cpu import cpu_seconds
from .gemm import gemm_seconds
from .ops import OpCost


class OpTime(NamedTuple):
    """Device seconds of an operator, and how many of them its arithmetic alone would take."""

    seconds: Array
    compute_s: Array


def op_seconds(op: OpCost, sheet: Sheet, fit: Device, gap_s: float, *, hot: bool = False) -> OpTime:
    """Seconds of `op` on the device, `gap_s` for each of its kernels included."""
    if isinstance(fit, CpuCoefficients):
        seconds, compute = cpu_seconds(op, fit, sheet)
    elif op.kind == "gemm":
        seconds, compute = gemm_seconds(op, fit.gemm, sheet, hot=hot)
    elif op.kind == "prefill":
        seconds, compute = prefill_seconds(op, fit.prefill, sheet, hot=hot)
    elif op.kind == "decode":
        seconds, compute = decode_seconds(op, fit.decode, sheet, hot=hot)
    else:
        seconds, compute = pointwise_seconds(op, fit.pointwise, sheet), 0.0
    return OpTime(seconds + op.kernels * gap_s, compute)


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> Array:
    """Seconds of pointwise kernels: what the cache holds from one pass to the next is read at the cache's speed."""
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached_per_byte = per_byte / c.cache_speedup
    held = (c.cache_share * sheet.cache_bytes) * op.passes
    nbytes = op.bytes
    excess = maximum(nbytes - held, 0.0)
    return nbytes * cached_per_byte + excess * (per_byte - cached_per_byte) + op.kernels * c.floor_s
