"""Results → table, CSV, JSON or Markdown text. The caller prints; only here are units converted and numbers rounded."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..units import show_bytes, show_count, show_rate, show_seconds
from .column import Column, Row
from .fitted import fitted_table, whole_table

OutputFormat = Literal["table", "json", "jsonl", "csv", "md"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = ("table", "json", "jsonl", "csv", "md")


def render(
    rows: Sequence[Row],
    output_format: OutputFormat,
    columns: Sequence[Column | tuple[str, Callable[[Row], str]]],
    *,
    title: str = "",
    single: bool = False,
    styles: Sequence[str] = (),
) -> str:
    """Rows as text. JSON and CSV carry every field, unrounded, in SI; `single` gives one JSON object, not a list.

    A table fits the terminal; `styles` colours its rows, where colour is wanted.
    """
    if output_format == "json":
        return json.dumps(rows[0] if single and len(rows) == 1 else list(rows), indent=1, default=str)
    if output_format == "jsonl":
        return "\n".join(json.dumps(row, default=str) for row in rows)
    if output_format == "csv":
        return _csv(rows)
    known = [Column(*column) for column in columns]
    cells = [[column.text(row) for column in known] for row in rows]
    if output_format == "md":
        return _markdown([column.heading for column in known], cells)
    return fitted_table(known, cells, title=title, styles=styles)


def _csv(rows: Sequence[Row]) -> str:
    """Every field of every row; a list's entries are joined by "; ", what is None is empty."""
    out = io.StringIO()
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def _csv_cell(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _markdown(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def table(headings: Sequence[str], cells: Sequence[Sequence[str]], *, title: str = "") -> str:
    """An aligned table of text cells, as wide as they are: text to the left, numbers to the right."""
    columns = [Column(heading, str) for heading in headings]
    body = whole_table(columns, cells)
    return f"{title}\n{body}" if title else body


def seconds_with_interval(row: Row, name: str) -> str:
    """A time and its interval, in one unit: 3.65 s (3.52–3.79); "(unknown)" where no interval can be had."""
    value = float(row[name])
    shown = show_seconds(value)
    if row[f"{name}_low"] is None or row[f"{name}_high"] is None:
        return f"{shown} (unknown)"
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    if low == high:
        return shown
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6}[shown.split()[1]]
    digits = 2 if value * scale < 10 else 1 if value * scale < 100 else 0
    return f"{shown} ({low * scale:.{digits}f}–{high * scale:.{digits}f})"


SHAPE_COLUMN = Column("shape", lambda row: f"{row['num_hidden_layers']} × {row['hidden_size']}")
# Of a shape: layers × hidden, and the rest where there is room.
SHAPE_COLUMNS: list[Column] = [
    SHAPE_COLUMN,
    Column("FFN", lambda row: str(row["intermediate_size"]), 3),
    Column("heads", lambda row: f"{row['num_attention_heads']}/{row['num_key_value_heads']}×{row['head_dim']}", 4),
]


def prediction_columns(level: float) -> list[Column]:
    """What is shown of a prediction whose interval is of this level."""
    return [
        Column("params", lambda row: show_count(row["num_parameters"]), 1),
        Column("TTFT", lambda row: show_seconds(row["prefill_s"]), 2),
        Column("TPOT", lambda row: show_seconds(row["decode_s_per_token"]), 2),
        Column("tokens/s", lambda row: show_rate(row.get("batch_size", 1) / row["decode_s_per_token"]), 5),
        Column(f"response ({100 * level:.3g} %)", lambda row: seconds_with_interval(row, "response_s")),
        Column("memory", lambda row: show_bytes(row["peak_memory_bytes"]) + ("" if row["fits_memory"] else " !"), 1),
        Column("bound", lambda row: row["bound"] + (" ~" if row["extrapolated"] else ""), 2),
    ]


def field_column(name: str) -> Column:
    """A column that shows one field as it is."""
    return Column(name, lambda row: str(row[name]), 1)


def _on_measured_host(row: Row) -> str:
    """The interval for the host that was measured, where the one shown spans others."""
    low, high = row.get("response_s_low_published"), row.get("response_s_high_published")
    return "" if low is None or high is None else f"{show_seconds(low)} – {show_seconds(high)}"


MEASURED_HOST_COLUMN = Column("measured host", _on_measured_host, 5)


def legend(rows: Sequence[Row], shown: str) -> list[str]:
    """One line for each mark that the columns above use in these rows, whose table is `shown`.

    A score that did not fit the terminal has no mark to explain; that a prediction is extrapolated is always said.
    """
    lines = ["Shape is layers × hidden; TTFT is the prefill, TPOT a decode step."]
    if "~" in shown or any(row["extrapolated"] for row in rows):
        lines.append("~ lies outside what the profile was fitted on; its interval is widened.")
    if not all(row["fits_memory"] for row in rows):
        lines.append("! does not fit the memory.")
    if "?" in shown and any(row.get("effective_parameters_cautions") for row in rows):
        lines.append("? lies outside what the score of quality was fitted on.")
    return lines
