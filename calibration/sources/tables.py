"""Reading CSV tables of published measurements."""

import csv
from collections.abc import Sequence
from pathlib import Path

from latmodel.errors import UsageError

from ..observations.operators import OperatorObservation

MICRO = 1e-6
SEEN = 0.06  # what the laws are off by: a row is not worth more than that


class FamilyRows:
    """Rows by family, how many were left out and why, and where they come from."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.rows: dict[str, list[OperatorObservation]] = {}
        self.dropped: dict[str, int] = {}

    def add(self, family: str, row: OperatorObservation) -> None:
        """Keep a row."""
        self.rows.setdefault(family, []).append(row)

    def drop(self, reason: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def by_family(self) -> dict[str, tuple[list[OperatorObservation], dict[str, int], str]]:
        """(rows, left out, source) by family; what was left out is told with the first family."""
        first = next(iter(self.rows), "")
        return {
            family: (rows, self.dropped if family == first else {}, self.source) for family, rows in self.rows.items()
        }


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file as text by column.

    Raises:
        UsageError: the file cannot be read, or a column is missing.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the folder of published data") from None
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(f"{path}: column {missing[0]!r} is missing")
    return rows


def rounding_noise(seconds: float, step_s: float) -> float:
    """Noise in log units of a time that was rounded to a multiple of `step_s`, on top of what the laws are off by."""
    return float((SEEN**2 + (step_s / (3.46 * seconds)) ** 2) ** 0.5)  # a uniform error has step / √12
