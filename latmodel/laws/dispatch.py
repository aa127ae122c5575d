"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..arrays import Array
from ..model.ops import OpCost, OpKind
from .attention import DecodeLaw, decode_seconds, prefill_seconds
from .coefficients import CpuCoefficients, Device, DeviceCoefficients, GgmlCoefficients, Sheet
from .corrector import Corrector
from .cpu import CPU_LAWS
from .float8 import float8_seconds
from .gemm import gemm_seconds
from .ggml import GGML_LAWS
from .pointwise import copy_seconds, pointwise_seconds
from .quantised import dequantize_seconds

Terms = tuple[Array, Array, Array]  # seconds beyond the floor, the floor, seconds of the arithmetic alone


class Conditions(NamedTuple):
    """What is known of some operators beside what they are.

    `hot`: a microbenchmark repeats them on the same operands. `aligned`: every dimension is known to be a multiple of
    8. `decode`: what decode attention needs at any context, where another step has already worked it out.
    """

    hot: bool = False
    aligned: bool = False
    decode: DecodeLaw | None = None


COLD = {aligned: Conditions(aligned=aligned) for aligned in (False, True)}  # in use, as a model's operators are
Law = Callable[[OpCost, Any, Sheet, Conditions], Terms]


def _pointwise(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, _known: Conditions) -> Terms:
    c = fit.pointwise
    return pointwise_seconds(op, c, sheet), op.kernels * c.floor_s, 0.0


def _gemm(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, known: Conditions) -> Terms:
    c = fit.gemm
    work, compute = gemm_seconds(op, c, sheet, known.hot, known.aligned)
    return work, op.repeat * c.floor_s, compute


def _gemm8(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, known: Conditions) -> Terms:
    assert fit.float8 is not None, "only devices with products of 8-bit floats are asked for them"
    work, compute = float8_seconds(op, fit.float8, sheet, hot=known.hot, aligned=known.aligned)
    return work, op.repeat * (fit.float8.gemm.floor_s + fit.float8.quantize.floor_s), compute


def _prefill(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, known: Conditions) -> Terms:
    work, compute = prefill_seconds(op, fit.prefill, sheet, hot=known.hot)
    return work, fit.prefill.floor_s, compute


def _decode(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, known: Conditions) -> Terms:
    work, compute = decode_seconds(op, fit.decode, sheet, hot=known.hot, law=known.decode)
    return work, fit.decode.floor_s, compute


def _dequantize(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, _known: Conditions) -> Terms:
    seconds = dequantize_seconds(op, sheet)
    return seconds, op.repeat * fit.gemm.floor_s, seconds


def _copy(op: OpCost, fit: DeviceCoefficients, sheet: Sheet, _known: Conditions) -> Terms:
    return copy_seconds(op, fit.pointwise, sheet), op.kernels * fit.pointwise.floor_s, 0.0


# Kind of operator → its law on a GPU. Recurrent layers run as kernels of the other kinds there; a CPU has a rate of its
# own for each (`cpu.CPU_LAWS`).
GPU_LAWS: dict[OpKind, Law] = {
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


def _without_floor(law: Callable[[OpCost, CpuCoefficients, Sheet], tuple[Array, Array]]) -> Law:
    """A CPU's law: dispatch is the runtime's launch, not a floor of the device."""

    def terms(op: OpCost, fit: CpuCoefficients, sheet: Sheet, _known: Conditions) -> Terms:
        work, compute = law(op, fit, sheet)
        return work, 0.0, compute

    return terms


def _of_whole_runs(law: Callable[[OpCost, GgmlCoefficients, Sheet], Terms]) -> Law:
    """A law of llama.cpp, fitted on whole runs: nothing is hot or misaligned in those."""
    return lambda op, fit, sheet, _known: law(op, fit, sheet)


# Coefficients that a device is fitted with → the laws that they belong to.
LAWS: dict[type[Device], dict[OpKind, Law]] = {
    DeviceCoefficients: GPU_LAWS,
    CpuCoefficients: {kind: _without_floor(law) for kind, law in CPU_LAWS.items()},
    GgmlCoefficients: {kind: _of_whole_runs(law) for kind, law in GGML_LAWS.items()},
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
    work, floor, compute = LAWS[type(fit)][op.kind](op, fit, sheet, Conditions(hot, aligned))
    if corrector is not None:
        work = corrector.work_s(op, work, floor)
    return OpTime(work, floor + op.kernels * gap_s, compute)
