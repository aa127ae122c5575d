"""The numbers that a fit finds: what is true of a device, and what of a runtime on a host.

Each has a prior in `priors`, by name. Those of a device are named `family.name`; families are the laws of products, of
attention in prefill and in decode, and of pointwise kernels.
"""

from collections.abc import Mapping
from typing import Any

from ..arrays import Array
from ..model.ops import MMA_ROWS
from ..model.record import FixedRecord
from .priors import CPU_PRIORS, GGML_PRIORS, device_priors


class Sheet(FixedRecord):
    """Data-sheet constants of a device, for one dtype, and its peak for 8-bit floats (0: none). SI units.

    `matrix_rows` is what one instruction of its matrix units works on; 1 where it has none. `vector_rows` of them take
    as long as a single row in float32 outside those units.
    """

    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    sm_count: float
    cache_bytes: float
    float8_flops_per_s: float = 0.0
    matrix_rows: float = MMA_ROWS
    vector_rows: float = MMA_ROWS


class GemmCoefficients(FixedRecord):
    """Of `gemm.GemmLaw`."""

    floor_s: float
    compute_efficiency: float
    small_tile_efficiency: float
    prologue_k: float
    wave_rounding: float
    split_k_s: float
    tile_bandwidth: float
    boost: float
    boost_s: float
    bandwidth_efficiency: float
    overlap_gap: float
    overlap_gap_s: float
    misfit_slowdown: float
    odd_slowdown: float
    cache_rate: float
    cache_share: float
    cache_width: float


class PrefillCoefficients(FixedRecord):
    """Of `attention.prefill_seconds`."""

    floor_s: float
    compute_efficiency: float
    efficiency_64: float
    efficiency_192: float
    efficiency_256: float
    prologue_columns: float
    window_columns: float
    tile_s: float
    longest_tile: float
    tail: float
    bandwidth_efficiency: float
    kv_passes: float
    write_s: float
    overlap_gap: float
    overlap_gap_s: float
    boost: float
    boost_s: float
    cache_speedup: float
    cache_share: float
    cache_width: float


class DecodeCoefficients(FixedRecord):
    """Of `attention.decode_seconds`."""

    floor_s: float
    bandwidth_efficiency: float
    min_context: float
    wave_s: float
    head_wave_s: float
    split_s: float
    split_context: float
    idle_split: float
    idle_whole: float
    window_whole: float
    compute_efficiency: float
    overlap_gap: float
    cache_speedup: float
    cache_share: float
    cache_width: float


class PointwiseCoefficients(FixedRecord):
    """Of `pointwise.PointwiseLaw`."""

    floor_s: float
    bandwidth_efficiency: float
    cache_share: float
    cache_speedup: float
    strided_rate: float
    summed_s: float
    walked_s: float = 0.0  # of PyTorch's kernels over views, where one was calibrated


class QuantizeCoefficients(FixedRecord):
    """Of the kernels before a product of 8-bit floats that quantise its input: a pointwise one's, and time by row."""

    floor_s: float
    bandwidth_efficiency: float
    cache_share: float
    cache_speedup: float
    row_s: float

    @property
    def pointwise(self) -> PointwiseCoefficients:
        """As of a pointwise kernel over contiguous values; what adds up a row is in the row's time."""
        return PointwiseCoefficients(
            self.floor_s,
            self.bandwidth_efficiency,
            self.cache_share,
            self.cache_speedup,
            strided_rate=1.0,
            summed_s=0.0,
        )


class Float8(FixedRecord):
    """Products of 8-bit floats, in a table of their own: `float8.Float8Law`."""

    gemm: GemmCoefficients
    quantize: QuantizeCoefficients


class DeviceCoefficients(FixedRecord):
    """What is fitted of a device, for one dtype, by family. Efficiencies are fractions of the data sheet."""

    gemm: GemmCoefficients
    prefill: PrefillCoefficients
    decode: DecodeCoefficients
    pointwise: PointwiseCoefficients
    float8: Float8 | None = None


class CpuCoefficients(FixedRecord):
    """What is fitted of a CPU, for one dtype: of `cpu.cpu_seconds`. Its data sheet is a measured ceiling."""

    compute_efficiency: float
    weight_bandwidth: float
    near_cache: float
    repack: float
    repack_rows: float
    call_s: float
    output_s: float
    misfit_slowdown: float
    overlap_gap: float
    prefill_efficiency: float
    attention_rows: float
    decode_efficiency: float
    cache_bandwidth: float
    pointwise_bandwidth: float
    conv_call_s: float
    conv_bandwidth: float
    scan_bandwidth: float
    solve_efficiency: float


