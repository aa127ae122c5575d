"""The machine around the device: processor, caches, load; and the timers of a CPU. No accelerator here."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from ..measure.bench import Times

CPU_CACHE_BYTES = 32e6  # where the system does not tell
CLEARING = 2.0  # caches' worth of reading after which nothing of before is left


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


class CpuBench:
    """Nothing is asynchronous: host and device are one thread, and its own CPU time is the clock.

    On an idle machine that is the wall time; on a shared one it leaves out what other processes take from the core,
    which can be any multiple. With several threads there is no such clock (they wait for each other): wall time then.
    """

    def __init__(self, run: Callable[[], object], threads: int = 1) -> None:
        self._run: Callable[[], object] | None = run
        self._clock = time.thread_time if threads == 1 else time.perf_counter

    def time(self, runs: int) -> Times:
        assert self._run is not None
        with torch.no_grad():
            start = self._clock()
            for _ in range(runs):
                self._run()
            return Times(self._clock() - start)

    def close(self) -> None:
        self._run = None


class ColdCpuBench:
    """The same, with the last-level cache cleared before each run, outside the clock: a large array is read through."""

    def __init__(self, run: Callable[[], object], threads: int, cache_bytes: float) -> None:
        self._one = CpuBench(run, threads)
        self._other = torch.zeros(int(CLEARING * cache_bytes / 4))

    def time(self, runs: int) -> Times:
        seconds = 0.0
        for _ in range(runs):
            self._other.sum()
            seconds += self._one.time(1).wall_s
        return Times(seconds)

    def close(self) -> None:
        self._one.close()
