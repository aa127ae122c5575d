"""The timers of a CUDA device: wall time, events, and the replay of a graph."""

import gc
import time
from collections.abc import Callable
from typing import ClassVar

import torch

from latmodel.errors import LatmodelError

from ..measure.bench import Times


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
