"""Records with named fields that are read by the thousand: a tuple's idioms over slots.

A field of a NamedTuple is found through a descriptor; one of a class with slots costs a third of that (CPython 3.11),
and a single prediction reads more than a thousand. What is made once and read often is a record.

`dataclass` writes and compiles the methods of each class when it is made: 0.6 ms for twenty fields, against 0.01 ms for
a `FixedRecord`, whose classes share theirs. The laws and scores that `latmodel predict` loads have two hundred: a
twelfth of that command. A record that is made by the thousand is a data class and a `Record`; one that is made once is
a `FixedRecord`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, field
from operator import attrgetter
from typing import Any, NoReturn, Self, dataclass_transform


class Record:
    """What the data classes of the formulas share: a copy with changes, and their fields by name."""

    __slots__ = ()
    __match_args__: tuple[str, ...]  # the names of the fields in order, as `dataclass` leaves them

    def _replace(self, **changes: Any) -> Self:
        """A copy with some fields changed.

        Raises:
            TypeError: there is no such field.
        """
        return type(self)(**{**self._asdict(), **changes})

    def _asdict(self) -> dict[str, Any]:
        """Name → value, in the order of the fields."""
        return {name: getattr(self, name) for name in self.__match_args__}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class _Fixed(type):
    """Makes a class of its annotations: slots, defaults, and the fields' names; `field(init=False)` is a slot alone."""

    field_names: frozenset[str]
    field_defaults: dict[str, Any]
    field_values: Callable[[Any], Any]  # of all fields of a record at once

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> "_Fixed":
        slots = _annotated(namespace)
        defaults = {slot: namespace.pop(slot) for slot in slots if slot in namespace}
        names = tuple(slot for slot in slots if not isinstance(defaults.get(slot), Field))
        made = super().__new__(mcs, name, bases, {**namespace, "__slots__": slots, "__match_args__": names})
        made.field_names = frozenset(names)
        made.field_defaults = {slot: value for slot, value in defaults.items() if slot in names}
        made.field_values = attrgetter(*names) if names else id
        return made


def _annotated(namespace: Mapping[str, Any]) -> tuple[str, ...]:
    if sys.version_info >= (3, 14):  # which works annotations out when they are asked for
        from annotationlib import Format, call_annotate_function, get_annotate_from_class_namespace

        annotate = get_annotate_from_class_namespace(namespace)
        return tuple(call_annotate_function(annotate, Format.FORWARDREF)) if annotate else ()
    return tuple(namespace.get("__annotations__", ()))


class FixedRecord(Record, metaclass=_Fixed):
    """A record that is made once: as a frozen data class with slots, with one copy of each method for all classes.

    Its fields stand in one class, beside no class variables; what it derives from has none.
    """

    def __init__(self, *values: Any, **named: Any) -> None:
        kind = type(self)
        names: tuple[str, ...] = self.__match_args__
        given = {**kind.field_defaults, **dict(zip(names, values, strict=False)), **named}
        twice = values and (len(values) > len(names) or not named.keys().isdisjoint(names[: len(values)]))
        if twice or given.keys() != kind.field_names:
            raise TypeError(f"{kind.__name__} takes {', '.join(names)}: each once, and what has no default always")
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        """What else is to be set or checked."""

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"cannot assign to field {name!r} of a fixed record")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete field {name!r} of a fixed record")

    def __eq__(self, other: object) -> bool:
        kind = type(self)
        return kind.field_values(self) == kind.field_values(other) if type(other) is kind else NotImplemented

    def __hash__(self) -> int:
        return hash(type(self).field_values(self))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._asdict().values())
