"""The machine around the device: caches, load, free memory. Needs no torch: engines are calibrated without."""

import os
from contextlib import suppress
from pathlib import Path

import psutil

CPU_CACHE_BYTES = 32e6  # where the system does not tell


def cache_bytes() -> float:
    """The last-level cache as Linux tells it."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with suppress(OSError, ValueError):
            text = path.read_text().strip()
            sizes.append(float(text[:-1]) * {"K": 1024, "M": 1024**2}[text[-1]])
    return max(sizes, default=CPU_CACHE_BYTES)


def load_average() -> float | None:
    """Processes that ran or waited in the last minute, ours included; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def available_memory() -> float:
    """Bytes of main memory that can be had now."""
    return float(psutil.virtual_memory().available)
