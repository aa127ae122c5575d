"""The numbers that a fit finds, by name: what is true of a device, and what of a runtime on a host.

Each carries the prior that holds it where measurements say nothing: a value and a spread in log units
(0.1 is about 10 %). One table serves fitting, checking of profiles, reports and documentation.
"""

from typing import NamedTuple


class Sheet(NamedTuple):
    """Data-sheet constants of a device, for one dtype. SI units."""

    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    sm_count: float
    cache_bytes: float


class DeviceCoefficients(NamedTuple):
    """What is fitted of a device, for one dtype. Efficiencies are fractions of the data sheet."""

    matmul_efficiency: float
    bandwidth_efficiency: float
    attention_efficiency: float
    elementwise_efficiency: float
    cache_share: float
    cache_speedup: float
    floor_s: float
    ramp_bytes: float
    wave_loss: float
    small_tile_efficiency: float
    misfit_efficiency: float
    odd_efficiency: float
    serial: float


class RuntimeCoefficients(NamedTuple):
    """What is fitted of a runtime on one host. `gap_s` is device time, all else is the host's."""

    launch_s: float
    block_s: float
    prefill_block_s: float
    pass_s: float
    token_s: float
    gap_s: float
    overlap_loss: float


class Prior(NamedTuple):
    """Where a coefficient starts, how far it may stray (log units; 0 fixes it), its bounds, and why."""

    value: float
    spread: float
    low: float
    high: float
    reason: str


DEVICE_PRIORS: dict[str, Prior] = {
    "matmul_efficiency": Prior(0.80, 0.20, 0.05, 1.2, "large GEMMs reach 70-90 % of the dense tensor rate"),
    "bandwidth_efficiency": Prior(0.88, 0.10, 0.05, 1.05, "DRAM refresh and turnarounds leave 80-95 %"),
    "attention_efficiency": Prior(
        0.45, 0.40, 0.01, 1.05, "flash attention reaches 30-60 % of the peak on short prompts"
    ),
    "elementwise_efficiency": Prior(0.80, 0.25, 0.02, 3.0, "pointwise kernels stream a little below a copy"),
    "cache_share": Prior(0.5, 0.4, 0.01, 1.0, "part of the last-level cache that holds a pointwise chain's values"),
    "cache_speedup": Prior(3.0, 0.3, 1.0, 20.0, "last-level cache over DRAM bandwidth: 2-5 on GPUs"),
    "floor_s": Prior(2.2e-6, 0.30, 1e-8, 1e-3, "shortest kernel: 2-3 us in published traces"),
    "ramp_bytes": Prior(2.0e6, 0.70, 1.0, 1e9, "bytes in flight before the memory runs at full speed"),
    "wave_loss": Prior(0.7, 0.30, 0.01, 1.0, "share of the last, partly filled wave that is lost"),
    "small_tile_efficiency": Prior(0.75, 0.20, 0.1, 1.0, "64-wide tiles reuse half as much as 128-wide ones"),
    "misfit_efficiency": Prior(0.70, 0.30, 0.05, 1.0, "dimension no multiple of 8: unaligned loads"),
    "odd_efficiency": Prior(0.55, 0.30, 0.05, 1.0, "odd dimension: element-wise loads"),
    "serial": Prior(0.10, 0.50, 1e-4, 1.0, "share of compute that does not hide behind memory traffic"),
}

RUNTIME_PRIORS: dict[str, Prior] = {
    "launch_s": Prior(1.0e-5, 0.7, 1e-9, 1e-3, "5-30 us for an operator in eager PyTorch"),
    "block_s": Prior(1.0e-4, 0.9, 1e-9, 0.1, "Python of one decoder layer"),
    "prefill_block_s": Prior(3.0e-5, 0.9, 1e-9, 0.1, "a new cache layer for each block"),
    "pass_s": Prior(4.0e-4, 0.7, 1e-9, 1.0, "masks, positions, embedding, synchronisation"),
    "token_s": Prior(1.0e-4, 0.9, 1e-9, 1.0, "argmax and appending the token"),
    "gap_s": Prior(1.5e-6, 0.30, 1e-9, 1e-3, "between two kernels of a stream"),
    "overlap_loss": Prior(0.02, 0.70, 1e-4, 1.0, "share of the shorter timeline that is not hidden"),
}
