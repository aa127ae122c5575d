"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from typing import NamedTuple

from .arrays import Array, maximum
from .attention import decode_seconds, prefill_seconds
from .coefficients import CpuCoefficients, Device, PointwiseCoefficients, Sheet
from .cpu import cpu_seconds
from .gemm import gemm_seconds
from .ops import OpCost


class OpTime(NamedTuple):
    """Device seconds of an operator: what its size costs, its floor with the gaps, and its arithmetic alone."""

    work_s: Array
    fixed_s: Array
    compute_s: Array

    @property
    def seconds(self) -> Array:
        """All of it."""
        return self.work_s + self.fixed_s


def op_seconds(
    op: OpCost, sheet: Sheet, fit: Device, gap_s: float, *, hot: bool = False, aligned: bool = False
) -> OpTime:
    """Seconds of `op` on the device, `gap_s` for each of its kernels included."""
    gaps = op.kernels * gap_s
    if isinstance(fit, CpuCoefficients):
        work, compute = cpu_seconds(op, fit, sheet)
        return OpTime(work, gaps, compute)
    if op.kind == "gemm":
        work, compute = gemm_seconds(op, fit.gemm, sheet, hot=hot, aligned=aligned)
        return OpTime(work, op.repeat * fit.gemm.floor_s + gaps, compute)
    if op.kind == "prefill":
        work, compute = prefill_seconds(op, fit.prefill, sheet, hot=hot)
        return OpTime(work, fit.prefill.floor_s + gaps, compute)
    if op.kind == "decode":
        work, compute = decode_seconds(op, fit.decode, sheet, hot=hot)
        return OpTime(work, fit.decode.floor_s + gaps, compute)
    return OpTime(pointwise_seconds(op, fit.pointwise, sheet), op.kernels * fit.pointwise.floor_s + gaps, 0.0)


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> Array:
    """Seconds of pointwise kernels beyond their floors: what the cache holds between two passes is read from there.

    nbytes / cache rate + max(nbytes − held, 0) · (1 / memory rate − 1 / cache rate), with the maximum drawn outside.
    """
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached = per_byte / c.cache_speedup
    held_s = (c.cache_share * sheet.cache_bytes) * op.passes * (per_byte - cached)
    nbytes = op.activation_bytes
    return maximum(nbytes * cached, nbytes * per_byte - held_s)
