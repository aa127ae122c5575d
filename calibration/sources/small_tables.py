"""Readers of four small tables: LLMCompass, NeuSight, mli's transformers-benchmarks, and empty kernels.

LLMCompass (github PrincetonUniversity/LLMCompass @ 2e015fd): A100, fp16, its real-hardware points, cold.
NeuSight (github sitar-lab/NeuSight @ 6945927): A100 PCIe, fp32 memory-bound operators; mean of the five fastest of 25
by wall clock, so short rows include their launch and all are optimistic: rows under 20 us are left out.
mli/transformers-benchmarks @ 3370b2b: RTX 3090 Ti, A100, RTX 4090; wall clock, tensors small enough to stay cached.
"""

from pathlib import Path
from typing import Any, Literal

from latmodel.device.datasheets import DataSheet, datasheet
from latmodel.errors import UnknownDeviceError

from ..observations.operators import OperatorObservation
from .tables import MICRO, SEEN, FamilyRows, read_table

Rows = dict[str, tuple[list[OperatorObservation], dict[str, int], str]]
LAUNCH_BOUND_S = 20e-6
WALL_NOISE = 0.10
EMPTY_KERNELS: dict[str, Literal["replay", "launch"]] = {
    "empty kernels in CUDA graph": "replay",
    "empty kernels, regular launches": "launch",
}


def llmcompass(data: Path, card: DataSheet) -> Rows:
    """GEMM rows of the A100.

    Raises:
        UsageError: the file cannot be read.
    """
    kept = FamilyRows("PrincetonUniversity/LLMCompass@2e015fd llmcompass_ops_a100_fp16.csv")
    columns = ("gpu", "op", "m_tokens", "n_out", "k_in", "time_us")
    for row in read_table(data / "operators" / "llmcompass_ops_a100_fp16.csv", columns):
        if not _same(row["gpu"], card):
            continue
        if row["op"] != "gemm":
            kept.drop(f"{row['op']} in elements per second")
            continue
        kept.add("gemm", _gemm(row, card, kept, SEEN, "float16", hot=False))
    return kept.by_family()


def neusight(data: Path, card: DataSheet) -> Rows:
    """Pointwise rows of an A100 PCIe card.

    Raises:
        UsageError: the file cannot be read.
    """
    kept = FamilyRows("sitar-lab/NeuSight@6945927 neusight_memory_bound_ops_fp32_a100.csv")
    columns = ("gpu", "op", "time_us", "bytes_moved")
    for row in read_table(data / "operators" / "neusight_memory_bound_ops_fp32_a100.csv", columns):
        if not _same(row["gpu"], card):
            continue
        seconds = float(row["time_us"]) * MICRO
        if seconds < LAUNCH_BOUND_S:
            kept.drop("shorter than 20 us: mostly launch")
            continue
        kept.add("pointwise", OperatorObservation(
            op="pointwise", seconds=seconds, noise=WALL_NOISE, gpu=card.name, dtype="float32", runtime="torch",
            moved_bytes=float(row["bytes_moved"]), source=kept.source,
        ))  # fmt: skip
    return kept.by_family()


def mli(data: Path, card: DataSheet) -> Rows:
    """fp16 GEMM rows.

    Raises:
        UsageError: the file cannot be read.
    """
    kept = FamilyRows("mli/transformers-benchmarks@3370b2b mli_ops.csv")
    columns = ("gpu", "op", "dtype", "m_tokens", "n_out", "k_in", "time_us")
    for row in read_table(data / "operators" / "mli_ops.csv", columns):
        if not _same(row["gpu"], card):
            continue
        if row["op"] == "gemm" and row["dtype"] == "fp16":
            kept.add("gemm", _gemm(row, card, kept, WALL_NOISE, "float16", hot=True))
        else:
            kept.drop(f"{row['op']} in {row['dtype']}")
    return kept.by_family()


def launches(data: Path, card: DataSheet) -> Rows:
    """Empty kernels of the RTX 3090: replayed in a graph, and launched from C++ (MegaQwen experiments/RESULTS.md).

    Raises:
        UsageError: the file cannot be read.
    """
    kept = FamilyRows("MegaQwen experiments/RESULTS.md launch_overhead_rtx3090.csv")
    for row in read_table(data / "operators" / "launch_overhead_rtx3090.csv", ("gpu", "what", "us")):
        if not _same(row["gpu"], card):
            continue
        op = next((op for text, op in EMPTY_KERNELS.items() if text in row["what"]), None)
        if op is None:
            kept.drop("not an empty kernel")
            continue
        kept.add(op, OperatorObservation(
            op=op, seconds=float(row["us"]) * MICRO, noise=WALL_NOISE, gpu=card.name,
            runtime="cuda-graph" if op == "replay" else "c++", source=kept.source,
        ))  # fmt: skip
    return kept.by_family()


def _gemm(
    row: dict[str, str], card: DataSheet, kept: FamilyRows, noise: float, dtype: Any, *, hot: bool
) -> OperatorObservation:
    m, n, k = (int(float(row[name])) for name in ("m_tokens", "n_out", "k_in"))
    return OperatorObservation(
        op="gemm", seconds=float(row["time_us"]) * MICRO, noise=noise, gpu=card.name, dtype=dtype, runtime="torch",
        m=m, n=n, k=k, hot=hot, source=kept.source,
    )  # fmt: skip


def _same(name: str, card: DataSheet) -> bool:
    try:
        return datasheet(name.replace("80GB", " 80GB")).name == card.name
    except UnknownDeviceError:
        return False
