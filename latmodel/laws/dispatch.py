"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from typing import NamedTuple

from ..arrays import Array
from ..model.ops import OpCost
from .attention import DecodeLaw, decode_seconds, prefill_seconds
from .coefficients import CpuCoefficients, Device, Sheet
from .correction import Corrector
from .cpu import cpu_seconds
from .float8 import float8_seconds
from .gemm import gemm_seconds
from .pointwise import pointwise_seconds

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
    elif op.kind == "gemm8":
        assert fit.float8 is not None, "only devices with products of 8-bit floats are asked for them"
        work, compute = float8_seconds(op, fit.float8, sheet, hot=hot, aligned=aligned)
        floor = op.repeat * (fit.float8.gemm.floor_s + fit.float8.quantize.floor_s)
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
