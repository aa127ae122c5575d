"""One sample of one case: warm-up, block size, stop rule.

Knows a clock and benches, not a device: the same code drives CUDA, a CPU and the simulated device of the tests.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .bench import Bench, Hung, Times

FIRST_RUN = 10.0  # the first run of a case may take so many times as long as any other before it counts as hung


@dataclass(frozen=True)
class Rules:
    """When a sample is long enough and when it is good enough. Two numbers judge noise: `precision`, `max_drift`."""

    rounds: int = 2
    warm_up_s: float = 0.05  # a device that idled while the case was made takes so long to raise its clocks
    block_s: float = 0.02  # runs are timed in blocks at least this long, so that the clock's grain is nothing
    sample_s: float = 0.4  # a sample ends here at the latest (a started block is finished)
    least_blocks: int = 3
    precision: float = 0.004  # a sample ends when the standard error of its median is below this share
    max_drift: float = 0.15  # the reference may change this much (log) across a sample before it is repeated
    attempts: int = 3
    limit_s: float = 60.0  # one run longer than this is given up as hung

    def expected_s(self, run_s: float, jitter: float) -> float:
        """Seconds that `sample` will take on runs of `run_s` whose blocks scatter by `jitter` (standard deviation of
        their logs), warm-up included."""
        runs = math.ceil(self.block_s / run_s) if run_s > 0.0 else math.inf
        block_s = self.block_s if runs == math.inf else runs * run_s
        # The standard error of a median of n normal values is √(π / 2n) of their deviation.
        blocks = max(self.least_blocks, math.pi / 2.0 * (jitter / self.precision) ** 2)
        timed_s = min(blocks * block_s, max(self.sample_s, self.least_blocks * block_s))
        # The second run of the warm-up is a block already where a block is one run.
        return max(2.0 * run_s, self.warm_up_s) + timed_s - (run_s if runs == 1 else 0.0)


class Sample(NamedTuple):
    """Medians over blocks, seconds per run, and the relative spread of the blocks."""

    times: Times
    spread: float
    blocks: int


def sample(bench: Bench, now: Callable[[], float], rules: Rules) -> Sample:
    """Warm up (two runs, and `rules.warm_up_s` at least), find the block size, repeat blocks until the rule says stop.

    Raises:
        Hung: a run took longer than `rules.limit_s`.
    """
    start = now()
    bench.time(1)
    _check((now() - start) / FIRST_RUN, rules)  # it may compile
    once = bench.time(1)
    while now() - start < rules.warm_up_s:
        once = bench.time(1)
    runs = math.ceil(rules.block_s / once.wall_s)
    begin, blocks = now(), [] if runs > 1 else [once]
    while len(blocks) < rules.least_blocks or (
        now() - begin < rules.sample_s and _relative_error([b.wall_s for b in blocks]) > rules.precision
    ):
        before = now()
        blocks.append(per_run(bench.time(runs), runs))
        _check(now() - before, rules, runs)
        if len(blocks) > 1 and now() - begin > 3.0 * rules.sample_s:  # one block alone has no spread
            break
    return Sample(
        Times(*(median([block[i] for block in blocks]) for i in range(3))),  # type: ignore[arg-type]
        _relative_error([b.wall_s for b in blocks]) * math.sqrt(len(blocks)),
        len(blocks),
    )


def _check(seconds: float, rules: Rules, runs: int = 1) -> None:
    if seconds > rules.limit_s * runs:
        raise Hung(f"a run took {seconds / runs:.0f} s")


def per_run(times: Times, runs: int) -> Times:
    return Times(*(None if value is None else value / runs for value in times))  # type: ignore[arg-type]


def median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _relative_error(values: Sequence[float]) -> float:
    """Standard error of the median over the median, from the mean absolute deviation."""
    if len(values) < 2:
        return math.inf
    middle = statistics.median(values)
    deviation = statistics.fmean(abs(value - middle) for value in values)
    return 1.571 * deviation / (middle * math.sqrt(len(values)))  # √(π/2) twice: deviation → σ → error of a median
