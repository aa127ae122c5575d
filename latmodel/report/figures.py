"""New pictures and writing them: the one place that needs matplotlib, which is loaded when one is drawn."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..strict_json import write_whole


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


def ticks(axis: Any, show: Callable[[float], str], *, logarithmic: bool, binary: bool = False) -> None:
    """Plain numbers with their units on an axis; where it is logarithmic at 1, 2 and 5 of each decade, or at powers of
    two (`binary`, for bytes)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if logarithmic:
        axis.set_major_locator(LogLocator(base=2.0) if binary else LogLocator(base=10.0, subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _position: _shortest(show(float(value)))))


def _shortest(text: str) -> str:
    """2.00 GiB as 2 GiB: a tick is exact."""
    return re.sub(r"\.0+(?=\D|$)|(?<=\.[1-9])0+(?=\D|$)", "", text)


def save(figure: Any, path: "str | os.PathLike[str]") -> None:
    """Write a figure; the suffix says how: .png, .svg, .pdf.

    Raises:
        UsageError: the path cannot be written, or the suffix is none that matplotlib knows.
    """
    drawn, target = io.BytesIO(), Path(path)
    target = target if target.suffix else target.with_name(f"{target.name}.png")
    try:
        # What is not written yet cannot be half a picture, nor stand where a device node or a FIFO is.
        figure.savefig(drawn, dpi=150, format=target.suffix[1:].lower())
        write_whole(target, drawn.getvalue())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"cannot write {os.fspath(path)}: {reason}; choose another --plot") from None
