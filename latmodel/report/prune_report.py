"""Pruned shapes as a table, as sentences and as a picture."""

import os
from collections.abc import Iterator

from ..pruning.prune import NAMES, Curve, Pruning
from ..quality import NOT_COVERED
from ..units import show_bytes, show_count, show_seconds
from .figures import new_figure, save
from .text import SHAPE_COLUMNS, Column, OutputFormat, render

COLUMNS: list[Column] = [
    ("way", lambda row: row["way"]),
    *SHAPE_COLUMNS,
    ("params", lambda row: show_count(row["num_parameters"])),
    ("kept", lambda row: f"{row['parameters_kept']:.0%}"),
    ("prefill", lambda row: show_seconds(row["prefill_s"])),
    ("decode/token", lambda row: show_seconds(row["decode_s_per_token"])),
    ("speed-up", lambda row: f"{row['speedup']:.2f}×"),
    ("memory", lambda row: show_bytes(row["peak_memory_bytes"]) + ("" if row["fits_memory"] else " !")),
    ("bound", lambda row: row["bound"] + (" ~" if row["extrapolated"] else "")),
    ("aligned", lambda row: "yes" if row["aligned"] else "no"),
    ("target", lambda row: "" if row["way"] == "original" else "reached" if row["reached"] else "missed"),
]


def table(pruning: Pruning, output_format: OutputFormat) -> str:
    """The original, and one shape for each way."""
    rows = [pruning.original.as_dict(), *(curve.shown.as_dict() for curve in pruning.curves)]
    return render(rows, output_format, COLUMNS)


def notes(pruning: Pruning) -> Iterator[str]:
    """One sentence for each way that needs one, and which way keeps the most."""
    for curve in pruning.curves:
        if curve.note:
            yield f"{curve.way.name} ({curve.way.what}): {curve.note}"
    reached = [curve for curve in pruning.curves if curve.best is not None]
    if not reached:
        yield "no way of pruning reaches the target"
        return
    best = max(reached, key=_kept)
    yield f"the target is reached with the most parameters ({_kept(best):.0%}) by {best.way.name} ({best.way.what})"
    yield f"no score of quality is shown: {NOT_COVERED['pruned']}"


def _kept(curve: Curve) -> float:
    return curve.best.kept if curve.best else 0.0


def draw(pruning: Pruning, path: "str | os.PathLike[str]", title: str) -> None:
    """Kept parameters against speed-up, one curve for each way; the target as a line.

    Raises:
        UsageError: matplotlib is not installed, or the path cannot be written.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    for curve in pruning.curves:
        kept = [100.0 * point.kept for point in curve.points]
        axes.plot(kept, [point.speedup for point in curve.points], ".-", markersize=3, label=curve.way.name)
    original_s = getattr(pruning.original.prediction, NAMES[pruning.target.metric])
    axes.axhline(original_s / pruning.target.limit_s(original_s), color="0.4", linestyle="--", label="target")
    axes.invert_xaxis()
    axes.set_xlabel("parameters kept in %")
    axes.set_ylabel(f"speed-up of {pruning.target.metric}")
    axes.set_title(title)
    axes.grid(True, alpha=0.2)
    axes.legend()
    save(figure, path)
