"""A device with one engine and dtype, as `measure` drives it."""

import gc
import time

import torch

from ..engines.block import DTYPES, Arena
from ..engines.engine import Engine
from ..measure.bench import Bench, OutOfMemory
from ..measure.cases import Case, case_bytes, weight_elements
from .hardware import Hardware, free_memory, throttle_reasons
from .memory import Guarded, memory_errors
from .timers import bench

MEMORY_SHARE = 0.9  # of the free memory that a case may take


class TorchLab:
    """A device with one engine and dtype; satisfies `measure.Lab`."""

    def __init__(self, hardware: Hardware, engine: Engine, dtype: str) -> None:
        self.hardware, self.engine, self.dtype = hardware, engine, DTYPES[dtype]
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
                run = self.engine.build(case, arena, device)
                # A whole decode loop is too long for a graph, and no observation needs its replay.
                graph = self.engine.replays(self.hardware.kind)
                made = bench(run, self.hardware, graph, replay=case.part == "blocks", cold=case.cold)
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
