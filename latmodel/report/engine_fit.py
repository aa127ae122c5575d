"""The fit of an engine's own runs as text: coefficients of one weight format, and errors on widths left out."""

from typing import Any

from ..laws.priors import GGML_PRIORS
from .column import Column
from .text import OutputFormat, field_column, render

COLUMNS = [
    Column("coefficient", lambda row: str(row["coefficient"])),
    Column("value", lambda row: f"{row['value']:.4g}"),
    Column("meaning", lambda row: str(row["meaning"]), 1),
]


def engine_text(fitted: Any, output_format: OutputFormat) -> str:
    """Coefficients of a fit (`calibration.published.llama_cpp.own`), and its held-out errors as rows of their own."""
    rows = [
        {"coefficient": name, "value": item.value, "meaning": GGML_PRIORS[name].meaning}
        for name, item in fitted.table.items()
    ]
    rows.append({"coefficient": "pass_s", "value": fitted.pass_s, "meaning": "time of a pass beyond its products"})
    for phase in (phase for phase, errors in fitted.held_out.items() if errors):
        meaning = "mean absolute error in percent on widths left out"
        rows.append({"coefficient": f"{phase} error", "value": fitted.mape_percent(phase), "meaning": meaning})
    return render(rows, output_format, COLUMNS if output_format == "table" else [field_column(key) for key in rows[0]])
