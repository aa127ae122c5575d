"""The device's edges, with fakes in the place of hardware: NVIDIA's library, accelerators, memory that runs out."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from calibration_support import case

torch = pytest.importorskip("torch")

from calibration.devices import hardware as present  # noqa: E402
from calibration.devices import nvml  # noqa: E402
from calibration.devices.cpu import ColdCpuBench  # noqa: E402
from calibration.devices.cuda import CudaBench  # noqa: E402
from calibration.devices.hardware import Hardware  # noqa: E402
from calibration.engines.block import Arena  # noqa: E402
from calibration.engines.registry import ENGINES  # noqa: E402
from calibration.measure.cases import weight_elements  # noqa: E402
from calibration.verbs.request import Request, identify  # noqa: E402
from latmodel.errors import UnknownDeviceError  # noqa: E402

CPU = torch.device("cpu")
HEAT, BRAKE, CAP = 0x20, 0x80, 0x4


def hardware(kind: str = "cuda", name: str = "NVIDIA GeForce RTX 3090", uuid: str = "1234") -> Hardware:
    return Hardware(kind, 0, name, 24e9, 6e6, 82.0, "1", "2", "here", 1, uuid)


class FakeNvml:
    """A GPU with one MIG instance, and processes of which `active` ones (all if None) run kernels now."""

    NVMLError = type("NVMLError", (Exception,), {})
    NVMLError_NotFound = type("NVMLError_NotFound", (NVMLError,), {})
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def __init__(
        self, known: str = "GPU-1234", active: int = 0, processes: int = 1, events: bool = True,
        running: list[int] | None = None, own: int = 7,
    ) -> None:  # fmt: skip
        self.known, self.processes, self.open, self.running, self.own = known, processes, 0, running, own
        kind = "Event" if events else "Throttle"
        setattr(self, f"nvmlDeviceGetCurrentClocks{kind}Reasons", lambda handle: active)
        for name, bit in (("SwThermalSlowdown", HEAT), ("HwPowerBrakeSlowdown", BRAKE), ("SwPowerCap", CAP)):
            setattr(self, f"nvmlClocks{kind}Reason{name}", bit)

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"550.1"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != self.known:
            raise self.NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:  # noqa: N802
        if not handle.startswith("MIG"):
            raise self.NVMLError("Invalid Argument")
        return "GPU"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=self.own + i) for i in range(self.processes)]

    def nvmlDeviceGetProcessUtilization(self, handle: str, since_us: int) -> list[Any]:  # noqa: N802
        assert 1e15 < since_us < 1e16  # microseconds since 1970
        if self.running is None:
            raise self.NVMLError("Not Supported")
        if not self.running:
            raise self.NVMLError_NotFound("Not Found")
        return [SimpleNamespace(pid=self.own + i, smUtil=share) for i, share in enumerate(self.running)]

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return 1000 * kind

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return 2000 * kind

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:  # noqa: N802
        return 350_000


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("known", ["GPU-1234", "MIG-1234"])
@pytest.mark.parametrize(
    ("active", "processes", "reasons"),
    [(0, 1, ()), (CAP, 1, ()), (HEAT, 1, ("heat",)), (BRAKE | HEAT, 2, ("heat", "power brake", "busy")), (0, 0, ())],
)
def test_why_a_gpu_is_slow(
    events: bool, known: str, active: int, processes: int, reasons: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its UUID, whole or a MIG instance, by either name of the library's calls; a power cap is no reason."""
    fake = FakeNvml(known, active, processes, events)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert present.throttle_reasons(hardware()) == reasons
    assert nvml.driver_version("1234") == "550.1"
    text = present.clocks(hardware())
    assert text is not None and "SM 1000 of 2000 MHz, memory 2000 of 4000 MHz, power limit 350 W" in text
    assert ("power cap in force" in text) == bool(active & CAP)
    assert fake.open == 0  # every call gave the library back


