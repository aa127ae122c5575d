"""The fit report: each coefficient with its error, its prior, how it was come by; rates against the data sheet."""

import math
from typing import Any

from latmodel.device.profile import Profile
from latmodel.report.column import Column
from latmodel.report.fitted import paragraph
from latmodel.report.text import OutputFormat, render

from .fit import Fitted


def report_rows(fitted: Fitted) -> list[dict[str, Any]]:
    """One row for each coefficient that the fit could move."""
    return [
        {
            "coefficient": name,
            "value": one.value,
            "stderr_log": one.stderr_log,
            "prior": fitted.priors[name].value,
            "ratio": one.value / fitted.priors[name].value,
            "status": one.status,
            "meaning": fitted.priors[name].meaning,
        }
        for name, one in fitted.coefficients.items()
    ]


COLUMNS: list[Column] = [
    Column("coefficient", lambda row: str(row["coefficient"])),
    Column("value", lambda row: f"{row['value']:.3g}"),
    Column("error", lambda row: f"±{100 * math.expm1(min(row['stderr_log'], 5.0)):.0f} %", 2),
    Column("prior", lambda row: f"{row['prior']:.3g}", 3),
    Column("ratio", lambda row: f"{row['ratio']:.2f}", 3),
    Column("status", lambda row: str(row["status"]), 1),
    Column("meaning", lambda row: str(row["meaning"]), 2, wraps=True),
]


def fit_report(fitted: Fitted, profile: Profile, dtype: str, output: OutputFormat) -> str:
    """The report as text; as a table it is followed by rates against the data sheet, errors and notes."""
    text = render(report_rows(fitted), output, COLUMNS)
    if output not in ("table", "md"):
        return text
    lines = [
        *_rates(fitted, profile, dtype),
        *_errors(profile),
        *profile.provenance.notes,
        *_warnings(fitted),
        *_solution(fitted),
    ]
    return "\n".join([text, "", *map(paragraph, lines)])


def _rates(fitted: Fitted, profile: Profile, dtype: str) -> list[str]:
    """Achieved rates: the efficiencies times the data sheet's figures."""
    sheet, coefficients, lines = profile.device.sheet, fitted.coefficients, []
    peak = dict(sheet.peak_flops_per_s).get(dtype)  # type: ignore[call-overload]
    for suffix, figure, unit, scale in (
        ("compute_efficiency", peak, "TFLOP/s", 1e12),
        ("bandwidth_efficiency", sheet.bandwidth_bytes_per_s, "GB/s", 1e9),
        ("weight_bandwidth", sheet.bandwidth_bytes_per_s, "GB/s", 1e9),
    ):
        for family in ("gemm", "cpu"):
            rate = coefficients.get(f"device.{family}.{suffix}")
            if rate is not None and figure is not None:
                lines.append(
                    f"{family} {suffix}: {rate.value * figure / scale:.3g} of {figure / scale:.3g} {unit} "
                    f"({100 * rate.value:.0f} %); source: {sheet.source}"
                )
    return lines


def _errors(profile: Profile) -> list[str]:
    return [
        f"{row.split}, {row.phase}: {row.mape_percent:.1f} % mean absolute error on {row.rows} times"
        for row in profile.quality.errors
    ]


def _warnings(fitted: Fitted) -> list[str]:
    """Coefficients that the measurements say nothing about, and those that ran into a bound."""
    lines = []
    for status, text in (("undetermined", "undetermined (their priors stand)"), ("boundary", "at a boundary")):
        names = [name for name, one in fitted.coefficients.items() if one.status == status]
        if names:
            lines.append(f"{text}: {', '.join(name.removeprefix('device.') for name in names)}")
    return lines


def _solution(fitted: Fitted) -> list[str]:
    """How the solver ended, what the law itself is off by, and which coefficients the rows do not tell apart."""
    stop = fitted.stop
    lines = [f"cost {stop.cost:.1f}, optimality {stop.optimality:.2g}: {stop.message}"]
    if fitted.law_error > 0.0:
        lines.append(f"formulas are off by {100.0 * fitted.law_error:.1f} % beyond the noise of the rows")
    for first, second, r in fitted.correlated:
        pair = f"{first.removeprefix('device.')} and {second.removeprefix('device.')}"
        lines.append(f"{pair} are not told apart: correlation of their errors {r:+.2f}")
    return lines
