"""A picture of a fit: measured against predicted, and residuals by phase."""

from pathlib import Path
from typing import Any

import numpy as np

from latmodel.errors import UsageError
from latmodel.report.figures import new_figure, save, ticks
from latmodel.units import show_seconds

from .outcome import Calibrated

BAND = 0.9  # of the errors
OUTLIERS = 6  # rows named at most


def check(path: Path) -> None:
    """Whether a picture could be written there: checked before minutes of measuring.

    Raises:
        UsageError: matplotlib is not installed, the folder is missing, or the format is none of its own.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise UsageError("--plot needs matplotlib: pip install 'latmodel[plot]'") from None
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}; make it or choose another --plot")
    if path.suffix.removeprefix(".").lower() not in FigureCanvasAgg.get_supported_filetypes() or path.is_dir():
        raise UsageError(f"cannot write {path}: choose a file that ends in .png, .svg or .pdf for --plot")


def draw(done: Calibrated, path: Path) -> Any:
    """Write the picture and return its figure; predictions are of fits that had not seen the shape.

    The band holds 90 % of the errors; the rows farthest outside it are named.

    Raises:
        UsageError: the path cannot be written.
    """
    figure = new_figure(11.0, 5.0)
    left, right = figure.subplots(1, 2)
    kept = [i for i, row in enumerate(done.observations) if row.timing != "host"]
    rows = [done.observations[i] for i in kept]
    measured, residuals = np.array([row.seconds for row in rows]), np.array(done.held_out)[kept]
    predicted = measured * np.exp(residuals)
    for phase in ("prefill", "decode"):
        some = np.array([row.phase == phase for row in rows], dtype=bool)
        left.loglog(measured[some], predicted[some], "o", label=phase, alpha=0.7)
        right.semilogx(measured[some], 100.0 * np.expm1(residuals[some]), "o", alpha=0.7)
    ends = np.array([measured.min(), measured.max()])
    band = float(np.quantile(np.abs(residuals), BAND))
    left.plot(ends, ends, "k-", linewidth=0.8)
    left.fill_between(ends, ends * np.exp(-band), ends * np.exp(band), alpha=0.15, label=f"{BAND:.0%} of the errors")
    right.axhspan(100.0 * np.expm1(-band), 100.0 * np.expm1(band), alpha=0.15)
    for i in sorted(range(len(rows)), key=lambda i: -abs(residuals[i]))[:OUTLIERS]:
        if abs(residuals[i]) > band:
            at = (measured[i], 100.0 * np.expm1(residuals[i]))
            right.annotate(rows[i].name, at, textcoords="offset points", xytext=(4, 4), fontsize=7)
    left.set(xlabel="measured", ylabel="predicted without having seen the shape", title=done.profile.title)
    right.axhline(0.0, color="k", linewidth=0.8)
    right.set(xlabel="measured", ylabel="error (%)", title="error on shapes that the fit had not seen")
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        ticks(axis, show_seconds, logarithmic=True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, path)
    return figure
