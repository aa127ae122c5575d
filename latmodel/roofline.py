"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from typing import NamedTuple

from .arrays import Array, maximum
from .laws.attention import DecodeLaw, decode_seconds, prefill_seconds
from .laws.coefficients import CpuCoefficients, Device, PointwiseCoefficients, Sheet
from .laws.correction import Corrector
from .laws.cpu import cpu_seconds
from .laws.gemm import gemm_seconds
from .ops import OpCost

# What a GPU runs the operators of recurrent layers as; a CPU has a rate of its own for each.
RECURRENT_AS = {"conv": "pointwise", "scan": "pointwise", "solve": "gemm"}


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
    op: OpCost,
    sheet: Sheet,
    fit: Device,
    gap_s: float,
    *,
    hot: bool = False,
    aligned: bool = False,
    corrector: Corrector | None = None,
) -> OpTime:
    """Seconds of `op` on the device, `gap_s` for each of its kernels included, with a learned correction if given."""
    return OpTime(*op_terms(op, sheet, fit, gap_s, hot, aligned, corrector))


def op_terms(
    op: OpCost,
    sheet: Sheet,
    fit: Device,
    gap_s: float,
    hot: bool = False,
    aligned: bool = False,
    corrector: Corrector | None = None,
    law: DecodeLaw | None = None,
) -> tuple[Array, Array, Array]:
    """The fields of an `OpTime`, as they are summed by the thousand.

    `law` is what decode attention needs of `op` at any context, where another step has already worked it out.
    """
    gaps = op.kernels * gap_s
    if isinstance(fit, CpuCoefficients):
        work, compute = cpu_seconds(op, fit, sheet)
        return work, gaps, compute
    if op.kind == "pointwise":
        return pointwise_seconds(op, fit.pointwise, sheet), op.kernels * fit.pointwise.floor_s + gaps, 0.0
    if op.kind == "gemm":
        work, compute = gemm_seconds(op, fit.gemm, sheet, hot=hot, aligned=aligned)
        floor = op.repeat * fit.gemm.floor_s
    elif op.kind == "prefill":
        work, compute = prefill_seconds(op, fit.prefill, sheet, hot=hot)
        floor = fit.prefill.floor_s
    elif op.kind == "decode":
        work, compute = decode_seconds(op, fit.decode, sheet, hot=hot, law=law)
        floor = fit.decode.floor_s
    else:
        return op_terms(op._replace(kind=RECURRENT_AS[op.kind]), sheet, fit, gap_s, hot, aligned, corrector)
    if corrector is not None:
        work = corrector.work_s(op, work, floor)
    return work, floor + gaps, compute


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> Array:
    """Seconds of pointwise kernels beyond their floors: what the cache holds between two passes is read from there.

    nbytes / cache rate + max(nbytes − held, 0) · (1 / memory rate − 1 / cache rate), with the maximum drawn outside.
    Views that are not contiguous are walked value by value, slower than the cache gives them; one block of threads adds
    up a row, which takes its time however few rows there are.
    """
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached = per_byte / c.cache_speedup
    held_s = (c.cache_share * sheet.cache_bytes) * op.passes * (per_byte - cached)
    nbytes = op.activation_bytes
    walked = cached / c.strided_rate if op.strided else cached
    seconds = maximum(nbytes * walked, nbytes * per_byte - held_s)
    # A plain zero: nothing is summed.
    return seconds if type(op.k) is float and op.k == 0.0 else maximum(seconds, op.k * c.summed_s)