@pytest.mark.parametrize(
    ("running", "inside_a_container", "busy"),
    [([90, 0], True, False), ([90, 40], True, True), ([0, 40], True, False), ([], True, False), (None, True, True),
     ([90, 0], False, False), ([0, 40], False, True), ([90, 40], False, True), ([], False, False)],
)  # fmt: skip
def test_only_processes_that_run_kernels_make_a_gpu_busy(
    running: list[int] | None, inside_a_container: bool, busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process holds memory; inside a container the only active one may be this one under another number."""
    own = 7 if inside_a_container else os.getpid()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(processes=2, running=running, own=own))
    assert present.throttle_reasons(hardware()) == (("busy",) if busy else ())


def test_a_gpu_that_the_library_does_not_know_or_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("GPU-other"))
    assert present.throttle_reasons(hardware()) == () and present.clocks(hardware()) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert present.throttle_reasons(hardware()) == () and nvml.driver_version("1234") is None
    assert present.throttle_reasons(hardware("xpu")) == ()


def test_a_device_is_locked_as_itself_not_by_its_number() -> None:
    """Two jobs of one node see two GPUs as number 0 each."""
    assert hardware(uuid="a").lock != hardware(uuid="b").lock
    assert hardware("cpu", uuid="").lock == "cpu-0"


def test_free_memory_counts_what_torch_keeps_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (4_000, 24_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 15_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda index: 12_000)
    assert present.free_memory(hardware()) == 7_000


def test_a_gpu_without_a_data_sheet_can_be_named_if_it_is_the_one_here() -> None:
    unlisted = hardware("xpu", "Intel(R) Data Center GPU Max 1550")
    assert identify(Request("max-1550"), unlisted) == ("intel-data-center-gpu-max-1550", None)
    with pytest.raises(UnknownDeviceError):
        identify(Request("max-1100"), unlisted)


class FakeCuda:
    """As much of `torch.cuda` as a bench calls; a capture notes what ran in it, a replay that it was replayed."""

    def __init__(self, broken: bool = False) -> None:
        self.calls: list[str] = []
        self.broken = broken

    def synchronize(self, index: int = 0) -> None:
        self.calls.append("synchronize")

    def empty_cache(self) -> None:
        self.calls.append("empty_cache")

    def Stream(self, index: int) -> "FakeCuda":  # noqa: N802
        self.calls.append("new stream")
        return self

    def stream(self, stream: Any) -> "FakeCuda":
        return self

    def CUDAGraph(self) -> Any:  # noqa: N802
        return SimpleNamespace(replay=lambda: self.calls.append("replay"))

    def graph(self, graph: Any, stream: Any) -> "FakeCuda":
        self.calls.append("capture")
        if self.broken:
            raise RuntimeError("operation not permitted when stream is capturing")
        return self

    def Event(self, enable_timing: bool) -> Any:  # noqa: N802
        assert enable_timing
        return SimpleNamespace(record=lambda: self.calls.append("record"), elapsed_time=lambda other: 5.0)

    def __enter__(self) -> "FakeCuda":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(CudaBench, "_streams", {})
    return fake


def test_a_bench_waits_for_the_weights_warms_up_and_then_captures(cuda: FakeCuda) -> None:
    made = CudaBench(lambda: cuda.calls.append("run"), 0, graph=False, replay=True)
    assert cuda.calls == ["new stream", "synchronize", *["run"] * 3, "synchronize", "capture", "run"]
    cuda.calls.clear()
    found = made.time(2)
    timed = ["synchronize", "record", "run", "run", "record", "synchronize"]
    assert cuda.calls == [*timed, *(call.replace("run", "replay") for call in timed)]
    assert found.device_s == found.replay_s == pytest.approx(5e-3)  # events tell milliseconds
    made.close()
    assert cuda.calls[-1] == "empty_cache"
    CudaBench(lambda: None, 0, graph=False, replay=False)
    assert cuda.calls.count("new stream") == 0  # one stream for all: freed memory is kept apart for each


def test_what_cannot_be_captured_has_no_replay_and_no_graph_runtime(cuda: FakeCuda) -> None:
    cuda.broken = True
    made = CudaBench(lambda: None, 0, graph=False, replay=True)
    assert made.time(1).replay_s is None
    with pytest.raises(Exception, match="torch-eager"):
        CudaBench(lambda: None, 0, graph=True, replay=False)


def test_every_case_is_compiled_from_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler counts recompilations by code, and gives up after some; the reference's must not count with them."""
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda block, dynamic: compiled.append(block) or block)
    one = case("a", "prefill", runtime="torch-compile")
    runs = [ENGINES["torch-compile"].build(one, Arena(weight_elements(one), torch.float32, CPU), CPU) for _ in range(2)]
    assert compiled[0].__code__ is not compiled[1].__code__
    for run_once in runs:
        run_once()


def test_the_cache_is_cleared_before_every_run_outside_the_clock() -> None:
    order: list[str] = []
    cold = ColdCpuBench(lambda: order.append("run"), 1, 4e3)
    cold._other = SimpleNamespace(sum=lambda: order.append("clear"))  # type: ignore[assignment]
    assert cold.time(2).wall_s > 0.0
    assert order == ["clear", "run", "clear", "run"]
