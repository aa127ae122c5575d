"""What a user must know before trusting the price of some number format or way to attend."""

from ..device.hosts import SAME_HOST, Host, HostFactors, is_measured
from ..device.profile import FLOAT8_PHASE, Profile, RuntimePart
from ..errors import ProfileError
from ..model.config import Workload
from ..model.gguf import TENSOR_TYPES
from ..model.implementation import Implementation
from ..model.kernels import Way
from ..runtimes.llama_cpp import LLAMA_CPP

OPEN_HOST = 1.4  # ratio of the ends of a host's time that is worth a word


def check_cache(part: RuntimePart, implementation: Implementation, workload: Workload) -> None:
    """Refuse a format of the KV cache that the runtime does not have, or that its engine was not measured with.

    Raises:
        ProfileError: it says which there is.
    """
    cache, engine = workload.kv_cache, part.engine
    if cache is None and engine is None:
        return
    if cache in TENSOR_TYPES and implementation.name != LLAMA_CPP.name:
        raise ProfileError(f"{implementation.name} has no cache in {cache}: use --runtime {LLAMA_CPP.name}")
    if engine is not None and cache != engine.kv_cache:
        way = "leave out --kv-cache" if engine.kv_cache is None else f"use --kv-cache {engine.kv_cache}"
        raise ProfileError(
            f"{implementation.name} was measured with {engine.text()}: {way}, or calibrate with the other"
        )


def format_notes(profile: Profile, implementation: Implementation, workload: Workload) -> list[str]:
    """What stands behind the price of quantised weights: how they are multiplied, and what was measured of that."""
    form = workload.numbers().format
    if form is None:
        return []
    kernel = implementation.kernel(form)
    if kernel.way is Way.FLOAT8:
        return [_float8_note(profile, form.group is not None)]
    notes = [] if kernel.source else [_untimed_note(form.name, kernel.way)]
    if form.name.startswith("fp8"):
        notes.append(
            f"profile {profile.name} has no products in fp8: fp8 weights are priced as stored in 8 bits and "
            f"multiplied in {workload.dtype}; where the device and the runtime multiply them as such, prefill is "
            "faster"
        )
    return notes


def _untimed_note(name: str, way: Way) -> str:
    ways = {
        Way.FUSED: "as if dequantised in registers and read at the rate of 16-bit weights",
        Way.UNPACKED: "as if written out in 16 bits before each product",
    }
    return f"no time of {name} weights in this runtime was measured: they are priced {ways[way]}"


def _float8_note(profile: Profile, blocks: bool) -> str:
    error = next((row for row in profile.quality.errors if row.phase == FLOAT8_PHASE), None)
    off = "" if error is None else f" ({error.mape_percent:.1f} % off on shapes held out)"
    by_block = ", scales by block as if by tensor" if blocks else ""
    return (
        f"products in fp8, inputs quantised on the way, as vLLM's kernels were timed one by one{off}{by_block}: "
        "another runtime's may differ; intervals are those of 16-bit models"
    )


def host_notes(profile: Profile, runtime: str, host: Host, factors: HostFactors) -> list[str]:
    """Where the host's time comes from, whose host the intervals are for, and what the profile itself warns of."""
    part = profile.runtimes[runtime]
    notes = [part.note] if part.note else []
    if host == "published" and is_measured(part):
        notes.append(f"intervals are for the host that was measured alone: {part.host}")
    low, high = part.host_range
    if host != "any" and high > OPEN_HOST * low:
        notes.append(
            f"host time follows from few rows, which leave {low:.2g} to {high:.2g} times it open: a time of a narrow "
            "model says more of it"
        )
    if host == "any" and factors != SAME_HOST and is_measured(part):
        notes.append(
            f"host time was measured on {part.host}; intervals hold on any machine with this device, hosts of "
            f"{factors.fastest:.2g} to {factors.slowest:.2g} times that: --host published is for that one alone, "
            f"`latmodel calibrate --gpu {profile.gpu} --runtime {runtime} --host-only` (half a minute) for yours"
        )
    return notes
