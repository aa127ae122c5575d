"""Frontiers as a picture and as an HTML table."""

import html
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..quality.shapes import with_counts
from ..search.frontier import Frontier
from ..search.goals import Objective
from ..search.scored import Scored
from ..units import show_bytes, show_count, show_seconds
from .figures import new_figure, save, ticks
from .frontier_report import score_of
from .text import SHAPE_COLUMNS, prediction_columns
from .values import objective_value

# Points beyond these only overplot each other; intervals are drawn for fewer still, and fewer shapes are named.
MAX_POINTS = 2000
MAX_INTERVALS = 40
MAX_LABELS = 8

SHOW: dict[str, Callable[[float], str]] = {
    "params": show_count, "non-embedding-params": show_count, "effective-params": show_count, "memory": show_bytes,
    "response": show_seconds, "prefill": show_seconds, "decode": show_seconds,
}  # fmt: skip
TITLES = {
    "params": "parameters", "non-embedding-params": "parameters without embeddings",
    "effective-params": "effective parameters", "prefill": "TTFT", "decode": "TPOT", "memory": "peak memory",
    "throughput": "tokens a second",
}  # fmt: skip


def draw_frontier(front: Frontier, path: "str | os.PathLike[str] | None" = None) -> Any:
    """The first objective against the second, coloured by depth; the best, intervals, budget and baseline marked.

    Returns the matplotlib figure; with a path it is written there too.

    Raises:
        UsageError: matplotlib is not installed, or the path cannot be written.
    """
    figure = new_figure(9.0, 5.5)
    axes = figure.add_subplot()
    across, up = front.objectives[:2]
    _points(figure, axes, front)
    _limits(axes, front, up)
    _named(axes, front)
    if front.baseline is not None:
        base = front.baseline
        ends = [objective_value(one, base.model, base.prediction) for one in (across, up)]
        if None not in ends:
            axes.plot(
                *([end] for end in ends), "D", markersize=8, color="tab:red", label=f"baseline {front.baseline.name}"
            )
    for axis, one in ((axes.xaxis, across), (axes.yaxis, up)):
        axis.set_label_text(TITLES.get(one.name, one.name.replace("_", " ")))
        logarithmic = bool((front.values[one.column] > 0).all())
        (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log" if logarithmic else "linear")
        ticks(axis, SHOW.get(one.name, "{:.4g}".format), logarithmic=logarithmic, binary=one.name == "memory")
    axes.set_title(_title(front), fontsize=10)
    axes.grid(True, which="major", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    if path is not None:
        save(figure, path)
    return figure


def _title(front: Frontier) -> str:
    work = front.workload
    return (
        f"{front.predictor.profile.title}, {front.predictor.runtime}, {work.numbers_name}\n"
        f"{work.prompt_tokens} prompt + {work.new_tokens} new tokens, batch {work.batch_size}"
    )


def _points(figure: Any, axes: Any, front: Frontier) -> None:
    across, up = front.objectives[:2]
    shown, few = (
        front.take(np.unique(np.linspace(0, len(front) - 1, most).astype(int))) for most in (MAX_POINTS, MAX_INTERVALS)
    )
    if up.name in ("response", "prefill", "decode") and up.scenario is None:
        low, high = few.predictions.low_high(up.name)
        level = f"{100 * front.predictor.interval.level:.3g} % interval"
        axes.vlines(few.values[across.column], low, high, color="0.7", linewidth=1, zorder=1, label=level)
    score = score_of(front)
    if score is not None:
        from ..quality import band

        ends = band(score, with_counts(few.columns))
        axes.hlines(
            few.values[up.column], *ends, color="tab:blue", alpha=0.35, linewidth=1, zorder=1, label="band of the score"
        )
    colour = axes.scatter(
        shown.values[across.column], shown.values[up.column], c=shown.columns["num_hidden_layers"], cmap="viridis",
        s=12, zorder=2,
    )  # fmt: skip
    figure.colorbar(colour, ax=axes, label="layers")


def _limits(axes: Any, front: Frontier, up: Objective) -> None:
    """The budget and the other limits of what the vertical axis shows."""
    for limit in front.limits:
        if limit.objective.name == up.name and limit.objective.scenario is None:
            show = SHOW.get(up.name, "{:.4g}".format)
            word = "budget" if up.name == "response" else "limit"
            axes.axhline(limit.bound, color="tab:red", linestyle="--", linewidth=1, label=f"{word} {show(limit.bound)}")


def _named(axes: Any, front: Frontier) -> None:
    """The best shape starred, and some others by name."""
    across, up = (front.values[one.column] for one in front.objectives[:2])
    score = score_of(front)
    best = Scored(front, score).best if score is not None else int(np.argmax(front.quality))
    if best is not None:
        axes.plot([across[best]], [up[best]], "*", markersize=16, color="tab:orange", zorder=4, label="best")
    labels = {int(i) for i in np.linspace(0, len(front) - 1, min(MAX_LABELS, len(front))).astype(int)}
    for i in sorted(labels | ({best} if best is not None else set())):
        name = f"{int(front.columns['num_hidden_layers'][i])}×{int(front.columns['hidden_size'][i])}"
        axes.annotate(name, (across[i], up[i]), textcoords="offset points", xytext=(4, -10), fontsize=7)
    axes.margins(x=0.09)  # room for the name of the rightmost


def html_table(rows: Sequence[Mapping[str, Any]], level: float) -> str:
    """Rows as an HTML table, with the units that people read; their intervals are of this level."""
    columns = [*SHAPE_COLUMNS, *prediction_columns(level)]
    heading = "".join(f"<th>{html.escape(column.heading)}</th>" for column in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(column.text(row))}</td>" for column in columns) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{lines}</tbody></table>"


class _Drawing:
    """The pictures above, as methods of a frontier."""

    def draw(self, front: Frontier, path: "str | os.PathLike[str] | None") -> Any:
        return draw_frontier(front, path)

    def html(self, front: Frontier) -> str:
        return html_table(front.to_rows(), front.predictor.interval.level)


Frontier.drawing = _Drawing()
