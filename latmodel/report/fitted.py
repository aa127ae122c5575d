"""Tables that fit the terminal: columns are chosen by its width, numbers are never broken, words wrap."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextvars import ContextVar

from .column import Column, is_number

FALLBACK_COLUMNS = 100  # where there is no terminal and COLUMNS is not set
GAP = 2  # between columns, of which the box takes one
LEAST_WORDS = 24  # characters that a column of words gets at least
WIDE = ContextVar("WIDE", default=False)  # every column, whatever the terminal (`--wide`)


def terminal_width() -> int:
    """Columns of the terminal, or of COLUMNS where that is set."""
    return shutil.get_terminal_size((FALLBACK_COLUMNS, 24)).columns


def fitted_table(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], *, title: str = "", styles: Sequence[str] = ()
) -> str:
    """An aligned table of the columns that fit, under its title."""
    widths = _widths(columns, cells)
    chosen = _chosen(columns, widths)
    width = sum(widths[i] + GAP for i in chosen) if WIDE.get() else terminal_width()
    body = _drawn([columns[i] for i in chosen], [[row[i] for i in chosen] for row in cells], width, styles)
    return f"{paragraph(title)}\n{body}" if title else body


def whole_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    """An aligned table of all columns, whatever the terminal."""
    return _drawn(columns, cells, sum(width + GAP for width in _widths(columns, cells)))


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max([len(column.heading), *(len(row[i]) for row in cells)]) for i, column in enumerate(columns)]


def _drawn(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, styles: Sequence[str] = ()) -> str:
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    line = "  ──" if _encodes("─") else "  --"
    box = Box(f"    \n    \n {line[2]}  \n    \n    \n    \n    \n    \n")
    shown = Table(box=box, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for i, (column, least) in enumerate(zip(columns, _widths(columns, cells), strict=True)):
        numeric = all(is_number(row[i]) for row in cells)
        shown.add_column(
            column.heading, justify="right" if numeric else "left", no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "crop", min_width=None if column.wraps else least,
        )  # fmt: skip
    for number, row in enumerate(cells):
        shown.add_row(*map(Text, row), style=styles[number] if styles else None)
    console = Console(width=width, force_terminal=coloured(), no_color=not coloured(), highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(row.rstrip() for row in capture.get().splitlines())


def paragraph(text: str) -> str:
    """Text wrapped to the terminal between words; lines that fit stay as they are."""
    if WIDE.get():
        return text
    lines = [textwrap.wrap(line, terminal_width(), break_on_hyphens=False) or [""] for line in text.splitlines()]
    return "\n".join(part for line in lines for part in line)


def coloured() -> bool:
    """Whether stdout shows colours: a terminal that is not dumb, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _chosen(columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
    """Columns that fit, in their order: those of low rank are taken first; at least one."""
    least = [min(width, LEAST_WORDS) if column.wraps else width for column, width in zip(columns, widths, strict=True)]
    if WIDE.get():
        return list(range(len(columns)))
    left, taken = terminal_width() + GAP, list[int]()
    for i in sorted(range(len(columns)), key=lambda i: (columns[i].rank, i)):
        if least[i] + GAP <= left or not taken:
            taken.append(i)
            left -= least[i] + GAP
    return sorted(taken)


def _encodes(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
