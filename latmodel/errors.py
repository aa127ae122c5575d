"""One family of errors; each message is one line that says what is wrong, where, and what to do next."""

from collections.abc import Sequence


class LatmodelError(Exception):
    """Anything a user can cause or must be told. `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(LatmodelError, ValueError):
    """A value given by the user cannot be used."""

    exit_code = 2


class BudgetError(LatmodelError):
    """No architecture meets the budget."""

    exit_code = 3


class ToleranceError(LatmodelError):
    """A verification run differs from its prediction by more than the tolerance."""

    exit_code = 4


class NoisyError(LatmodelError):
    """Measurements are too noisy or throttled, or the device is busy."""

    exit_code = 5


class ProfileError(LatmodelError):
    """A profile is missing, invalid, or for another device."""

    exit_code = 6


class UnknownDeviceError(ProfileError):
    """No device of that name is known."""

    def __init__(self, name: str, matches: Sequence[str] = ()) -> None:
        hint = f"did you mean {', '.join(matches)}?" if matches else "see `latmodel profile list`"
        super().__init__(f"unknown GPU {name[:80]!r}: {hint}")
        self.name = name
        self.matches = tuple(matches)
