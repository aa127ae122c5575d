"""Results → table, CSV, JSON or Markdown text. The caller prints; only here are units converted and numbers rounded."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ..units import show_bytes, show_count, show_seconds

OutputFormat = Literal["table", "json", "jsonl", "csv", "md"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = ("table", "json", "jsonl", "csv", "md")
Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]  # heading, and the text of a row


def render(
    rows: Sequence[Row],
    output_format: OutputFormat,
    columns: Sequence[Column],
    *,
    title: str = "",
    single: bool = False,
) -> str:
    """Rows as text. JSON and CSV carry every field, unrounded, in SI; `single` gives one JSON object, not a list."""
    if output_format == "json":
        return json.dumps(rows[0] if single and len(rows) == 1 else list(rows), indent=1, default=str)
    if output_format == "jsonl":
        return "\n".join(json.dumps(row, default=str) for row in rows)
    if output_format == "csv":
        return _csv(rows)
    cells = [[text(row) for _, text in columns] for row in rows]
    headings = [heading for heading, _ in columns]
    return _markdown(headings, cells) if output_format == "md" else table(headings, cells, title=title)


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def _markdown(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def table(headings: Sequence[str], cells: Sequence[Sequence[str]], *, title: str = "") -> str:
    """A plain aligned table: text to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in [headings, *cells]) for i in range(len(headings))]
    numeric = [all(_is_number(line[i]) for line in cells) for i in range(len(headings))]

    def line_of(line: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("─" * width for width in widths)
    body = [line_of(headings), rule, *map(line_of, cells)]
    return "\n".join([title, *body] if title else body)


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or (text[0] in "+-–±×*" and any(c.isdigit() for c in text))


def seconds_with_interval(row: Row, name: str) -> str:
    """A time and its interval, in one unit: 3.65 s (3.52–3.79)."""
    value, low, high = float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])
    shown = show_seconds(value)
    if low == high:
        return shown
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6}[shown.split()[1]]
    digits = 2 if value * scale < 10 else 1 if value * scale < 100 else 0
    return f"{shown} ({low * scale:.{digits}f}–{high * scale:.{digits}f})"


SHAPE_COLUMNS: list[Column] = [
    ("layers", lambda row: str(row["num_hidden_layers"])),
    ("hidden", lambda row: str(row["hidden_size"])),
    ("ffn", lambda row: str(row["intermediate_size"])),
    ("heads", lambda row: f"{row['num_attention_heads']}/{row['num_key_value_heads']}×{row['head_dim']}"),
]


def prediction_columns(level: float) -> list[Column]:
    """What is shown of a prediction whose interval is of this level."""
    return [
        ("params", lambda row: show_count(row["num_parameters"])),
        ("prefill", lambda row: show_seconds(row["prefill_s"])),
        ("decode/token", lambda row: show_seconds(row["decode_s_per_token"])),
        (f"response ({100 * level:.3g} %)", lambda row: seconds_with_interval(row, "response_s")),
        ("memory", lambda row: show_bytes(row["peak_memory_bytes"]) + ("" if row["fits_memory"] else " !")),
        ("bound", lambda row: row["bound"] + (" ~" if row["extrapolated"] else "")),
    ]
