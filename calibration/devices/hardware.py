"""The hardware present: what it is called, how large it is, how much of it is free."""

import platform
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from latmodel.device.machine import cpu_model
from latmodel.errors import UsageError

from . import nvml
from .host import CPU_CACHE_BYTES, available_memory, cache_bytes


@dataclass(frozen=True)
class Hardware:
    """One device as it is: what binds a measurement to it, and what its profile says of it."""

    kind: str  # "cpu", or torch's name of the accelerator: "cuda", "xpu", "mps"
    index: int
    name: str
    memory_bytes: float
    cache_bytes: float
    sm_count: float
    driver: str
    torch_version: str
    host: str
    threads: int
    uuid: str = ""  # CUDA's, without the "GPU-" or "MIG-" of other tools

    @property
    def device(self) -> torch.device:
        """As torch calls it."""
        return torch.device(self.kind) if self.kind == "cpu" else torch.device(self.kind, self.index)

    @property
    def lock(self) -> str:
        """What a calibration holds: the device itself, whatever its number among those that a process may see."""
        return f"{self.kind}-{self.uuid or self.index}"

    def binding(self) -> dict[str, Any]:
        """What must be the same for measurements to mix."""
        return {
            "device": self.name, "driver": self.driver, "torch": self.torch_version, "host": self.host,
            "threads": self.threads,
        }  # fmt: skip


def detect(wanted: str | None, threads: int | None = None) -> Hardware:
    """The device wanted ("cpu", "cuda:0", …), or the accelerator present, or the CPU.

    Raises:
        UsageError: torch has no such device; the message says what there is.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    text = wanted or (accelerator.type if accelerator is not None else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise UsageError(f"--device {text[:40]!r} is no device; try cuda:0 or cpu") from None
    if device.type == "cpu":
        return _cpu(threads)
    if accelerator is None or accelerator.type != device.type:
        raise UsageError(
            f"there is no {device.type} device here; calibrate with --device cpu, or use a packaged profile"
        )
    if (device.index or 0) >= torch.accelerator.device_count():
        raise UsageError(
            f"there is no device {text}; {torch.accelerator.device_count()} {device.type} device(s) present"
        )
    return _cuda(device.index or 0) if device.type == "cuda" else _other(device)


def _cpu(threads: int | None) -> Hardware:
    torch.set_num_threads(threads or 1)
    memory = float(psutil.virtual_memory().total)
    return Hardware(
        "cpu", 0, cpu_model(), memory, cache_bytes(), 1.0, platform.release(), torch.__version__,
        platform.node() or "localhost", torch.get_num_threads(),
    )  # fmt: skip


def _cuda(index: int) -> Hardware:
    properties = torch.cuda.get_device_properties(index)
    uuid = str(getattr(properties, "uuid", ""))
    driver = (nvml.driver_version(uuid) if uuid else None) or "unknown"
    return Hardware(
        "cuda", index, properties.name, float(properties.total_memory), float(properties.L2_cache_size),
        float(properties.multi_processor_count), f"{driver} / CUDA {torch.version.cuda}", torch.__version__,
        cpu_model(), torch.get_num_threads(), uuid,
    )  # fmt: skip


def _other(device: torch.device) -> Hardware:
    """Intel's GPUs tell what they are; Apple's have a call of their own for it, and share the main memory."""
    if device.type == "mps":
        return _apple(device)
    module = torch.get_device_module(device)
    ask = getattr(module, "get_device_properties", None)
    properties = None if ask is None else ask(device.index or 0)
    memory = float(getattr(properties, "total_memory", 0.0) or available_memory())
    units = float(getattr(properties, "max_compute_units", 1))
    name = str(getattr(properties, "name", None) or f"{cpu_model()} {device.type}")
    uuid = str(getattr(properties, "uuid", None) or "")
    return Hardware(
        device.type, device.index or 0, name, memory, CPU_CACHE_BYTES, units,
        str(getattr(properties, "driver_version", "unknown")), torch.__version__, cpu_model(), torch.get_num_threads(),
        uuid,
    )  # fmt: skip


def _apple(device: torch.device) -> Hardware:
    """By the chip's name, as its data sheet has it ("Apple M2 Max"): the GPU has none of its own."""
    told = torch.backends.mps
    name = str(getattr(told, "get_name", cpu_model)())
    cores = float(getattr(told, "get_core_count", lambda: 1)())
    memory = float(torch.get_device_module(device).recommended_max_memory())
    return Hardware(
        device.type, 0, name, memory, CPU_CACHE_BYTES, cores, platform.release(), torch.__version__, cpu_model(),
        torch.get_num_threads(),
    )  # fmt: skip


def free_memory(hardware: Hardware) -> float:
    """Bytes that can be had now, with what torch keeps of memory that is no longer used."""
    if hardware.kind == "cuda":
        kept = torch.cuda.memory_reserved(hardware.index) - torch.cuda.memory_allocated(hardware.index)
        return float(torch.cuda.mem_get_info(hardware.index)[0] + kept)
    if hardware.kind == "cpu":
        return available_memory()
    told = getattr(torch.get_device_module(hardware.device), "mem_get_info", None)
    return hardware.memory_bytes if told is None else float(told(hardware.index)[0])


def throttle_reasons(hardware: Hardware) -> tuple[str, ...]:
    """Why an NVIDIA GPU runs slower than it can at this moment."""
    return nvml.throttle_reasons(hardware.uuid) if hardware.kind == "cuda" and hardware.uuid else ()


def clocks(hardware: Hardware) -> str | None:
    """An NVIDIA GPU's clocks and power limit at this moment, for the record."""
    return nvml.clocks(hardware.uuid) if hardware.kind == "cuda" and hardware.uuid else None
