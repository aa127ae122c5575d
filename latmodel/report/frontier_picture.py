"""Frontiers as a picture and as an HTML table."""

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..search.frontier import Frontier
from .figures import new_figure, save
from .frontier_report import score_of
from .text import SHAPE_COLUMNS, prediction_columns

# Points beyond these only overplot each other; intervals are drawn for fewer still.
MAX_POINTS = 2000
MAX_INTERVALS = 60


def draw_frontier(front: Frontier, path: "str | os.PathLike[str]") -> None:
    """Response against quality on log axes, coloured by depth; intervals, budget and baseline marked.

    Raises:
        UsageError: matplotlib is not installed, or the path cannot be written.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    _points(figure, axes, front)
    if front.budget_s is not None:
        axes.axhline(front.budget_s, color="tab:red", linestyle="--", linewidth=1, label=f"budget {front.budget_s:g} s")
    if front.baseline is not None:
        base = front.baseline.prediction
        value = base.num_parameters if front.quality_name == "params" else None
        if value is not None:
            label = f"baseline {front.baseline.name}"
            axes.plot([value], [base.response_s], "*", markersize=14, color="tab:red", label=label)
    axes.set_xlabel("parameters" if front.quality_name == "params" else front.quality_name)
    work = front.workload
    axes.set_ylabel(f"response in s ({work.prompt_tokens} prompt + {work.new_tokens} new tokens)")
    axes.set_title(f"{front.predictor.profile.title}, {front.predictor.runtime}")
    axes.grid(True, which="both", alpha=0.2)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left")
    save(figure, path)


def _points(figure: Any, axes: Any, front: Frontier) -> None:
    shown = front.take(np.unique(np.linspace(0, len(front) - 1, MAX_POINTS).astype(int)))
    few = front.take(np.unique(np.linspace(0, len(front) - 1, MAX_INTERVALS).astype(int)))
    low, high = few.predictions.low_high("response")
    axes.vlines(few.quality, low, high, color="0.75", linewidth=1, zorder=1)
    score = score_of(front)
    if score is not None:
        from ..quality import band
        from ..search.scored import with_counts

        ends = band(score, with_counts(few.columns))
        axes.hlines(
            few.response_s, *ends, color="tab:blue", alpha=0.35, linewidth=1, zorder=1, label="band of the score"
        )
    colour = axes.scatter(
        shown.quality, shown.response_s, c=shown.columns["num_hidden_layers"], cmap="viridis", s=12, zorder=2
    )
    figure.colorbar(colour, ax=axes, label="num_hidden_layers")
    if (front.quality > 0).all():
        axes.set_xscale("log")
    axes.set_yscale("log")


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

    def draw(self, front: Frontier, path: "str | os.PathLike[str]") -> None:
        draw_frontier(front, path)

    def html(self, front: Frontier) -> str:
        return html_table(front.to_rows(), front.predictor.interval.level)


Frontier.drawing = _Drawing()
