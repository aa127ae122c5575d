"""The published tests of a backend family, joined with their devices."""

from collections.abc import Collection
from pathlib import Path

from ...sources.llama_bench import read_devices, read_tests, read_whole_models
from .devices import identify
from .law import Row, row_of

GPU_BACKENDS = ("CUDA", "Metal", "ROCm", "Vulkan", "OpenCL")


def published_rows(data: Path, backends: Collection[str] = GPU_BACKENDS, *, whole_models: bool = False) -> list[Row]:
    """Rows on devices with figures, in formats with known bytes; those of `whole_models` too if asked for.

    Raises:
        UsageError: a table cannot be read.
    """
    tests = read_tests(data / "llama_bench" / "rows.csv")
    if whole_models:
        tests += read_whole_models(data / "whole_models" / "measurements.csv")
    figures = read_devices(data / "llama_bench" / "devices.csv")
    rows = []
    for test in tests:
        if test.backend in backends:
            device = identify(test.device, test.backend, figures)
            row = row_of(test, device) if device is not None else None
            if row is not None:
                rows.append(row)
    return rows
