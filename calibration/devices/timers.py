"""The timer that fits a device, and the ceilings that it measures."""

import time
from collections.abc import Callable, Sequence

import torch

from ..engines.block import DTYPES
from ..measure.bench import Bench, Times
from .cpu import ColdCpuBench, CpuBench
from .cuda import CudaBench
from .hardware import Hardware


def bench(
    run: Callable[[], object], hardware: Hardware, graph: bool, replay: bool = False, cold: bool = False
) -> Bench:
    """The timer that fits the device. `graph` times a replay in place of the run, `replay` both (CUDA alone); `cold`
    clears the cache before each run (CPU alone)."""
    if hardware.kind == "cpu":
        return ColdCpuBench(run, hardware.threads, hardware.cache_bytes) if cold else CpuBench(run, hardware.threads)
    if hardware.kind == "cuda":
        return CudaBench(run, hardware.index, graph, replay)
    return AcceleratorBench(run, hardware.device)


class AcceleratorBench(CpuBench):
    """Wall time of any accelerator that torch can synchronise with; of several, the one that runs."""

    def __init__(self, run: Callable[[], object], device: torch.device) -> None:
        super().__init__(run)
        self._device = device

    def time(self, runs: int) -> Times:
        torch.accelerator.synchronize(self._device)
        assert self._run is not None
        with torch.no_grad():
            start = time.perf_counter()
            for _ in range(runs):
                self._run()
            torch.accelerator.synchronize(self._device)
            return Times(time.perf_counter() - start)


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
    timed = [timer.time(1) for _ in range(times)]
    timer.close()
    return [one.wall_s if one.device_s is None else one.device_s for one in timed]
