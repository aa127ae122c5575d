"""The hardware present, its clocks and its timers. The only module that calls CUDA (or any other accelerator)."""

import gc
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from latmodel.errors import LatmodelError, UsageError

from .block import DTYPES, Arena
from .cases import Case, case_bytes, weight_elements
from .measure import Bench, OutOfMemory, Times
from .runtimes import Runtime

MEMORY_SHARE = 0.9  # of the free memory that a case may take
CPU_CACHE_BYTES = 32e6  # where the system does not tell
CLEARING = 2.0  # caches' worth of reading after which nothing of before is left


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

    @property
    def device(self) -> torch.device:
        """As torch calls it."""
        return torch.device(self.kind) if self.kind == "cpu" else torch.device(self.kind, self.index)

    def binding(self) -> dict[str, Any]:
        """What must be the same for measurements to mix."""
        return {
            "device": self.name, "driver": self.driver, "torch": self.torch_version, "host": self.host,
            "threads": self.threads,
        }  # fmt: skip


def detect(wanted: str | None, threads: int | None = None) -> Hardware:
    """The device asked for ("cpu", "cuda:0", …), or the accelerator present, or the CPU.

    Raises:
        UsageError: torch has no such device; the message says what there is.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    text = wanted or (accelerator.type if accelerator is not None else "cpu")
    try:
        asked = torch.device(text)
    except RuntimeError:
        raise UsageError(f"--device {text[:40]!r} is no device; try cuda:0 or cpu") from None
    if asked.type == "cpu":
        return _cpu(threads)
    if accelerator is None or accelerator.type != asked.type:
        raise UsageError(
            f"there is no {asked.type} device here; calibrate with --device cpu, or use a packaged profile"
        )
    if (asked.index or 0) >= torch.accelerator.device_count():
        raise UsageError(
            f"there is no device {text}; {torch.accelerator.device_count()} {asked.type} device(s) present"
        )
    return _cuda(asked.index or 0) if asked.type == "cuda" else _other(asked)


def _cpu(threads: int | None) -> Hardware:
    torch.set_num_threads(threads or 1)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(
        "cpu", 0, cpu_name(), float(pages), cache_bytes(), 1.0, platform.release(), torch.__version__,
        platform.node() or "localhost", torch.get_num_threads(),
    )  # fmt: skip


def _cuda(index: int) -> Hardware:
    properties = torch.cuda.get_device_properties(index)
    driver = _nvml(index, lambda nvml, _: str(nvml.nvmlSystemGetDriverVersion())) or "unknown"
    return Hardware(
        "cuda", index, properties.name, float(properties.total_memory), float(properties.L2_cache_size),
        float(properties.multi_processor_count), f"{driver} / CUDA {torch.version.cuda}", torch.__version__,
        f"{cpu_name()}", torch.get_num_threads(),
    )  # fmt: skip


def _other(asked: torch.device) -> Hardware:
    module = torch.get_device_module(asked)
    properties = module.get_device_properties(asked.index or 0)
    memory = float(getattr(properties, "total_memory", 0.0))
    units = float(getattr(properties, "max_compute_units", 1))
    return Hardware(
        asked.type, asked.index or 0, str(properties.name), memory, CPU_CACHE_BYTES, units,
        str(getattr(properties, "driver_version", "unknown")), torch.__version__, cpu_name(), torch.get_num_threads(),
    )  # fmt: skip


def cpu_name() -> str:
    """The processor's model name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or "CPU"


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


def free_memory(hardware: Hardware) -> float:
    """Bytes that can be had now."""
    if hardware.kind == "cuda":
        return float(torch.cuda.mem_get_info(hardware.index)[0])
    if hardware.kind == "cpu":
        with suppress(OSError, StopIteration, ValueError):
            lines = Path("/proc/meminfo").read_text().splitlines()
            return 1024.0 * float(next(x for x in lines if x.startswith("MemAvailable")).split()[1])
    return hardware.memory_bytes


class TorchLab:
    """A device with one runtime and dtype; satisfies `measure.Lab`."""

    def __init__(self, hardware: Hardware, runtime: Runtime, dtype: str) -> None:
        self.hardware, self.runtime, self.dtype = hardware, runtime, DTYPES[dtype]
        self._arena: Arena | None = None

    def now(self) -> float:
        return time.perf_counter()

    def throttled(self) -> tuple[str, ...]:
        return throttle_reasons(self.hardware)

    def open(self, case: Case, keep: bool = False) -> Bench:
        self._check(case)
        device = self.hardware.device
        try:
            arena = Arena(weight_elements(case), self.dtype, device) if keep else self._shared(weight_elements(case))
            with torch.no_grad():
                run = self.runtime.build(case, arena, device)
            # A whole decode loop is too long for a graph, and no observation needs its replay.
            return bench(run, self.hardware, self.runtime.graph, replay=case.part == "blocks", cold=case.cold)
        except (torch.OutOfMemoryError, MemoryError) as error:
            self._free()
            raise OutOfMemory(str(error).splitlines()[0][:200]) from None

    def _shared(self, elements: int) -> Arena:
        if self._arena is None or self._arena.elements < elements:
            self._arena = None
            self._arena = Arena(elements, self.dtype, self.hardware.device)
        return self._arena

    def _check(self, case: Case) -> None:
        need = case_bytes(case)
        room = MEMORY_SHARE * (free_memory(self.hardware) + (self._held() if self.hardware.kind == "cpu" else 0.0))
        if need > room:
            raise OutOfMemory(f"needs {need / 1e9:.2f} GB, {room / 1e9:.2f} GB are free")

    def _held(self) -> float:
        return 0.0 if self._arena is None else float(self._arena.elements * self.dtype.itemsize)

    def _free(self) -> None:
        self._arena = None
        gc.collect()
        if self.hardware.kind == "cuda":
            torch.cuda.empty_cache()


