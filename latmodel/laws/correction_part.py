"""How a profile keeps a learned correction: plain numbers, checked."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .correction import FEATURES, Correction, Table

MAX_VALUES = 5000  # of one table
MAX_LOG = 2.0  # a correction beyond e² is no correction but a mistake

Family = Literal["gemm", "prefill", "decode"]
Log2 = Annotated[float, Field(ge=-1, le=40, allow_inf_nan=False)]
LogFactor = Annotated[float, Field(ge=-MAX_LOG, le=MAX_LOG, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TablePart(_Part):
    """Values of log(measured / law) at knots on log2 of the features, in C order."""

    features: Annotated[list[str], Field(min_length=1, max_length=4)]
    knots: list[Annotated[list[Log2], Field(min_length=2, max_length=40)]]
    values: Annotated[list[LogFactor], Field(max_length=MAX_VALUES)]

    @model_validator(mode="after")
    def _shaped(self) -> "TablePart":
        if len(self.knots) != len(self.features) or len(set(self.features)) != len(self.features):
            raise ValueError("a table needs one list of knots for each feature")
        if any(b <= a for knots in self.knots for a, b in pairwise(knots)):
            raise ValueError("knots must rise")
        if len(self.values) != math.prod(len(knots) for knots in self.knots):
            raise ValueError("a table needs one value for each combination of knots")
        return self


class CorrectionPart(_Part):
    """The tables of one family; their sum fades to 0 over an octave outside `lowest` to `highest` (log2)."""

    tables: Annotated[list[TablePart], Field(min_length=1, max_length=10)]
    lowest: dict[str, Log2]
    highest: dict[str, Log2]


def check_family(family: str, part: CorrectionPart) -> None:
    """Raise ValueError unless the features are those of the family and each has a range."""
    used = {name for table in part.tables for name in table.features}
    unknown = sorted((used | part.lowest.keys() | part.highest.keys()) - set(FEATURES[family]))
    if unknown:
        raise ValueError(f"corrections.{family}: no feature {unknown[0]!r}; known: {', '.join(FEATURES[family])}")
    if part.lowest.keys() != part.highest.keys() or not used <= part.lowest.keys():
        raise ValueError(f"corrections.{family}: every feature needs a lowest and a highest")
    if any(part.highest[name] < low for name, low in part.lowest.items()):
        raise ValueError(f"corrections.{family}: a highest is below its lowest")
    if family == "gemm" and [tuple(table.features) for table in part.tables] != [("m", "n", "k")]:
        raise ValueError("corrections.gemm must be one table of m, n, k")


def corrections_of(parts: Mapping[str, CorrectionPart], families: Sequence[str]) -> dict[str, Correction]:
    """The tables of a profile's parts (`tables`, `lowest`, `highest`) as arrays, for the families asked for."""
    found = {}
    for family in families:
        if family in parts:
            part = parts[family]
            tables = tuple(
                Table(
                    tuple(table.features), tuple(np.array(knots) for knots in table.knots),
                    np.array(table.values).reshape([len(knots) for knots in table.knots]),
                )
                for table in part.tables
            )  # fmt: skip
            found[family] = Correction(tables, dict(part.lowest), dict(part.highest))
    return found