class GgmlCoefficients(FixedRecord):
    """What is fitted of llama.cpp on a device, for one weight format: of `ggml.product_terms` and its neighbours.

    Shares are of the data-sheet bandwidth, rates FLOP/s of the whole device. What is 0 by default was measured on this
    machine's CPU or not at all.
    """

    bandwidth_efficiency: float
    vector_flops_per_s: float
    product_flops_per_s: float
    attention_ratio: float
    cache_efficiency: float
    token_attention_flops_per_s: float
    unpack_passes: float
    launch_s: float
    prompt_launch_s: float = 0.0  # more than `launch_s`, of a product of many rows
    score_bytes: float = 0.0  # none with flash attention
    two_rows_flops_per_s: float = 0.0
    four_rows_flops_per_s: float = 0.0
    eight_rows_flops_per_s: float = 0.0
    row_tile: float = 0.0  # rows that packed weights are multiplied by at once, what is left one by one; 0: not packed
    narrow_cache: float = 0.0  # time of reading a KV cache of 256 values a position beyond that of wide ones, relative
    query_tile: float = 0.0  # queries of a prompt that are computed together, fewer one by one; 0: any number together
    micro_batch_rows: Array = 512.0  # not fitted: tokens that one pass computes at once, llama.cpp's `--ubatch-size`


ONE_PASS = 1e9  # micro-batch rows of a runtime that has none
# Those that a profile holds.
GGML_FITTED = tuple(name for name in GgmlCoefficients.__match_args__ if name != "micro_batch_rows")


class RuntimeCoefficients(FixedRecord):
    """What is fitted of a runtime on one host. `gap_s` is device time, all else is the host's.

    `unsplit_gap_s` is more of it in a graph, in blocks of which no product splits k (`splitting.unsplit`).
    What an engine does between passes (`step_s`, and `sequence_s` for each sequence in the batch) nothing hides; a
    runtime that is a loop in Python has `token_s` instead, which runs beside the device.
    """

    launch_s: float
    block_s: float
    prefill_block_s: float
    pass_s: float
    token_s: float
    gap_s: float
    overlap_loss: float
    step_s: float = 0.0
    sequence_s: float = 0.0
    unsplit_gap_s: float = 0.0


HOST_TERMS = ("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s")  # of a runtime: seconds of its host
ENGINE_TERMS = ("step_s", "sequence_s")  # those of a serving engine, which runs on the same host

_FAMILIES = {
    "gemm": GemmCoefficients,
    "prefill": PrefillCoefficients,
    "decode": DecodeCoefficients,
    "pointwise": PointwiseCoefficients,
}
_FLOAT8 = {"gemm": GemmCoefficients, "quantize": QuantizeCoefficients}
Device = DeviceCoefficients | CpuCoefficients | GgmlCoefficients


def device_coefficients(values: Mapping[str, float], micro_batch: float | None = None) -> Device:
    """Coefficients from `family.name` → value; those without a default must be there, and those of `float8.family.name`
    all or none.

    `micro_batch` are the rows that one pass computes at once, of the laws that ask; None: all.
    """
    if device_priors(values) is CPU_PRIORS:
        return CpuCoefficients(**{name: values[f"cpu.{name}"] for name in CpuCoefficients.__match_args__})
    if device_priors(values) is GGML_PRIORS:
        fitted = {name: values[f"ggml.{name}"] for name in GGML_FITTED if f"ggml.{name}" in values}
        return GgmlCoefficients(**fitted, micro_batch_rows=micro_batch or ONE_PASS)
    found = DeviceCoefficients(*(_named(family, f"{key}.", values) for key, family in _FAMILIES.items()))
    if not any(name.startswith("float8.") for name in values):
        return found
    return found._replace(float8=Float8(*(_named(f, f"float8.{key}.", values) for key, f in _FLOAT8.items())))


def _named(family: Any, prefix: str, values: Mapping[str, float]) -> Any:
    return family(**{name: values[prefix + name] for name in family.__match_args__ if prefix + name in values})


def coefficient_values(device: Device) -> dict[str, float]:
    """The same as `family.name` → value."""
    if not isinstance(device, DeviceCoefficients):
        prefix = "cpu" if isinstance(device, CpuCoefficients) else "ggml"
        names = GGML_FITTED if isinstance(device, GgmlCoefficients) else device.__match_args__
        return {f"{prefix}.{name}": getattr(device, name) for name in names}
    parts = {key: getattr(device, key) for key in _FAMILIES}
    if device.float8 is not None:
        parts |= {f"float8.{key}": getattr(device.float8, key) for key in _FLOAT8}
    return {f"{key}.{name}": value for key, part in parts.items() for name, value in part._asdict().items()}
