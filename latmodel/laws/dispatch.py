"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from collections.abc import Callable
from typing import NamedTuple

from ..arrays import Array
from ..model.ops import OpCost, OpKind
from .attention import DecodeLaw, decode_seconds, prefill_seconds
from .coefficients import CpuCoefficients, Device, DeviceCoefficients, GgmlCoefficients, Sheet
from .corrector import Corrector
from .cpu import cpu_seconds
from .float8 import float8_seconds
from .gemm import gemm_seconds
from .ggml import GGML_LAWS
from .pointwise import copy_seconds, pointwise_seconds
from .quantised import dequantize_seconds

Terms = tuple[Array, Array, Array]  # seconds beyond the floor, the floor, seconds of the arithmetic alone


def _pointwise(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, _h: bool, _a: bool, _l: DecodeLaw | None) -> Terms:
    return pointwise_seconds(op, fit.pointwise, sheet), op.kernels * fit.pointwise.floor_s, 0.0


def _gemm(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, hot: bool, aligned: bool, _l: DecodeLaw | None) -> Terms:
    work, compute = gemm_seconds(op, fit.gemm, sheet, hot=hot, aligned=aligned)
    return work, op.repeat * fit.gemm.floor_s, compute


def _gemm8(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, hot: bool, aligned: bool, _l: DecodeLaw | None) -> Terms:
    assert fit.float8 is not None, "only devices with products of 8-bit floats are asked for them"
    work, compute = float8_seconds(op, fit.float8, sheet, hot=hot, aligned=aligned)
    return work, op.repeat * (fit.float8.gemm.floor_s + fit.float8.quantize.floor_s), compute


def _prefill(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, hot: bool, _a: bool, _l: DecodeLaw | None) -> Terms:
    work, compute = prefill_seconds(op, fit.prefill, sheet, hot=hot)
    return work, fit.prefill.floor_s, compute


def _decode(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, hot: bool, _a: bool, law: DecodeLaw | None) -> Terms:
    work, compute = decode_seconds(op, fit.decode, sheet, hot=hot, law=law)
    return work, fit.decode.floor_s, compute


def _dequantize(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, _h: bool, _a: bool, _l: DecodeLaw | None) -> Terms:
    seconds = dequantize_seconds(op, sheet)
    return seconds, op.repeat * fit.gemm.floor_s, seconds


def _copy(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, _h: bool, _a: bool, _l: DecodeLaw | None) -> Terms:
    return copy_seconds(op, fit.pointwise, sheet), op.kernels * fit.pointwise.floor_s, 0.0


# Kind of operator → its law on a GPU. Recurrent layers run as kernels of the other kinds there; a CPU has a rate of its
# own for each (`cpu.CPU_LAWS`).
GPU_LAWS: dict[OpKind, Callable[[OpCost, DeviceCoefficients, Sheet, bool, bool, DecodeLaw | None], Terms]] = {
    OpKind.GEMM: _gemm,
    OpKind.GEMM8: _gemm8,
    OpKind.PREFILL: _prefill,
    OpKind.DECODE: _decode,
    OpKind.POINTWISE: _pointwise,
    OpKind.CONV: _pointwise,
    OpKind.SCAN: _pointwise,
    OpKind.SOLVE: _gemm,
    OpKind.DEQUANTIZE: _dequantize,
    OpKind.COPY: _copy,
}


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
) -> Terms:
    """The fields of an `OpTime`, as they are summed by the thousand.

    `law` is what decode attention needs of `op` at any context, where another step has already worked it out.
    """
    gaps = op.kernels * gap_s
    if isinstance(fit, GgmlCoefficients):
        work, floor, compute = GGML_LAWS[op.kind](op, fit, sheet)
        return work, floor + gaps, compute
    if isinstance(fit, CpuCoefficients):
        work, compute = cpu_seconds(op, fit, sheet)
        return work, gaps, compute
    work, floor, compute = GPU_LAWS[op.kind](op, fit, sheet, hot, aligned, law)
    if corrector is not None:
        work = corrector.work_s(op, work, floor)
    return work, floor + gaps, compute
