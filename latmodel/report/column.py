"""A column of a table: its heading, the text of a row, and how much it matters."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Column(NamedTuple):
    """A heading and the text of a row under it.

    `rank` 0 is always shown in a table; higher ranks as far as the terminal's width allows, the lowest first. Text of a
    column that `wraps` may be broken between words.
    """

    heading: str
    text: Callable[[Row], str]
    rank: int = 0
    wraps: bool = False


def is_number(text: str) -> bool:
    """Whether a cell starts like a number, a sign or a mark aside."""
    return (
        not text or (text[0].isdigit() and "x" not in text) or (text[0] in "+-–±×*" and any(c.isdigit() for c in text))
    )
