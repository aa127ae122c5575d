"""Drift since the calibration: the reference timed again, where the samples it was compared with are kept."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")

from calibration.devices.hardware import detect
from calibration.devices.lab import TorchLab
from calibration.engines.registry import find_engine
from calibration.measure.cases import Case
from calibration.measure.session import open_samples
from calibration.verify import since

RUNTIME = "torch-eager"


class Slow:
    """A reference that takes twice as long as it did, in decode three times."""

    def __init__(self, _lab: object, cases: Sequence[Case]) -> None:
        assert {case.phase for case in cases} == {"prefill", "decode"}
        self.closed = False

    def seconds(self) -> dict[str, float]:
        return {"prefill": 2.0e-3, "decode": 3.0e-3}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def lab() -> TorchLab:
    return TorchLab(detect("cpu", 1), find_engine(RUNTIME), "float32")


@pytest.fixture
def samples(lab: TorchLab, tmp_path: Path) -> Path:
    """A calibration during which the reference always took a millisecond."""
    log = open_samples(tmp_path / "cpu.samples.jsonl", {**lab.hardware.binding(), "dtype": "float32"}, resume=False)
    level = {"prefill": 1e-3, "decode": 1e-3}
    for index in range(6):
        log.append(
            {"kind": "sample", "case": "one", "phase": "decode", "round": index, "attempt": 0, "wall_s": 1.0,
             "replay_s": None, "flags": [], "before": level, "after": level, "runtime": RUNTIME}
        )  # fmt: skip
    return log.path


def found(lab: TorchLab, dtype: str, path: Path | None) -> Callable[[], dict[str, float]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(since, "Reference", Slow)
        with since.drift_since_calibration(lab, RUNTIME, dtype, path) as drift:
            return drift


def test_a_slower_device_is_seen(lab: TorchLab, samples: Path) -> None:
    drift = found(lab, "float32", samples)()
    assert drift == {"prefill": pytest.approx(math.log(2.0)), "decode": pytest.approx(math.log(3.0))}


def test_without_samples_of_this_device_and_dtype_there_is_no_drift(
    lab: TorchLab, samples: Path, tmp_path: Path
) -> None:
    assert found(lab, "bfloat16", samples) is since.no_drift
    assert found(lab, "float32", tmp_path / "none.jsonl") is since.no_drift
    assert found(lab, "float32", None) is since.no_drift
    assert since.no_drift() == {"prefill": 0.0, "decode": 0.0}
