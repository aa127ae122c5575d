"""One operator on one device: kernel seconds. `t = floor + max(compute, memory) + serial · min(compute, memory)`."""

from typing import NamedTuple

from .arrays import Array, ceil, maximum, minimum
from .coefficients import DeviceCoefficients, Sheet
from .ops import OpCost
from .step import misfit, oddness


class OpTime(NamedTuple):
    """Device seconds of an operator, and its two bounds: time at full compute and at full memory rate."""

    seconds: Array
    compute_s: Array
    memory_s: Array


def op_seconds(op: OpCost, sheet: Sheet, fit: DeviceCoefficients, gap_s: float) -> OpTime:
    """Seconds of `op` on the device, `gap_s` between kernels included."""
    if op.kind == "gemm":
        return gemm_seconds(op, sheet, fit, gap_s)
    if op.kind == "attention":
        return attention_seconds(op, sheet, fit, gap_s)
    return elementwise_seconds(op, sheet, fit, gap_s)


def gemm_seconds(op: OpCost, sheet: Sheet, fit: DeviceCoefficients, gap_s: float) -> OpTime:
    rate = sheet.peak_flops_per_s * fit.matmul_efficiency
    compute = wave_flops(op, sheet, fit) * (1.0 / rate) * alignment_slowdown(op, fit)
    bandwidth = sheet.bandwidth_bytes_per_s * fit.bandwidth_efficiency
    memory = (op.bytes + op.count * fit.ramp_bytes) * (1.0 / bandwidth)
    real = op.flops * (fit.serial / rate)
    return OpTime(
        op.kernels * (fit.floor_s + gap_s) + maximum(compute, memory) + minimum(real, memory), compute, memory
    )


def wave_flops(op: OpCost, sheet: Sheet, fit: DeviceCoefficients) -> Array:
    """FLOPs that the device could have done while it does this GEMM: idle parts of tiles and waves included."""
    large = _tiled_flops(op, 128.0, 128.0, sheet, fit.wave_loss)
    small = _tiled_flops(op, 64.0, 64.0, sheet, fit.wave_loss) * (1.0 / fit.small_tile_efficiency)
    skinny = _tiled_flops(op, 16.0, 64.0, sheet, fit.wave_loss) * (1.0 / 0.4)
    return minimum(minimum(large, small), skinny) * (op.count * op.k)


def _tiled_flops(op: OpCost, rows: float, columns: float, sheet: Sheet, wave_loss: float) -> Array:
    waves = (ceil(op.m * (1.0 / rows)) * (1.0 / sheet.sm_count)) * ceil(op.n * (1.0 / columns))
    filled = waves + wave_loss * (ceil(waves) - waves)
    return filled * (2.0 * rows * columns * sheet.sm_count)


def alignment_slowdown(op: OpCost, fit: DeviceCoefficients) -> Array:
    """Factor on compute time where n or k is no multiple of 8, and a larger one where it is odd."""
    even, odd = 1.0 / fit.misfit_efficiency - 1.0, 1.0 / fit.odd_efficiency - 1.0 / fit.misfit_efficiency
    return 1.0 + even * maximum(misfit(op.n), misfit(op.k)) + odd * maximum(oddness(op.n), oddness(op.k))


def attention_seconds(op: OpCost, sheet: Sheet, fit: DeviceCoefficients, gap_s: float) -> OpTime:
    compute = op.flops * (1.0 / (sheet.peak_flops_per_s * fit.attention_efficiency))
    memory = op.bytes * (1.0 / (sheet.bandwidth_bytes_per_s * fit.bandwidth_efficiency))
    return _joined(op, compute, memory, fit, gap_s)


def elementwise_seconds(op: OpCost, sheet: Sheet, fit: DeviceCoefficients, gap_s: float) -> OpTime:
    """Seconds of pointwise kernels: what the cache holds between two of them is read at the cache's speed."""
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * fit.elementwise_efficiency)
    held = (fit.cache_share * sheet.cache_bytes) * op.passes
    hit = per_byte / fit.cache_speedup
    memory = op.bytes * hit + maximum(op.bytes - held, 0.0) * (per_byte - hit)
    return OpTime(memory + op.kernels * (fit.floor_s + gap_s), 0.0, memory)


def _joined(op: OpCost, compute: Array, memory: Array, fit: DeviceCoefficients, gap_s: float) -> OpTime:
    floor_s = op.kernels * (fit.floor_s + gap_s)
    seconds = floor_s + maximum(compute, memory) + fit.serial * minimum(compute, memory)
    return OpTime(seconds, compute, memory)
