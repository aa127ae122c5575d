"""New pictures and writing them: the one place that needs matplotlib, which is loaded when one is drawn."""

import os
from typing import Any

from ..errors import UsageError


def new_figure(width: float = 8.0, height: float = 5.0) -> Any:
    """An empty matplotlib figure of so many inches.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib; run `pip install 'latmodel[plot]'`") from None
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: "str | os.PathLike[str]") -> None:
    """Write a figure; the suffix says how: .png, .svg, .pdf.

    Raises:
        UsageError: the path cannot be written, or the suffix is none that matplotlib knows.
    """
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"cannot write {os.fspath(path)}: {reason}; choose another --plot") from None
