"""llama.cpp's published speeds, predicted for devices left out: `python benchmarks/llama_bench.py DATA`.

Median errors over rows and over devices, of models of 1B parameters and more; the same with one row of the device's own
(over all choices of that row, of the same publisher, build and driver); the coverage of nominal 90 % intervals; and how
far one test on one device lies apart in two such setups. CPUs are reported apart. Another publisher's runs: `python
benchmarks/whole_models.py --runtime llama.cpp`.
"""

import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from calibration.published.llama_cpp.folds import (
    HeldOut,
    coverage,
    leave_devices_out,
    median_error,
    median_error_by_device,
    setups_apart,
)
from calibration.published.llama_cpp.law import Row
from calibration.published.llama_cpp.read import GPU_BACKENDS, published_rows
from latmodel.model.totals import num_parameters

SMALLEST = 0.95e9  # what is called 1B has a little less in some models
LIMITS = {"decode": (12.0, 20.0, 8.0), "prefill": (25.0, 25.0, 12.0)}  # percent: unseen; on Vulkan; with one own row


def large(rows: Sequence[Row]) -> list[Row]:
    """Rows of models of 1B parameters and more."""
    return [row for row in rows if num_parameters(row.test.config.architecture()) >= SMALLEST]


def report(rows: Sequence[HeldOut], phase: str, backend: str) -> str:
    """One line: rows, devices, median errors in percent, coverage."""
    some = [one for one in rows if one.row.test.phase == phase and one.row.device.backend == backend]
    if not some:
        return "none"
    devices = len({one.row.device.title for one in some})
    covered = f"{100 * coverage(some):5.0f}" if devices >= 5 else "    –"
    return (
        f"{len(some):5} rows {devices:4} devices   {100 * median_error(some):6.1f} over rows"
        f"{100 * median_error_by_device(some):7.1f} over devices   {covered} covered"
    )


def between_setups(rows: Sequence[Row], phase: str) -> str:
    """One line: devices whose tests were run in two setups, and the median over them of the difference."""
    apart = setups_apart([row for row in rows if row.test.phase == phase])
    if not apart:
        return "no test in two setups"
    middle = 100 * math.expm1(statistics.median(apart.values()))
    return f"the same test in two setups: {middle:.1f} apart, median over {len(apart)} devices"


def main() -> None:
    """Print the tables."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared" / "data"
    print("median error in percent, devices left out in ten folds; coverage of 90 % intervals, in percent")
    for backends in (GPU_BACKENDS, ("CPU",)):
        rows = large(published_rows(data, backends))
        folds = leave_devices_out(rows)
        for backend in backends:
            for phase, (limit, limit_vulkan, with_own) in LIMITS.items():
                unseen = limit_vulkan if backend == "Vulkan" else limit
                print(f"{backend:7} {phase:8} unseen (at most {unseen:3.0f})  {report(folds.unseen, phase, backend)}")
                print(f"{'':16} one own (at most {with_own:3.0f}) {report(folds.one_own_row, phase, backend)}")
                print(f"{'':16} {between_setups([row for row in rows if row.device.backend == backend], phase)}")


if __name__ == "__main__":
    main()
