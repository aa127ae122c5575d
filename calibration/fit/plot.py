"""A picture of a fit: measured against predicted, and residuals by phase."""

from pathlib import Path

import numpy as np

from latmodel.errors import UsageError
from latmodel.report.figures import new_figure, save

from .outcome import Calibrated


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


def draw(done: Calibrated, path: Path) -> None:
    """Write the picture; predictions are of fits that had not seen the shape.

    Raises:
        UsageError: the path cannot be written.
    """
    figure = new_figure(10.0, 4.5)
    left, right = figure.subplots(1, 2)
    measured = np.array([row.seconds for row in done.observations])
    residuals = np.array(done.held_out)
    predicted = measured * np.exp(residuals)
    for phase in ("prefill", "decode"):
        some = np.array([row.phase == phase and row.timing != "host" for row in done.observations])
        left.loglog(measured[some], predicted[some], "o", label=phase, alpha=0.7)
        right.semilogx(measured[some], 100.0 * np.expm1(residuals[some]), "o", label=phase, alpha=0.7)
    ends = [measured.min(), measured.max()]
    left.plot(ends, ends, "k-", linewidth=0.8)
    left.set(xlabel="measured (s)", ylabel="predicted without having seen the shape (s)", title=done.profile.title)
    right.axhline(0.0, color="k", linewidth=0.8)
    right.set(xlabel="measured (s)", ylabel="error (%)", title="cross-validated error")
    left.legend()
    save(figure, path)
