"""Accelerators other than NVIDIA's, with fakes in the place of hardware: names, memory, which of two is measured."""

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from calibration.devices import hardware as present  # noqa: E402
from calibration.devices.timers import bench  # noqa: E402
from calibration.verbs.request import Request, identify  # noqa: E402
from latmodel.device import machine  # noqa: E402
from latmodel.errors import UsageError  # noqa: E402


def test_an_accelerator_that_tells_little_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is the processor's and its kind, its memory the machine's."""
    monkeypatch.setattr(torch, "get_device_module", lambda asked: SimpleNamespace())
    found = present._other(SimpleNamespace(type="hpu", index=None))  # type: ignore[arg-type]
    assert found.kind == "hpu" and found.memory_bytes > 0.0 and found.name.endswith("hpu")


@pytest.mark.parametrize("release", ["new", "old"])
def test_apples_gpu_has_the_chips_name_and_so_its_data_sheet(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases of torch before `get_name` leave the processor's."""
    told = SimpleNamespace(get_name=lambda: "Apple M2 Max", get_core_count=lambda: 38)
    monkeypatch.setattr(torch.backends, "mps", told if release == "new" else SimpleNamespace())
    monkeypatch.setattr(present, "cpu_model", lambda: "Apple M2 Max")
    monkeypatch.setattr(
        torch, "get_device_module", lambda asked: SimpleNamespace(recommended_max_memory=lambda: 12_000_000_000)
    )
    found = present._other(SimpleNamespace(type="mps", index=None))  # type: ignore[arg-type]
    assert found.kind == "mps" and found.memory_bytes == 12e9 and found.sm_count == (38 if release == "new" else 1)
    name, card = identify(Request("m2-max"), found)
    assert name == "apple-m2-max" and card is not None and card.title == "Apple M2 Max"


def test_macos_tells_the_processors_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(command: list[str], **_: Any) -> Any:
        assert command[1:] == ["-n", "machdep.cpu.brand_string"]
        return SimpleNamespace(stdout="Apple M2 Max\n")

    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine, "Path", lambda path: SimpleNamespace(read_text=unreadable))
    monkeypatch.setattr(subprocess, "run", asked)
    assert machine.cpu_model() == "Apple M2 Max"


def unreadable(**_: str) -> str:
    raise FileNotFoundError


def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two GPUs of Intel's, the second smaller; returns what is synchronised with."""
    waited: list[Any] = []
    ask = SimpleNamespace(
        get_device_properties=lambda index: SimpleNamespace(
            name=f"Intel GPU {index}", total_memory=16e9 / (1 + index), max_compute_units=512, driver_version="1.6",
            uuid=f"u{index}",
        ),
        mem_get_info=lambda index: (1e9 * (1 + index), 16e9),
    )  # fmt: skip
    accelerator = SimpleNamespace(
        is_available=lambda: True, current_accelerator=lambda: torch.device("xpu"), device_count=lambda: 2,
        synchronize=waited.append,
    )  # fmt: skip
    monkeypatch.setattr(torch, "accelerator", accelerator)
    monkeypatch.setattr(torch, "get_device_module", lambda asked: ask)
    return waited


def test_the_second_of_two_accelerators_is_the_one_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = two_gpus(monkeypatch)
    found = present.detect("xpu:1")
    assert (found.name, found.memory_bytes, found.lock) == ("Intel GPU 1", 8e9, "xpu-u1")
    assert str(found.device) == "xpu:1" and present.free_memory(found) == 2e9
    bench(lambda: None, found, graph=False).time(1)
    assert [str(device) for device in waited] == ["xpu:1", "xpu:1"]
    with pytest.raises(UsageError, match="no device xpu:2; 2 xpu"):
        present.detect("xpu:2")
