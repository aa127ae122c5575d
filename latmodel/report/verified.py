"""A verification run as text: measured against predicted, by phase."""

from typing import Any

from ..units import show_seconds
from .column import Column
from .text import OutputFormat, field_column, render


def verified_text(run: Any, output_format: OutputFormat) -> str:
    """A run (`calibration.verify`) as a table of both phases, or as the object of its fields."""
    if output_format != "table":
        fields = run.as_dict()
        return render([fields], output_format, [field_column(key) for key in fields], single=True)
    p = run.prediction
    phases = (
        ("TTFT", run.prefill_s, p.prefill_s, p.prefill_s_low, p.prefill_s_high, run.prefill_spread),
        ("TPOT", run.decode_s_per_token, p.decode_s_per_token, p.decode_s_per_token_low, p.decode_s_per_token_high,
         run.decode_spread),
    )  # fmt: skip
    names = ("phase", "measured", "predicted", "low", "high", "spread")
    return render([dict(zip(names, phase, strict=True)) for phase in phases], output_format, COLUMNS)


def _interval(row: Any) -> str:
    return "unknown" if row["low"] is None else f"{show_seconds(row['low'])} – {show_seconds(row['high'])}"


def _inside(row: Any) -> str:
    return "unknown" if row["low"] is None else "yes" if row["low"] <= row["measured"] <= row["high"] else "no"


COLUMNS = [
    Column("phase", lambda row: str(row["phase"])),
    Column("measured", lambda row: f"{show_seconds(row['measured'])} ±{100 * row['spread']:.1f} %"),
    Column("predicted", lambda row: show_seconds(row["predicted"])),
    Column("interval", _interval, 1),
    Column("error", lambda row: f"{100 * (row['predicted'] / row['measured'] - 1):+.1f} %"),
    Column("inside", _inside, 1),
]
