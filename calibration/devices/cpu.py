"""The timers of a CPU under torch."""

import time
from collections.abc import Callable

import torch

from ..measure.bench import Times

CLEARING = 2.0  # caches' worth of reading after which nothing of before is left


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
