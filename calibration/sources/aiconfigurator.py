"""Reader of the kernel timings in the installed `aiconfigurator-core` (NVIDIA, Apache-2.0; its Parquet files).

GEMM and attention in bfloat16, and GEMM in fp8 ("gemm8"), of one serving framework's kernels, timed inside CUDA graphs
that repeat the same operands: partly resident in the cache, so `hot`. Attention rows include the kernel that writes the
KV cache. Repeats of a shape are merged by their median. Left out, and counted: rows that would exceed the data sheet
(FLOP/s, or bandwidth where the operands do not fit the cache), single-token prompts (a decode in disguise) and head_dim
above 256 (other kernels). Some files mix attention kernels; `kernel` picks one.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latmodel.device.datasheets import DataSheet, datasheet
from latmodel.device.profile import FLOAT8
from latmodel.errors import UsageError

from ..observations.operators import OperatorObservation

RUNTIME = "vllm"
NOISE = {"gemm": 0.06, "attention": 0.08}  # what the laws are off by, not the timer's own scatter (1 %)
# The package's folder of each device, by the name of its data sheet.
FOLDERS = {
    "nvidia-a100-sxm4-80gb": "a100_sxm",
    "nvidia-h100-80gb-hbm3": "h100_sxm",
    "nvidia-h200": "h200_sxm",
    "nvidia-b200": "b200_sxm",
    "nvidia-b300-sxm6-ac": "b300_sxm",
    "nvidia-gb200": "gb200",
    "nvidia-gb300": "gb300",
    "nvidia-l40s": "l40s",
    "nvidia-rtx-pro-6000-blackwell-server-edition": "rtx_pro_6000_server",
    "intel-arc-pro-b60-graphics": "b60",
}
FILES = {
    "gemm": ("gemm", "gemm_perf.parquet"),
    "gemm8": ("gemm", "gemm_perf.parquet"),
    "prefill": ("attention", "context_attention_perf.parquet"),
    "decode": ("attention", "generation_attention_perf.parquet"),
}
SHAPES = {
    "gemm": ("m", "n", "k"),
    "gemm8": ("m", "n", "k"),
    "prefill": ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "window_size", "step"),
    "decode": ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "window_size", "step"),
}
# Rows of what `gemm_dtype` are read. "fp8" has one scale a weight and quantises its input in the time given, as a
# checkpoint that vLLM quantises on loading does. Of "fp8_block" no row takes less than 55 us (H100; 4.6 in "fp8"),
# whatever its size: what they time is not the kernels.
STORED = {"gemm8": "fp8"}
TEXT = ("gemm_dtype", "attn_dtype", "kv_cache_dtype", "kernel_source")
PRODUCTS = ("gemm", "gemm8")
FIRST_TOKENS = 16  # shortest prompt that counts as a prefill
WIDEST_HEAD = 256
ELEMENT_BYTES = 2.0  # of bfloat16

Columns = dict[str, NDArray[np.float64]]


class Read(NamedTuple):
    """Rows of one operator on one card, in order of their shapes; what was left out and why; where they come from."""

    rows: list[OperatorObservation]
    dropped: dict[str, int]
    source: str


def read(gpu: str, operator: str, framework: str = "vllm", kernel: str | None = None) -> Read:
    """The rows of `operator` ("gemm", "gemm8", "prefill", "decode") on a card, from a framework's newest version.

    Raises:
        UsageError: the package is missing, or has nothing of this card, operator or framework.
    """
    card = datasheet(gpu)
    path = _path(card, operator, framework)
    columns, kernels = _load(path, operator)
    dropped: dict[str, int] = {}
    for reason, keep in _checks(card, operator, columns, kernels, kernel):
        columns, kernels = {name: values[keep] for name, values in columns.items()}, kernels[keep]
        if not np.all(keep):
            dropped[reason] = int(np.sum(~keep))
    source = f"aiconfigurator-core {version('aiconfigurator-core')} {path.parts[-2]} {framework} {operator}"
    return Read(list(_observations(card, operator, columns, source)), dropped, source)


def package_data() -> Path:
    """The installed package's folder of measurements.

    Raises:
        UsageError: it is not installed.
    """
    package = importlib.util.find_spec("aiconfigurator_core")
    if package is None or not package.submodule_search_locations:
        raise UsageError("the package aiconfigurator-core is not installed; run `pip install 'latmodel[published]'`")
    return Path(package.submodule_search_locations[0]) / "systems" / "data"


def _path(card: DataSheet, operator: str, framework: str) -> Path:
    package = package_data()
    if card.name not in FOLDERS:
        raise UsageError(f"aiconfigurator-core has no timings of {card.title}; it has: {', '.join(FOLDERS)}")
    family, name = FILES[operator]
    root = package / FOLDERS[card.name] / family / framework
    versions = sorted((path for path in root.glob(f"*/{name}")), key=lambda path: _version(path.parts[-2]))
    if not versions:
        raise UsageError(f"aiconfigurator-core has no {operator} timings of {card.title} with {framework}")
    return versions[-1]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in text.split("."))


def _load(path: Path, operator: str) -> tuple[Columns, NDArray[np.str_]]:
    """Rows in bfloat16 (or `STORED`), one a shape: its columns, the median latency `seconds`, the kernel of each."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError("reading Parquet needs pyarrow; run `pip install 'latmodel[published]'`") from None
    table = parquet.read_table(path)
    names = table.column_names
    text = {name: np.array(table[name].to_pylist()) for name in TEXT if name in names}
    wanted = STORED.get(operator, "bfloat16")
    keep = np.all([text[name] == wanted for name in text if name.endswith("dtype")], axis=0)
    shape = SHAPES[operator]
    columns = [
        np.asarray(table[name].to_numpy(), dtype=np.float64)[keep] if name in names else np.zeros(int(np.sum(keep)))
        for name in shape
    ]
    milliseconds = np.asarray(table["latency"].to_numpy(), dtype=np.float64)[keep]
    kernels = text["kernel_source"][keep]
    unique, first, inverse = np.unique(np.stack(columns, 1), axis=0, return_index=True, return_inverse=True)
    order = np.lexsort((milliseconds, inverse.ravel()))
    ordered, starts = milliseconds[order], np.searchsorted(inverse.ravel()[order], np.arange(len(unique)))
    counts = np.diff([*starts, len(ordered)])
    median = 0.5 * (ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2])
    columns_by_name = {name: unique[:, index] for index, name in enumerate(shape)}
    return {**columns_by_name, "seconds": median * 1e-3}, kernels[first]


