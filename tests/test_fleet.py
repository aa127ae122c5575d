"""A fleet of simulated boards through the executors: the planted slow board is named, a broken one stops nothing."""

import importlib.util
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from calibration.verbs.fleet import Fleet, calibrate_fleet, lines
from calibration.verbs.simulated_board import SimulatedBoard, calibrate_simulated
from latmodel.device.profile import Profile
from latmodel.errors import NoisyError, UsageError

SLOW = {"device.gemm.compute_efficiency": 0.75}


def boards(**changes: SimulatedBoard) -> dict[str, SimulatedBoard]:
    """Four boards, the third slow."""
    every = {f"b{i}": SimulatedBoard(f"b{i}", seed=i, factors=SLOW if i == 2 else {}) for i in range(4)}
    return {**every, **changes}


def is_named(fleet: Fleet) -> None:
    assert [profile.name for profile in fleet.profiles] == ["b0", "b1", "b2", "b3"]
    assert fleet.odd() == ["b2"]
    first = fleet.compared()[0]
    assert first["coefficient"] == "device.bfloat16.gemm.compute_efficiency"
    assert first["ratio"] == pytest.approx(0.75, rel=0.03)
    assert lines(fleet)[0].startswith("b2 is odd: device.bfloat16.gemm.compute_efficiency is 0.7")


class Here:
    """An executor that runs what it is given at once; a board that it has calibrated is not calibrated again."""

    def __init__(self) -> None:
        self.done: dict[str, Profile] = {}

    def submit(self, function: Callable[..., Profile], /, board: SimulatedBoard) -> Future[Profile]:
        future: Future[Profile] = Future()
        try:
            if board.broken or board.name not in self.done:
                self.done[board.name] = function(board)
            future.set_result(self.done[board.name])
        except NoisyError as error:
            future.set_exception(error)
        return future


def test_one_after_another_and_merged_without_the_odd_one() -> None:
    here = Here()
    fleet = calibrate_fleet(boards(), here, calibrate=calibrate_simulated)
    is_named(fleet)
    merged = fleet.merged("fleet").device.coefficients["bfloat16"]["gemm.compute_efficiency"]
    alike = [
        p.device.coefficients["bfloat16"]["gemm.compute_efficiency"].value for p in fleet.profiles if p.name != "b2"
    ]
    assert min(alike) <= merged.value <= max(alike)
    broken = calibrate_fleet(boards(b1=SimulatedBoard("b1", 1, broken=True)), here, calibrate=calibrate_simulated)
    assert [profile.name for profile in broken.profiles] == ["b0", "b2", "b3"]
    assert lines(broken)[0] == "b1 failed: NoisyError: b1: noise above --max-noise"
    assert broken.odd() == ["b2"]


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_through_executors(executor: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM by submitit's own local stand-in, Ray on this machine; both without GPUs. The example runs a process pool."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    is_named(calibrate_fleet(boards(), executor, workers=2, calibrate=calibrate_simulated, gpus=0))


def test_an_unknown_executor_is_named() -> None:
    with pytest.raises(UsageError, match="unknown executor"):
        calibrate_fleet(boards(), "nomad")
