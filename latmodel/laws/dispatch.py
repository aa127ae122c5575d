"""One operator on one device → device seconds: the law of its kind, and the gaps between its kernels."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..arrays import Array
from ..model.ops import OpCost, OpKind
from .attention import decode_seconds, prefill_seconds
from .coefficients import CpuCoefficients, Device, DeviceCoefficients, GgmlCoefficients, Sheet
from .corrector import Corrector
from .cpu import CPU_LAWS
from .float8 import Float8Law
from .gemm import GemmLaw
from .ggml import GGML_LAWS
from .pointwise import PointwiseLaw
from .quantised import dequantize_seconds
from .terms import Conditions, Terms

Law = Callable[[OpCost, Conditions], Terms]  # of one kind of operator on one device
LawOf = Callable[[Any, Sheet], Law]  # its coefficients and data sheet → the law there


def _pointwise(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    return PointwiseLaw(fit.pointwise, sheet).terms


def _copy(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    return PointwiseLaw(fit.pointwise, sheet).copy_terms


def _gemm(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    return GemmLaw(fit.gemm, sheet).terms


def _gemm8(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    assert fit.float8 is not None, "only devices with products of 8-bit floats are asked for them"
    return Float8Law(fit.float8, sheet).terms


def _prefill(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    def terms(op: OpCost, known: Conditions) -> Terms:
        work, compute = prefill_seconds(op, fit.prefill, sheet, hot=known.hot)
        return work, fit.prefill.floor_s, compute

    return terms


def _decode(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    def terms(op: OpCost, known: Conditions) -> Terms:
        work, compute = decode_seconds(op, fit.decode, sheet, hot=known.hot, law=known.decode)
        return work, fit.decode.floor_s, compute

    return terms


def _dequantize(fit: DeviceCoefficients, sheet: Sheet) -> Law:
    def terms(op: OpCost, _known: Conditions) -> Terms:
        seconds = dequantize_seconds(op, sheet)
        return seconds, op.repeat * fit.gemm.floor_s, seconds

    return terms


# Kind of operator → its law on a GPU. Recurrent layers run as kernels of the other kinds there; a CPU has a rate of its
# own for each (`cpu.CPU_LAWS`).
GPU_LAWS: dict[OpKind, LawOf] = {
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


def _without_floor(law: Callable[[OpCost, CpuCoefficients, Sheet], tuple[Array, Array]]) -> LawOf:
    """A CPU's law: dispatch is the runtime's launch, not a floor of the device."""

    def of(fit: CpuCoefficients, sheet: Sheet) -> Law:
        def terms(op: OpCost, _known: Conditions) -> Terms:
            work, compute = law(op, fit, sheet)
            return work, 0.0, compute

        return terms

    return of


def _of_whole_runs(law: Callable[[OpCost, GgmlCoefficients, Sheet], Terms]) -> LawOf:
    """A law of llama.cpp, fitted on whole runs: nothing is hot or misaligned in those."""
    return lambda fit, sheet: lambda op, _known: law(op, fit, sheet)


# Coefficients that a device is fitted with → the laws that they belong to.
LAWS: dict[type[Device], dict[OpKind, LawOf]] = {
    DeviceCoefficients: GPU_LAWS,
    CpuCoefficients: {kind: _without_floor(law) for kind, law in CPU_LAWS.items()},
    GgmlCoefficients: {kind: _of_whole_runs(law) for kind, law in GGML_LAWS.items()},
}


class DeviceLaws(dict[OpKind, Law]):
    """The laws of all kinds of operator on one device, each made when it is first asked for."""

    def __init__(self, fit: Device, sheet: Sheet) -> None:
        super().__init__()
        self._fit, self._sheet = fit, sheet

    def __missing__(self, kind: OpKind) -> Law:
        law = self[kind] = LAWS[type(self._fit)][kind](self._fit, self._sheet)
        return law

    def __reduce__(self) -> tuple[Any, ...]:  # for worker processes: what was made from the coefficients is made anew
        return DeviceLaws, (self._fit, self._sheet)


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
    work, floor, compute = DeviceLaws(fit, sheet)[op.kind](op, Conditions(hot, aligned))
    if corrector is not None:
        factor = corrector.factor(op, work)
        work = work if factor is None else (work + floor) * factor - floor
    return OpTime(work, floor + op.kernels * gap_s, compute)