def _checks(
    card: DataSheet, operator: str, columns: Columns, kernels: NDArray[np.str_], kernel: str | None
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(why rows are dropped, which are kept); each mask is over the rows that the one before kept."""
    keep = np.ones(len(kernels), dtype=bool) if kernel is None else kernels == kernel
    yield "another kernel", keep
    columns = {name: values[keep] for name, values in columns.items()}
    if operator not in PRODUCTS:
        keep = (columns["head_dim"] <= WIDEST_HEAD) & ((operator == "decode") | (columns["isl"] >= FIRST_TOKENS))
        yield "single tokens or head_dim above 256", keep
        columns = {name: values[keep] for name, values in columns.items()}
    yield "implausible: faster than the data sheet", ~implausible(card, operator, columns)


def implausible(card: DataSheet, operator: str, columns: Columns) -> NDArray[np.bool_]:
    """Rows above the peak FLOP/s, or above the bandwidth where what they move does not fit the cache."""
    flops, moved = floor_work(operator, columns)
    seconds = columns["seconds"]
    too_many_flops = flops / seconds > card.peak_flops_per_s["float8" if operator == "gemm8" else "bfloat16"]
    too_fast = (moved / seconds > card.bandwidth_bytes_per_s) & (moved > card.l2_bytes)
    return np.asarray(too_many_flops | too_fast)


def floor_work(operator: str, columns: Mapping[str, Any]) -> tuple[Any, Any]:
    """(FLOPs, bytes) that any kernel must at least do, by the source's column names: for checks, not predictions."""
    if operator in PRODUCTS:
        m, n, k = (columns[name] for name in ("m", "n", "k"))
        weight_bytes = 1.0 if operator == "gemm8" else ELEMENT_BYTES
        return 2.0 * m * n * k, ELEMENT_BYTES * (m * n + m * k) + weight_bytes * (n * k)
    batch, heads, kv_heads = (columns[name] for name in ("batch_size", "num_heads", "num_key_value_heads"))
    window = np.where(columns["window_size"] > 0, columns["window_size"], np.inf)
    if operator == "prefill":
        tokens = columns["isl"]
        span = np.minimum(tokens, window)
        pairs = tokens * span - 0.5 * span * (span - 1.0)
        moved = 2.0 * ELEMENT_BYTES * batch * tokens * columns["head_dim"] * (heads + kv_heads)
        return 4.0 * batch * heads * columns["head_dim"] * pairs, moved
    length = np.minimum(columns["step"] + 1.0, window)
    per_head = batch * columns["head_dim"] * length
    return 4.0 * per_head * heads, 2.0 * ELEMENT_BYTES * per_head * kv_heads


def _observations(card: DataSheet, operator: str, columns: Columns, source: str) -> Iterator[OperatorObservation]:
    whole = {name: values.astype(np.int64).tolist() for name, values in columns.items() if name != "seconds"}
    common: dict[str, Any] = {"gpu": card.name, "runtime": RUNTIME, "hot": True, "source": source}
    for i, seconds in enumerate(columns["seconds"].tolist()):
        row = {name: values[i] for name, values in whole.items()}
        if operator in PRODUCTS:
            dtype = FLOAT8 if operator == "gemm8" else "bfloat16"
            yield OperatorObservation(op="gemm", seconds=seconds, noise=NOISE["gemm"], dtype=dtype, **row, **common)
            continue
        tokens = row["isl"] if operator == "prefill" else 1
        yield OperatorObservation(
            op="attention", seconds=seconds, noise=NOISE["attention"], m=row["batch_size"],
            heads=row["num_heads"], kv_heads=row["num_key_value_heads"], head_dim=row["head_dim"],
            tokens=tokens, context=tokens if operator == "prefill" else row["step"] + 1,
            window=row["window_size"], **common,
        )  # fmt: skip
