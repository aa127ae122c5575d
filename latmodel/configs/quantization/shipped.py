"""The record that every method of quantisation is read into, and typed access to its fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError
from ...model.formats import WeightFormat
from .module_names import Names, sorted_names

MAX_GROUP = 1_000_000
NOTHING = sorted_names(())


@dataclass(frozen=True)
class Shipped:
    """Formats of a checkpoint. `format` is that of every linear product of the blocks but those named.

    `named` are products in another format, or in none, and win in their order over `only` (if given, the format is of
    these alone) and `kept` (left in the dtype).
    """

    format: WeightFormat
    kept: Names = NOTHING
    only: Names | None = None
    named: tuple[tuple[Names, WeightFormat | None], ...] = ()
    head: WeightFormat | None = None  # of the LM head
    embedding: WeightFormat | None = None


def whole(data: Mapping[str, Any], name: str, default: int, choices: Sequence[int] = ()) -> int:
    value = data.get(name)
    if value is None:
        return default
    good = isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= MAX_GROUP
    if not good or (choices and value not in choices):
        known = f"; known: {', '.join(map(str, choices))}" if choices else ""
        raise UsageError(f"quantization_config: {name} is {str(value)[:40]!r}{known}")
    return int(value)


def names_in(data: Mapping[str, Any], *fields: str) -> Names:
    """The names that the first of the fields lists."""
    for field in fields:
        value = data.get(field)
        if value is None:
            continue
        if not isinstance(value, list | tuple):
            raise UsageError(f"quantization_config: {field} is a {type(value).__name__}: give a list of modules")
        names = sorted_names(value)
        if names.not_understood:
            raise UsageError(f"quantization_config: {field}: {names.not_understood[0]!r} is no pattern that is read")
        return names
    return NOTHING


def section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"quantization_config: {name} is a {type(value).__name__}: give an object")
    return value


def grouped(name: str, bits: float, group: int, scale: float, zero_bits: float = 0.0) -> WeightFormat:
    """A scale for each output and each `group` of inputs; −1 and 0 stand for all inputs."""
    return WeightFormat(name, bits, float(group) if group > 0 else None, 1.0, scale, zero_bits)
