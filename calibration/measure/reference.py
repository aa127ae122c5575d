"""One prefill and one decode case that are timed again and again: how much slower the device is at this moment."""

import math
import statistics
from collections.abc import Sequence

from .bench import Bench, Lab
from .cases import Case
from .samples import median


def device_clock(phase: str) -> str:
    """The name under which the reference of a phase tells the time of its kernels alone."""
    return f"{phase}_device"


class Reference:
    """One prefill and one decode case that stay open and are timed again and again: what they take is the drift."""

    LEAST_RUNS, MOST_RUNS = 3, 15
    LENGTH_S = 0.02  # of one timing, within those numbers of runs

    def __init__(self, lab: Lab, cases: Sequence[Case]) -> None:
        self._benches = {case.phase: lab.open(case, keep=True) for case in cases}

    def seconds(self) -> dict[str, float]:
        """Seconds of each reference, now: the wall time under its phase, a graph's replay under `phase_device`."""
        seconds: dict[str, float] = {}
        for phase, bench in self._benches.items():
            wall, replay = self._medians(bench)
            seconds[phase] = wall
            if replay is not None:
                seconds[device_clock(phase)] = replay
        return seconds

    def _medians(self, bench: Bench) -> tuple[float, float | None]:
        # Untimed: the case before left the caches cold, and gave back memory that must now be asked for again.
        once = bench.time(1).wall_s
        timed = [bench.time(1) for _ in range(self.runs(once))]
        return statistics.median(times.wall_s for times in timed), median([times.replay_s for times in timed])

    @classmethod
    def runs(cls, once_s: float) -> int:
        """How many runs of `once_s` seconds a timing takes the median of."""
        return min(max(math.ceil(cls.LENGTH_S / max(once_s, 1e-6)), cls.LEAST_RUNS), cls.MOST_RUNS)

    def close(self) -> None:
        """Give back what the reference holds."""
        for bench in self._benches.values():
            bench.close()
