"""Latency and bandwidth of an all-reduce between devices of one node, from published NCCL times: `links.json`.

    python -m calibration.published.links

The installed `aiconfigurator-core` (NVIDIA, Apache-2.0) holds times of NCCL's all-reduce of 16-bit numbers, 256 to
268 million of them (its `message_size` counts numbers: 537 MB in 1.7 ms between two H100, 450 GB/s a direction by
sheet).
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from latmodel.device.links import PATH

from ..sources.aiconfigurator import FOLDERS, package_data

VERSIONS = ("2.29.2", "2.27.3")  # of NCCL, the first that a device has
ELEMENT_BYTES = 2.0


def fitted(sizes_bytes: Any, seconds: Any) -> dict[str, float]:
    """latency_s + bytes / bytes_per_s on log times, outliers damped; with the mean error in percent."""

    def misfit(values: Any) -> Any:
        return np.log(np.exp(values[0]) + sizes_bytes / np.exp(values[1])) - np.log(seconds)

    found = least_squares(misfit, np.log([1e-5, 1e11]), loss="soft_l1", f_scale=0.1).x
    latency_s, rate = np.exp(found)
    error = 100.0 * float(np.mean(np.expm1(np.abs(misfit(found)))))
    figures = {"latency_s": float(f"{latency_s:.4g}"), "bytes_per_s": float(f"{rate:.4g}")}
    return {**figures, "error_percent": round(error, 1)}


def links() -> dict[str, Any]:
    """Device → what its times are from, and for each number of devices latency, bandwidth and error."""
    import pyarrow.parquet

    table: dict[str, Any] = {}
    for gpu, folder in FOLDERS.items():
        files = [package_data() / folder / "comm" / "nccl" / one / "nccl_perf.parquet" for one in VERSIONS]
        file = next((one for one in files if one.is_file()), None)
        if file is None:
            continue
        rows = [row for row in pyarrow.parquet.read_table(file).to_pylist()
                if row["op_name"] == "all_reduce" and row["nccl_dtype"] == "half"]  # fmt: skip
        counts: dict[str, Any] = {}
        for count in sorted({row["num_gpus"] for row in rows}):
            some = [row for row in rows if row["num_gpus"] == count]
            sizes = ELEMENT_BYTES * np.array([float(row["message_size"]) for row in some])
            counts[str(count)] = fitted(sizes, 1e-3 * np.array([row["latency"] for row in some]))
        source = f"aiconfigurator-core {version('aiconfigurator-core')}, {folder}, NCCL {file.parent.name}"
        table[gpu] = {"source": source, "devices": counts}
    return table


def main(path: Path = PATH) -> None:
    """Write the table."""
    path.write_text(json.dumps(links(), indent=1) + "\n")


if __name__ == "__main__":
    main()
