"""A fitted number as a profile holds it, and the check of a table of them against the known ones."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..laws.priors import OPTIONAL, Prior

NonNegative = Annotated[float, Field(ge=0, le=1e24, allow_inf_nan=False)]
AroundOne = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(ge=1, le=1e3)]]  # two factors


class Coefficient(BaseModel):
    """A fitted number: value, standard error in log units (0: fixed), and how it was come by."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    value: NonNegative
    stderr_log: NonNegative = 0.0
    status: Literal["fitted", "prior", "fixed", "boundary", "undetermined"] = "fixed"


def check_names(
    table: dict[str, Coefficient], priors: dict[str, Prior], where: str, optional: dict[str, Prior] | None = None
) -> None:
    """Refuse a table that lacks a name, or has one that is unknown or out of range.

    Raises:
        ValueError: it names the coefficient.
    """
    missing, known = sorted(priors.keys() - table.keys() - OPTIONAL), priors | (optional or {})
    if missing and table.keys() <= known.keys():
        raise ValueError(f"{where}.{missing[0]} is missing; calibrate again if another release made it")
    check_values(table, known, where)


def check_values(table: dict[str, Coefficient], priors: dict[str, Prior], where: str) -> None:
    """The same of a table that may lack names."""
    for name, item in table.items():
        if name not in priors:
            raise ValueError(f"{where}.{name} is not a known coefficient; calibrate again if another release made it")
        if not priors[name].low <= item.value <= priors[name].high and item.value != 0.0:
            raise ValueError(f"{where}.{name} = {item.value:g} is outside {priors[name].low:g}..{priors[name].high:g}")
