"""Calibrating many boards of one device at once, each by a task that has it to itself, and telling which is odd."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latmodel.device.merge import merge, odd_boards
from latmodel.device.profile import Profile
from latmodel.search.executors import Executor, pool

from .calibrate import calibrate as measure
from .prepare import prepare
from .request import Request


@dataclass
class Fleet:
    """Profiles of the boards that could be calibrated, in the order asked for, and why the others could not."""

    profiles: list[Profile] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def compared(self) -> list[dict[str, Any]]:
        """Each board's coefficient farthest from the others, the oddest board first; nothing of fewer than two."""
        return odd_boards(self.profiles) if len(self.profiles) > 1 else []

    def odd(self) -> list[str]:
        """Names of the boards that are unlike the others."""
        return [str(row["board"]) for row in self.compared() if row["odd"]]

    def merged(self, name: str) -> Profile:
        """One profile of the boards that are like each other.

        Raises:
            ProfileError: fewer than two are left.
        """
        odd = set(self.odd())
        return merge([profile for profile in self.profiles if profile.name not in odd], name)


def calibrate_board(request: Request) -> Profile:
    """Calibrate the one board that this task sees; the profile is written where the request says, and returned."""
    return measure(prepare(request), say=lambda _: None).profile


def calibrate_fleet(
    boards: Mapping[str, Any],
    executor: "str | Executor" = "process",
    workers: int | None = None,
    calibrate: Callable[[Any], Profile] = calibrate_board,
    gpus: int = 1,
) -> Fleet:
    """Calibrate every board by a task of its own.

    Args:
        boards: what each is called, and what `calibrate` is told: a `Request` that names its device and its file.
        executor: "slurm" or "ray", which give each task a GPU; "process" on one host, where each request names another
            device; or anything with `submit`.
        workers: tasks at once; all if None.
        calibrate: measures and fits one board; runs elsewhere, so it must be importable there.
        gpus: GPUs that SLURM or Ray give a task.

    A board that fails is named with the reason and does not stop the others; calibrated again, it goes on from the
    samples that it has.

    Raises:
        UsageError: no such executor, or what it needs is not installed.
    """
    fleet = Fleet()
    started = pool(executor, workers or max(len(boards), 1), gpus)
    try:
        running = [(name, started.executor.submit(calibrate, told)) for name, told in boards.items()]
        for name, future in running:
            try:
                fleet.profiles.append(future.result())
            except Exception as error:  # of any kind: it was raised on another machine
                fleet.failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        started.stop()
    return fleet


def lines(fleet: Fleet) -> Sequence[str]:
    """For people: boards that failed, and boards that are odd."""
    failed = [f"{name} failed: {reason}" for name, reason in fleet.failed.items()]
    told = [
        f"{row['board']} is odd: {row['coefficient']} is {row['ratio']:.2f} times that of the others "
        f"({row['sigmas']:+.1f} standard errors)"
        for row in fleet.compared()
        if row["odd"]
    ]
    return [*failed, *(told or ["no board is odd"])]
