"""Hosts that were measured: how long other people's machines take to dispatch the same block."""

import math
from typing import NamedTuple

# Host seconds of one decode step's Llama block in Transformers eager, by machine, with source.
KNOWN_HOSTS = {
    "RTX 3090 (hbfreed/inference-pareto: 0.67-0.70 ms a layer)": 0.685e-3,
    "RTX 3090 (Shortened LLaMA, tables 2 and 3: slope of the depth-pruned rows)": 1.25e-3,
    "H100 (Shortened LLaMA, the same)": 0.55e-3,
    "H100 (this project, Transformers 5.17 on a virtual Intel Xeon, 2026-11-25)": 0.57e-3,
    "H100 (another such machine the same day)": 0.85e-3,
}
TWO_SIDED_90 = 1.645  # standard deviations of a normal distribution


class HostFactors(NamedTuple):
    """How much less and how much more time another machine's host may take than the one that was measured."""

    fastest: float
    slowest: float


SAME_HOST = HostFactors(1.0, 1.0)


def typical_host_s() -> float:
    """Geometric mean of the known hosts, seconds of a block."""
    return math.exp(math.fsum(map(math.log, KNOWN_HOSTS.values())) / len(KNOWN_HOSTS))


def host_sigma() -> float:
    """Standard deviation of log seconds over the known hosts, with what a further one adds: s · sqrt(1 + 1/n)."""
    n, mean = len(KNOWN_HOSTS), math.log(typical_host_s())
    variance = math.fsum((math.log(seconds) - mean) ** 2 for seconds in KNOWN_HOSTS.values()) / (n - 1)
    return math.sqrt(variance * (1.0 + 1.0 / n))


def other_hosts(measured_block_s: float) -> HostFactors:
    """Factors on a measured host (seconds of a block) between which nine machines of ten lie, as the known ones do."""
    middle, reach = typical_host_s() / measured_block_s, math.exp(TWO_SIDED_90 * host_sigma())
    return HostFactors(min(middle / reach, 1.0), max(middle * reach, 1.0))
