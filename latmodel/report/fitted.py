"""Tables that fit the terminal: columns are chosen by its width, numbers are never broken, words wrap."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextvars import ContextVar

from .aligned import GAP, aligned, column_widths
from .column import Column

FALLBACK_COLUMNS = 100  # where there is no terminal and COLUMNS is not set
LEAST_WORDS = 24  # characters that a column of words gets at least
WIDE = ContextVar("WIDE", default=False)  # every column, whatever the terminal (`--wide`)


def terminal_width() -> int:
    """Columns of the terminal, or of COLUMNS where that is set."""
    return shutil.get_terminal_size((FALLBACK_COLUMNS, 24)).columns


def fitted_table(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], *, title: str = "", styles: Sequence[str] = ()
) -> str:
    """An aligned table of the columns that fit, under its title."""
    widths = column_widths(columns, cells)
    chosen = _chosen(columns, widths)
    width = sum(widths[i] + GAP for i in chosen) if WIDE.get() else terminal_width()
    body = _drawn([columns[i] for i in chosen], [[row[i] for i in chosen] for row in cells], width, styles)
    return f"{paragraph(title)}\n{body}" if title else body


def whole_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    """An aligned table of all columns, whatever the terminal."""
    return _drawn(columns, cells, sum(width + GAP for width in column_widths(columns, cells)))


def _drawn(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, styles: Sequence[str] = ()) -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return aligned(
        columns, cells, width, styles=styles if coloured() else None,
        ascii_lines=not encoding.lower().startswith("utf"),
    )  # fmt: skip


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
