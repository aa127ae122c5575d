"""Memory that a model may fill on a device: what the maker promises, less what the driver keeps, less a margin."""

from typing import NamedTuple

# An RTX 3090 of 24 GiB offers 23.7 GiB to a program, as its users report. Other cards are assumed to lose the same
# share to their drivers; a CPU's memory is what its profile measured, and nothing is taken off.
DRIVER_SHARE = 0.0125
# The peak memory of ten models is predicted to 0.94 % in the mean (`benchmarks/accuracy.py`): twice that is kept free.
MARGIN_SHARE = 0.02


class Room(NamedTuple):
    """Bytes by the data sheet, those that a program gets, and those that a model may fill."""

    sheet_bytes: float
    usable_bytes: float
    margin_bytes: float

    @property
    def limit_bytes(self) -> float:
        """What a predicted peak may come to."""
        return self.usable_bytes - self.margin_bytes


def room(sheet_bytes: float, *, driver: bool = True) -> Room:
    """The room on a device of that memory; `driver` is false where none keeps a part."""
    usable = sheet_bytes * (1.0 - DRIVER_SHARE) if driver else sheet_bytes
    return Room(sheet_bytes, usable, usable * MARGIN_SHARE)
