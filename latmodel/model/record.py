"""Records with named fields that are read by the thousand: a tuple's idioms over slots.

A field of a NamedTuple is found through a descriptor; one of a class with slots costs a third of that (CPython 3.11),
and a single prediction reads more than a thousand. What is made once and read often is a record.
"""

from typing import Any, Self


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
