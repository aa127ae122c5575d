"""Text in aligned columns: numbers to the right, words to the left and wrapped where there is no room.

Drawn here, since a library that draws tables takes longer to load than all else that an answer's text needs;
tests/test_aligned.py holds the two against each other, sign for sign.
"""

import re
from collections.abc import Sequence
from functools import cache

from .column import Column, is_number

GAP = 2  # between columns: one goes with the cell before, the other is the line between
WORD = re.compile(r"\s*\S+\s*")
# What stands between two columns, under a heading, and where these cross.
LINES, ASCII_LINES = (" ", "─", " "), ("|", "-", "+")
COLOURS = {"": "", "bold": "\x1b[1m", "bold green": "\x1b[1;32m", "red": "\x1b[31m"}  # ECMA-48, 8.3.117
NO_COLOUR = "\x1b[0m"


def aligned(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    width: int,
    *,
    styles: Sequence[str] | None = None,
    ascii_lines: bool = False,
) -> str:
    """Headings, a line, and a row for each of `cells`, at most `width` wide if columns that wrap leave room for that.

    `styles` are the names of colours, one a row, or empty where none has any; None is a table without colours.
    """
    between, under, cross = ASCII_LINES if ascii_lines else LINES
    widths = _fitted(columns, column_widths(columns, cells), width)
    right = [all(is_number(row[i]) for row in cells) for i in range(len(columns))]
    last = len(columns) - 1
    rows = [[column.heading for column in columns], *cells]
    colours = ["" if styles is None else "bold", *(styles or [""] * len(cells))]
    lines = list[str]()
    for row, colour in zip(rows, colours, strict=True):
        texts = [_lines(text, width, column.wraps) for text, width, column in zip(row, widths, columns, strict=True)]
        height = max(map(len, texts))
        drawn = [
            _column(text, height, widths[i], right[i], GAP - 1 if i < last else 0, colour)
            for i, text in enumerate(texts)
        ]
        lines += [between.join(parts) for parts in zip(*drawn, strict=True)]
        if row is rows[0]:
            lines.append(cross.join(under * (width + (GAP - 1 if i < last else 0)) for i, width in enumerate(widths)))
    return "\n".join(line.rstrip() for line in lines)


def column_widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column's longest line."""
    return [
        max(cell_width(line) for text in (column.heading, *(row[i] for row in cells)) for line in text.split("\n"))
        for i, column in enumerate(columns)
    ]


def cell_width(text: str) -> int:
    """Columns of a terminal that the text takes: wide signs of East Asia take two, those that join to others none."""
    return len(text) if text.isascii() else sum(map(_sign_width, text))


@cache
def _sign_width(sign: str) -> int:
    from unicodedata import combining, east_asian_width

    return 0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1


def _fitted(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """What the table lacks, columns that wrap give, the widest first; no column is wider than the table."""
    flexible = [i for i, column in enumerate(columns) if column.wraps]
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - width if flexible else 0):
        widest = max(flexible, key=lambda i: widths[i])
        widths[widest] = max(widths[widest] - 1, 1)
    return [min(one, width) for one in widths]


def _column(texts: Sequence[str], height: int, width: int, right: bool, pad: int, colour: str) -> list[str]:
    """A cell's lines, padded to the height of its row."""
    on, off = (COLOURS[colour], NO_COLOUR) if colour else ("", "")
    drawn = []
    for text in texts:
        shown = text.rstrip() if right else text
        blank = " " * (width - cell_width(shown))
        pieces = (blank + shown if right else shown + blank, " " * pad)
        drawn.append("".join(f"{on}{piece}{off}" for piece in pieces if piece))
    empty = " " * (width + pad)
    return drawn + [f"{on}{empty}{off}" if empty else ""] * (height - len(texts))


def _lines(text: str, width: int, wraps: bool) -> list[str]:
    """A cell's lines, none wider than its column."""
    if not wraps:
        return [_cut(line, width) for line in text.split("\n")]
    return [_cut(part, width) for line in text.split("\n") for part in _wrapped(line, width)]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; a word that is wider than a line starts one of its own and is broken."""
    lines = [""]
    for word in WORD.findall(text):
        long = cell_width(word.rstrip()) > width
        if not long and cell_width(lines[-1]) + cell_width(word.rstrip()) <= width:
            lines[-1] += word
            continue
        lines.append("")
        rest = word
        while long and cell_width(rest) > width:
            lines[-1] = _cut(rest, width) or rest[0]  # a wide sign in a narrow column
            rest = rest[len(lines[-1]) :]
            lines.append("")
        lines[-1] = rest
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _cut(text: str, width: int) -> str:
    """As much of the text as the width holds."""
    end = len(text)
    while cell_width(text[:end]) > width:
        end -= 1
    return text[:end]