def bench(
    run: Callable[[], object], hardware: Hardware, graph: bool, replay: bool = False, cold: bool = False
) -> Bench:
    """The timer that fits the device. `graph` times a replay in place of the run, `replay` both (CUDA alone); `cold`
    clears the cache before each run (CPU alone)."""
    if hardware.kind == "cpu":
        return ColdCpuBench(run, hardware) if cold else CpuBench(run, hardware.threads)
    if hardware.kind == "cuda":
        return CudaBench(run, hardware.index, graph, replay)
    return AcceleratorBench(run)


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

    def __init__(self, run: Callable[[], object], hardware: Hardware) -> None:
        self._one = CpuBench(run, hardware.threads)
        self._other = torch.zeros(int(CLEARING * hardware.cache_bytes / 4))

    def time(self, runs: int) -> Times:
        seconds = 0.0
        for _ in range(runs):
            self._other.sum()
            seconds += self._one.time(1).wall_s
        return Times(seconds)

    def close(self) -> None:
        self._one.close()


class AcceleratorBench(CpuBench):
    """Wall time of any accelerator that torch can synchronise with."""

    def time(self, runs: int) -> Times:
        torch.accelerator.synchronize()
        assert self._run is not None
        with torch.no_grad():
            start = time.perf_counter()
            for _ in range(runs):
                self._run()
            torch.accelerator.synchronize()
            return Times(time.perf_counter() - start)


class CudaBench:
    """Three clocks: wall time of runs back to back and one synchronisation, events around them, a graph's replay."""

    def __init__(self, run: Callable[[], object], index: int, graph: bool, replay: bool) -> None:
        self._index = index
        self._stream = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
        self._run: Callable[[], object] | None = run
        self._replay = self._captured(run) if graph or replay else None
        if graph:
            if self._replay is None:
                raise LatmodelError("this case cannot be captured in a CUDA graph; try --runtime torch-eager")
            self._run = self._replay

    def _captured(self, run: Callable[[], object]) -> Callable[[], object] | None:
        """The run as a graph, or None where something in it cannot be captured."""
        with torch.cuda.stream(self._stream), torch.no_grad():
            for _ in range(3):  # lazy initialisation must be over before the capture
                run()
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, stream=self._stream):
                    run()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                torch.cuda.synchronize(self._index)
                return None
        return graph.replay

    def time(self, runs: int) -> Times:
        assert self._run is not None
        wall, device = self._timed(self._run, runs)
        if self._replay is None:
            return Times(wall, device)
        return Times(wall, device, self._timed(self._replay, runs)[1])

    def _timed(self, run: Callable[[], object], runs: int) -> tuple[float, float]:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream), torch.no_grad():
            self._stream.synchronize()
            start = time.perf_counter()
            first.record()
            for _ in range(runs):
                run()
            last.record()
            self._stream.synchronize()
            wall = time.perf_counter() - start
        return wall, first.elapsed_time(last) * 1e-3

    def close(self) -> None:
        self._run = self._replay = None
        gc.collect()


def throttle_reasons(hardware: Hardware) -> tuple[str, ...]:
    """Why an NVIDIA GPU runs below its clocks now: heat, a hardware brake, another process. A power cap is normal."""
    if hardware.kind != "cuda":
        return ()
    return _nvml(hardware.index, _reasons) or ()


def _reasons(nvml: Any, handle: Any) -> tuple[str, ...]:
    active = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    slow = {
        "heat": nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwThermalSlowdown,
        "power brake": nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    }
    others = [p for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid != os.getpid()]
    reasons = [name for name, bits in slow.items() if active & bits]
    return (*reasons, *(["busy"] if others else []))


def _nvml(index: int, ask: Callable[[Any, Any], Any]) -> Any:
    """An answer of nvidia-ml-py about the device with torch's UUID; None where it is missing or cannot tell."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
        return ask(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except (pynvml.NVMLError, AttributeError):
        return None


def ceilings(hardware: Hardware, dtype: str) -> tuple[float, float]:
    """Measured stand-ins for a data sheet: FLOP/s of a large product, bytes/s of reading a large array once."""
    device, kind = hardware.device, DTYPES[dtype]
    a, b = (torch.randn(1024, 1024, device=device).to(kind) for _ in range(2))
    flops = 2.0 * 1024**3 / min(_repeat(lambda: a @ b, hardware, 5))
    count = int(4 * max(hardware.cache_bytes, 32e6) / 4)
    wide = torch.zeros(count, device=device)
    return flops, 4.0 * count / min(_repeat(wide.sum, hardware, 5))


def _repeat(run: Callable[[], object], hardware: Hardware, times: int) -> Sequence[float]:
    timer = bench(run, hardware, graph=False)
    timer.time(1)
    found = [timer.time(1).wall_s for _ in range(times)]
    timer.close()
    return found
