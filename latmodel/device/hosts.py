"""Hosts that were measured: how long other people's machines take to dispatch the same block."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..errors import UsageError
from ..laws.coefficients import ENGINE_TERMS, HOST_TERMS
from ..runtimes.registry import IMPLEMENTATIONS
from .machine import machine_key
from .profile import Coefficient, Profile, RuntimePart

Host = Literal["any", "published", "this"]
PRODUCTS = 7.0  # matrix products of a Llama block: queries, keys, values, output, gate, up, down

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
    """How much less and how much more time another machine's host may take than the one that was measured.

    `hides_engine` says that an engine's time between two passes may be nothing at the fast end: its later versions plan
    a pass while the device runs the one before (vLLM's asynchronous scheduling, TensorRT-LLM's executor).
    """

    fastest: float
    slowest: float
    hides_engine: bool = False


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


def block_launches() -> float:
    """Kernels that Transformers launches for a Llama block in one decode step."""
    i = IMPLEMENTATIONS["transformers"]
    twice = 2.0 * (i.norm_kernels + i.residual_kernels)
    return twice + i.rope_kernels + i.activation_kernels + i.cache_kernels + i.attention.kernels + PRODUCTS


def with_slower_host(profile: Profile, runtime: str, factor: float, engine: float | None = None) -> Profile:
    """The profile with a host that takes `factor` times as long for everything in a runtime, a serving engine's own
    part `engine` times (None: `factor` too)."""
    part = profile.runtimes[runtime]
    factors = dict.fromkeys(HOST_TERMS, factor) | dict.fromkeys(ENGINE_TERMS, factor if engine is None else engine)
    slower = {
        name: one.model_copy(update={"value": one.value * factors.get(name, 1.0)})
        for name, one in part.coefficients.items()
    }
    runtimes = {**profile.runtimes, runtime: part.model_copy(update={"coefficients": slower})}
    return profile.model_copy(update={"runtimes": runtimes})


def is_measured(part: RuntimePart) -> bool:
    """Whether the host's time was fitted to a machine, and is no prior."""
    terms = (part.coefficients.get(name) for name in ("launch_s", "block_s", "pass_s", *ENGINE_TERMS))
    return any(one is not None and one.status == "fitted" for one in terms)


def is_guessed(part: RuntimePart) -> bool:
    """Whether kernels are launched, or an engine schedules, in times that are a prior's, or still are after a fit."""
    terms = (part.coefficients.get(name) for name in ("launch_s", "block_s", *ENGINE_TERMS))
    return any(one is not None and one.value > 0.0 and one.status in ("prior", "undetermined") for one in terms)


def host_of(profile: Profile, runtime: str, host: Host | None) -> tuple[Host, HostFactors]:
    """Whose host an interval is for, and the factors on the profile's host that it must hold.

    `None` is "this" where the runtime was measured on this machine, else "any". A host that was fitted to a few rows
    is known as well as they tell. A host that is a prior is the typical one, from which others lie as far
    as the known hosts do; that of a graph replay is hardly there.

    Raises:
        UsageError: "this" where nothing was measured on this machine.
    """
    part = profile.runtimes[runtime]
    here = bool(part.machine) and part.machine == machine_key()
    if host == "this" and not here:
        raise UsageError(
            f"--host this: {runtime} of profile {profile.name} was not measured on this machine; run "
            f"`latmodel calibrate --gpu {profile.gpu} --runtime {runtime} --host-only`, or use --host any"
        )
    chosen = host or ("this" if here else "any")
    own = HostFactors(*part.host_range)
    if chosen != "any":
        return chosen, own
    if is_measured(part):
        others = _others(profile)
        return chosen, HostFactors(min(others.fastest, own.fastest), max(others.slowest, own.slowest))
    guessed = other_hosts(typical_host_s())._replace(hides_engine=True)
    return chosen, guessed if is_guessed(part) else SAME_HOST


def _others(profile: Profile) -> HostFactors:
    """Against the host that Transformers was measured on, where it was; else against a typical one."""
    part = profile.runtimes.get("transformers-eager")
    return other_hosts(typical_host_s() if part is None or not is_measured(part) else _block_s(part.coefficients))


def _block_s(table: Mapping[str, Coefficient]) -> float:
    return block_launches() * table["launch_s"].value + table["block_s"].value
