"""Pruned shapes as a table, as sentences and as a picture."""

import os
from collections.abc import Iterator, Sequence

from ..model.config import Workload
from ..predict.predictor import Predictor
from ..pruning.prune import NAMES, NOTHING, Curve, Pruning
from ..quality import NOT_COVERED
from ..units import show_bytes, show_count, show_seconds
from .column import Column
from .figures import new_figure, save
from .rows import full_row, shape_fields
from .text import SHAPE_COLUMNS, OutputFormat, render

COLUMNS: list[Column] = [
    Column("way", lambda row: row["way"]),
    *SHAPE_COLUMNS,
    Column("params", lambda row: show_count(row["num_parameters"]), 1),
    Column("kept", lambda row: f"{row['parameters_kept']:.0%}"),
    Column("TTFT", lambda row: show_seconds(row["prefill_s"]), 2),
    Column("TPOT", lambda row: show_seconds(row["decode_s_per_token"]), 2),
    Column("speed-up", lambda row: f"{row['speedup']:.2f}×"),
    Column("memory", lambda row: show_bytes(row["peak_memory_bytes"]) + ("" if row["fits_memory"] else " !"), 1),
    Column("bound", lambda row: row["bound"] + (" ~" if row["extrapolated"] else ""), 2),
    Column("aligned", lambda row: "yes" if row["aligned"] else "no", 5),
    Column("target", lambda row: "" if row["way"] == "original" else "reached" if row["reached"] else "missed"),
]


def table(
    pruning: Pruning, output_format: OutputFormat, predictor: Predictor, workload: Workload, known: Sequence[str]
) -> str:
    """The original, and one shape for each way; `known` are notes on the prediction."""
    shown = [pruning.original, *(curve.shown for curve in pruning.curves)]
    said = [*known, *notes(pruning)]
    rows = [full_row(one.as_dict(), predictor, workload, said, shape=shape_fields(one.architecture)) for one in shown]
    return render(rows, output_format, COLUMNS)


def notes(pruning: Pruning) -> Iterator[str]:
    """Which way is best, what must be said of the others, and what is not known."""
    reached = [curve for curve in pruning.curves if curve.best is not None]
    yield _best(reached, pruning) if reached else "no way of pruning reaches the target"
    for curve in reached:
        if curve.note:
            yield f"{_named(curve)}: {curve.note}"
    yield from _missed([curve for curve in pruning.curves if curve.best is None])
    if pruning.beyond:
        yield pruning.beyond
    yield f"no score of quality is shown: {NOT_COVERED['pruned']}"


def _best(reached: Sequence[Curve], pruning: Pruning) -> str:
    if pruning.target.parameters is not None:
        quickest = max(reached, key=lambda curve: curve.shown.speedup)
        return (
            f"of the shapes that keep so many parameters {_named(quickest)} is the quickest, "
            f"{quickest.shown.speedup:.2f} times as fast as the original in {pruning.target.metric}"
        )
    best = max(reached, key=lambda curve: curve.shown.kept)
    return f"the target is reached with the most parameters ({best.shown.kept:.0%}) by {_named(best)}"


def _missed(curves: Sequence[Curve]) -> Iterator[str]:
    """One sentence for the ways that miss the target for the same reason."""
    alike: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        verdict = "nothing is gained by" if curve.shown.speedup < NOTHING else "the target is missed by"
        alike.setdefault((verdict, curve.note), []).append(curve)
    for (verdict, note), some in alike.items():
        *first, last = map(_named, some)
        names = f"{', '.join(first)} and {last}" if first else last
        most = max(curve.shown.speedup for curve in some)
        yield f"{verdict} {names}, at most {most:.2f}×" + (f": {note}" if note else "")


def _named(curve: Curve) -> str:
    return f"{curve.way.name} ({curve.way.what})"


def draw(pruning: Pruning, path: "str | os.PathLike[str]", title: str) -> None:
    """Kept parameters against speed-up, one curve for each way; the target as a line.

    Raises:
        UsageError: matplotlib is not installed, or the path cannot be written.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    for curve in pruning.curves:
        kept = [100.0 * point.kept for point in curve.points]
        (line,) = axes.plot(kept, [point.speedup for point in curve.points], ".-", markersize=3, label=curve.way.name)
        chosen = curve.shown
        filled = {} if chosen.reached else {"markerfacecolor": "none"}  # an empty ring falls short of the target
        axes.plot([100.0 * chosen.kept], [chosen.speedup], "o", markersize=9, color=line.get_color(), **filled)
    original_s = getattr(pruning.original.prediction, NAMES[pruning.target.metric])
    limit_s, goal = pruning.target.limit_s(original_s), {"color": "0.4", "linestyle": "--", "label": "target"}
    if limit_s is not None:
        axes.axhline(original_s / limit_s, **goal)
    else:
        axes.axvline(100.0 * (pruning.target.parameters or 0.0) / pruning.original.prediction.num_parameters, **goal)
    axes.invert_xaxis()
    axes.plot([], [], "o", color="0.4", label="chosen")
    axes.set_xlabel("parameters kept in %")
    axes.set_ylabel(f"speed-up of {pruning.target.metric}")
    axes.set_title(title)
    axes.grid(True, alpha=0.2)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    save(figure, path)
