"""What NVIDIA's management library (`nvidia-ml-py`, optional) tells of a GPU, found by the UUID that CUDA gives it.

Where the library is missing, or the device or its owner lets nobody ask, there is no answer and nothing fails.
"""

import os
import time
from collections.abc import Callable
from typing import Any

RECENT_S = 1.0  # the library samples what each process uses several times a second
SLOW = {"heat": ("SwThermalSlowdown", "HwThermalSlowdown"), "power brake": ("HwPowerBrakeSlowdown",)}


def driver_version(uuid: str) -> str | None:
    """Of the driver."""

    def ask(nvml: Any, _: Any) -> str:
        version = nvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)

    return _ask(uuid, ask)  # type: ignore[no-any-return]


def throttle_reasons(uuid: str) -> tuple[str, ...]:
    """Why the GPU runs below its clocks now: heat, a hardware brake, another process. A power cap is normal."""
    reasons = _ask(uuid, lambda nvml, handle: _reasons(nvml, _whole(nvml, handle))) or ()
    return (*reasons, *(["busy"] if _ask(uuid, _has_others) else []))


def clocks(uuid: str) -> str | None:
    """Clocks and power limit at this moment, for the record."""

    def ask(nvml: Any, handle: Any) -> str:
        whole = _whole(nvml, handle)
        now, most = (
            [ask_one(whole, kind) for kind in (nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM)]
            for ask_one in (nvml.nvmlDeviceGetClockInfo, nvml.nvmlDeviceGetMaxClockInfo)
        )
        watts = nvml.nvmlDeviceGetEnforcedPowerLimit(whole) / 1e3
        capped = ", power cap in force" if _active(nvml, whole) & _bits(nvml, ("SwPowerCap",)) else ""
        return (
            f"clocks SM {now[0]} of {most[0]} MHz, memory {now[1]} of {most[1]} MHz, power limit {watts:.0f} W{capped}"
        )

    return _ask(uuid, ask)  # type: ignore[no-any-return]


def _reasons(nvml: Any, handle: Any) -> tuple[str, ...]:
    active = _active(nvml, handle)
    return tuple(reason for reason, names in SLOW.items() if active & _bits(nvml, names))


def _active(nvml: Any, handle: Any) -> int:
    """The bit mask of reasons; later releases of the library call it events."""
    new = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    return int((new or nvml.nvmlDeviceGetCurrentClocksThrottleReasons)(handle))


def _bits(nvml: Any, names: tuple[str, ...]) -> int:
    mask = 0
    for name in names:
        old = getattr(nvml, f"nvmlClocksThrottleReason{name}", 0)
        mask |= int(getattr(nvml, f"nvmlClocksEventReason{name}", old))
    return mask


def _has_others(nvml: Any, handle: Any) -> bool:
    """Whether another process runs kernels. One that only holds memory, as a notebook does, slows nothing.

    A MIG instance and old drivers do not tell who is active: there any other process counts.
    """
    present = {process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    try:
        samples = nvml.nvmlDeviceGetProcessUtilization(handle, int(1e6 * (time.time() - RECENT_S)))
    except nvml.NVMLError as error:
        idle = isinstance(error, getattr(nvml, "NVMLError_NotFound", ()))  # nothing ran since
        active = set() if idle else present
    except AttributeError:
        active = present
    else:
        active = {one.pid for one in samples if one.smUtil > 0}
    if os.getpid() in present:
        return bool(active - {os.getpid()})
    # Inside a container this process has another number there: one of the active ones may be it.
    return len(active) > 1


def _whole(nvml: Any, handle: Any) -> Any:
    """The GPU that a MIG instance is part of: clocks and heat are the whole one's."""
    try:
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    except (nvml.NVMLError, AttributeError):
        return handle


def _ask(uuid: str, question: Callable[[Any, Any], Any]) -> Any:
    """An answer about the device with CUDA's UUID (of a GPU or a MIG instance); None where there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            return question(pynvml, _handle(pynvml, uuid))
        finally:
            pynvml.nvmlShutdown()
    except (pynvml.NVMLError, AttributeError):
        return None


def _handle(nvml: Any, uuid: str) -> Any:
    try:
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except nvml.NVMLError:
        return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
