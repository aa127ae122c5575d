"""Memory that runs out during a run, in the words of every library: it is that, and no crash."""

import pytest

torch = pytest.importorskip("torch")

from calibration.devices.memory import Guarded, memory_errors  # noqa: E402
from calibration.measure.bench import OutOfMemory, Times  # noqa: E402


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError("no more"),
     *map(RuntimeError, (
         "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte",
         "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.", "std::bad_alloc",
         "CUDA error: out of memory", "CUDA driver error: out of memory",
         "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
         "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "HIP out of memory. Tried to allocate 2.00 GiB",
         "HIP error: hipErrorOutOfMemory", "HIP error: HIPBLAS_STATUS_ALLOC_FAILED", "rocblas_status_memory_error",
         "MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)", "Invalid buffer size: 16.00 GiB",
         "XPU out of memory. Tried to allocate 2.00 GiB (GPU 1; 11.60 GiB total capacity)",
         "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES) -5 (PI_ERROR_OUT_OF_RESOURCES)",
         "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
     ))],
)  # fmt: skip
def test_memory_that_runs_out_in_a_run_is_that_and_no_crash(error: Exception) -> None:
    class Full:
        closed = False

        def time(self, runs: int) -> Times:
            raise error

        def close(self) -> None:
            self.closed = True

    inner = Full()
    guarded = Guarded(inner)
    with pytest.raises(OutOfMemory, match=str(error)[:10].replace("[", r"\[")):
        guarded.time(1)
    guarded.close()
    assert inner.closed


@pytest.mark.parametrize(
    "said",
    ["CUDA error: an illegal memory access was encountered", "out of resource: shared memory, Required: 147456",
     "CUBLAS_STATUS_NOT_SUPPORTED", "expected input of 2 sizes"],
)  # fmt: skip
def test_other_errors_of_a_run_stay_what_they_are(said: str) -> None:
    with pytest.raises(RuntimeError, match=said), memory_errors():
        raise RuntimeError(said)


def test_the_line_that_speaks_of_memory_is_the_one_kept() -> None:
    with pytest.raises(OutOfMemory, match=r"^CUDA error: out of memory$"), memory_errors():
        raise RuntimeError("backend='inductor' raised:\nCUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")
