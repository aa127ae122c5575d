"""Running out of memory, in the words of `measure` whatever the device says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..measure.bench import Bench, OutOfMemory, Times

# What torch and the libraries below it say in a plain RuntimeError. The first kernel that finds no room for its code or
# its workspace speaks in the words of its library: c10/core/impl/alloc_cpu.cpp (POSIX and Windows), the CUDA and HIP
# runtimes, cuBLAS, cuBLASLt, cuDNN, cuSOLVER and cuFFT, hipBLAS, rocBLAS and MIOpen, MPSAllocator.mm (a buffer above
# the largest size too), Level Zero and SYCL's unified runtime. Triton's "out of resource: shared memory" is no memory.
SAID = re.compile(
    r"out of (?:device |host )?memory|OutOf(?:Host)?Memory|OUT_OF_(?:DEVICE_|HOST_)?MEMORY|MemoryAllocation\b"
    r"|can't allocate memory|not enough memory: you tried to allocate|std::bad_alloc"
    r"|_ALLOC_FAILED|ALLOCATION_FAILED|rocblas_status_memory_error|miopenStatusAllocFailed"
    r"|Invalid buffer size|(?:PI|UR_RESULT)_ERROR_OUT_OF_RESOURCES"
)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Running out of memory, as `measure` knows it, however torch says it: often with a plain RuntimeError (`SAID`)."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error).splitlines()[0][:200]) from None
    except RuntimeError as error:
        line = next((line for line in str(error).splitlines() if SAID.search(line)), None)
        if line is None:
            raise
        raise OutOfMemory(line[:200]) from None


class Guarded:
    """A bench that says in `measure`'s words when a run does not fit the memory."""

    def __init__(self, inner: Bench) -> None:
        self._inner = inner

    def time(self, runs: int) -> Times:
        with memory_errors():
            return self._inner.time(runs)

    def close(self) -> None:
        self._inner.close()
