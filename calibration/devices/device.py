"""The hardware present, its clocks and its timers. The only module that calls CUDA (or any other accelerator)."""

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from latmodel.errors import LatmodelError, UsageError

from ..engines.block import DTYPES, Arena
from ..engines.runtimes import Runtime
from ..measure.cases import Case, case_bytes, weight_elements
from ..measure.samples import Bench, OutOfMemory, Times
from . import nvml
from .host import CPU_CACHE_BYTES, ColdCpuBench, CpuBench, available_memory, cache_bytes, cpu_name

MEMORY_SHARE = 0.9  # of the free memory that a case may take


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
    uuid = str(getattr(properties, "uuid", ""))
    driver = (nvml.driver_version(uuid) if uuid else None) or "unknown"
    return Hardware(
        "cuda", index, properties.name, float(properties.total_memory), float(properties.L2_cache_size),
        float(properties.multi_processor_count), f"{driver} / CUDA {torch.version.cuda}", torch.__version__,
        cpu_name(), torch.get_num_threads(), uuid,
    )  # fmt: skip


def _other(asked: torch.device) -> Hardware:
    """Intel's GPUs tell what they are; Apple's have no such call, and share the main memory."""
    module = torch.get_device_module(asked)
    ask = getattr(module, "get_device_properties", None)
    properties = None if ask is None else ask(asked.index or 0)
    shared = getattr(module, "recommended_max_memory", lambda: available_memory() or 0.0)
    memory = float(getattr(properties, "total_memory", 0.0) or shared())
    units = float(getattr(properties, "max_compute_units", 1))
    name = str(getattr(properties, "name", None) or f"{cpu_name()} {asked.type}")
    return Hardware(
        asked.type, asked.index or 0, name, memory, CPU_CACHE_BYTES, units,
        str(getattr(properties, "driver_version", "unknown")), torch.__version__, cpu_name(), torch.get_num_threads(),
    )  # fmt: skip


def free_memory(hardware: Hardware) -> float:
    """Bytes that can be had now, with what torch keeps of memory that is no longer used."""
    if hardware.kind == "cuda":
        kept = torch.cuda.memory_reserved(hardware.index) - torch.cuda.memory_allocated(hardware.index)
        return float(torch.cuda.mem_get_info(hardware.index)[0] + kept)
    if hardware.kind == "cpu":
        return available_memory() or hardware.memory_bytes
    return hardware.memory_bytes


def throttle_reasons(hardware: Hardware) -> tuple[str, ...]:
    """Why an NVIDIA GPU runs slower than it can at this moment."""
    return nvml.throttle_reasons(hardware.uuid) if hardware.kind == "cuda" and hardware.uuid else ()


def clocks(hardware: Hardware) -> str | None:
    """An NVIDIA GPU's clocks and power limit at this moment, for the record."""
    return nvml.clocks(hardware.uuid) if hardware.kind == "cuda" and hardware.uuid else None


@contextmanager
def memory_errors() -> Iterator[None]:
    """Running out of memory, as `measure` knows it, however torch says it: on a CPU with a plain RuntimeError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error).splitlines()[0][:200]) from None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(str(error).splitlines()[0][:200]) from None


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
            with memory_errors(), torch.no_grad():
                elements = weight_elements(case)
                arena = Arena(elements, self.dtype, device) if keep else self._shared(elements)
                run = self.runtime.build(case, arena, device)
                # A whole decode loop is too long for a graph, and no observation needs its replay.
                made = bench(run, self.hardware, self.runtime.graph, replay=case.part == "blocks", cold=case.cold)
        except OutOfMemory:
            self._free()
            raise
        return Guarded(made)

    def _shared(self, elements: int) -> Arena:
        if self._arena is None or self._arena.elements < elements:
            self._arena = None
            self._arena = Arena(elements, self.dtype, self.hardware.device)
        return self._arena

    def _check(self, case: Case) -> None:
        need = case_bytes(case)
        held = self._held() if self.hardware.kind in ("cpu", "cuda") else 0.0  # the arena is used again, or freed first
        room = MEMORY_SHARE * (free_memory(self.hardware) + held)
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
        return ColdCpuBench(run, hardware.threads, hardware.cache_bytes) if cold else CpuBench(run, hardware.threads)
    if hardware.kind == "cuda":
        return CudaBench(run, hardware.index, graph, replay)
    return AcceleratorBench(run)


class Guarded:
    """A bench that says in `measure`'s words when a run does not fit the memory."""

    def __init__(self, inner: Bench) -> None:
        self._inner = inner

    def time(self, runs: int) -> Times:
        with memory_errors():
            return self._inner.time(runs)

    def close(self) -> None:
        self._inner.close()


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
    """Three clocks: wall time of runs back to back and one synchronisation, events around them, a graph's replay.

    All benches of a device share one stream beside the default one, as capture needs: the allocator keeps freed memory
    apart for each stream, and a stream for each bench would hoard it.
    """

    _streams: ClassVar[dict[int, torch.cuda.Stream]] = {}

    def __init__(self, run: Callable[[], object], index: int, graph: bool, replay: bool) -> None:
        self._index = index
        if index not in self._streams:
            self._streams[index] = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
        self._stream = self._streams[index]
        # Weights and caches were filled on the default stream, which this one does not wait for by itself.
        torch.cuda.synchronize(index)
        self._inputs: list[torch.Tensor] = []
        self._run: Callable[[], object] | None = run
        self._replay = self._captured(run) if graph or replay else None
        if graph:
            if self._replay is None:
                raise LatmodelError("this case cannot be captured in a CUDA graph; try --runtime torch-eager")
            self._run = self._replay

    def _captured(self, run: Callable[[], object]) -> Callable[[], object] | None:
        """The run as a graph, or None where something in it cannot be captured.

        A graph knows the addresses that it reads and holds none of them: a growing cache that the next eager run
        replaces would be freed under it. So every tensor there is at the capture is held until the bench is closed.
        """
        with torch.cuda.stream(self._stream), torch.no_grad():
            for _ in range(3):  # lazy initialisation must be over before the capture
                run()
            self._stream.synchronize()
            self._inputs = _cuda_tensors()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, stream=self._stream):
                    run()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                torch.cuda.synchronize(self._index)
                self._inputs = []
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
        self._inputs = []
        gc.collect()
        torch.cuda.empty_cache()  # a graph's private pool is of use to no other


def _cuda_tensors() -> list[torch.Tensor]:
    return [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor) and one.is_cuda]


def ceilings(hardware: Hardware, dtype: str) -> tuple[float, float]:
    """Measured stand-ins for a data sheet: FLOP/s of a large product, bytes/s of reading a large array once."""
    device, kind = hardware.device, DTYPES[dtype]
    side = 1024 if hardware.kind == "cpu" else 4096
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    flops = 2.0 * side**3 / min(_repeat(lambda: a @ b, hardware, 5))
    count = int(4 * max(hardware.cache_bytes, 32e6) / 4)
    wide = torch.zeros(count, device=device)
    return flops, 4.0 * count / min(_repeat(wide.sum, hardware, 5))


def _repeat(run: Callable[[], object], hardware: Hardware, times: int) -> Sequence[float]:
    timer = bench(run, hardware, graph=False)
    timer.time(1)
    found = [timer.time(1) for _ in range(times)]
    timer.close()
    return [one.wall_s if one.device_s is None else one.device_s for one in found]
