"""What measuring needs of a device: a clock, cases that can be run, and what may go wrong with them. No torch."""

from typing import NamedTuple, Protocol

from .cases import Case


class OutOfMemory(Exception):  # noqa: N818  # what happened, in the words of torch
    """The case does not fit the device's memory; the message says how much it needs."""


class Hung(Exception):  # noqa: N818
    """A run took longer than any run may."""


class Times(NamedTuple):
    """Seconds of some runs back to back, from three clocks; None where the device has no such clock.

    `wall_s` ends with one synchronisation, `device_s` is what events around the runs saw, `replay_s` the replay of a
    device graph of the same runs, which has no host term.
    """

    wall_s: float
    device_s: float | None = None
    replay_s: float | None = None


class Bench(Protocol):
    """One case, set up and ready to run."""

    def time(self, runs: int) -> Times:
        """Seconds of `runs` runs together."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Lab(Protocol):
    """A device with one runtime, as far as measuring is concerned."""

    def open(self, case: Case, keep: bool = False) -> Bench:
        """Set a case up; one that is kept stays open beside others.

        Raises:
            OutOfMemory: it does not fit.
        """
        ...

    def now(self) -> float:
        """Seconds on a steady clock."""
        ...

    def throttled(self) -> tuple[str, ...]:
        """Why the device runs slower than it can, at this moment; empty if it does not or cannot say."""
        ...
