"""Standard output that lacks a sign (cp1252, latin-1, ASCII), is full, or whose reader has gone."""

import codecs
import os
import sys

# What stands for a sign that an encoding lacks; any other becomes a question mark. Where the encoding is ASCII, click
# takes the locale for a wrong one and writes UTF-8.
PLAIN = {"–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "·": "*",
         "≈": "~", "µ": "u", "²": "^2", "³": "^3", "°": " deg", "█": "#", "▏": "|"}  # fmt: skip


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def write_what_the_terminal_can() -> None:
    """Standard output and errors take signs that their encoding lacks, as their nearest in ASCII."""
    codecs.register_error("latmodel-plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="latmodel-plain")


def drop_output() -> None:
    """What standard output still holds goes nowhere: it could not be written, and at exit it would be tried again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
