"""A frontier as the text that `latmodel frontier` prints."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..search.frontier import thin, thin_rows
from ..search.goals import METRICS
from ..search.scored import Scored
from ..units import show_bytes, show_count, show_seconds
from .text import SHAPE_COLUMNS, prediction_columns, render

if TYPE_CHECKING:
    from ..search.frontier import Baseline, Frontier


def frontier_text(front: "Frontier", limit: int, output_format: Any, score: Any = None) -> str:
    """At most `limit` rows of what a search found: the best marked, score and band if any, ratios to a baseline.

    What is best, and what ties with it, is judged among all that was found, not among the rows shown.
    """
    scored = None if score is None else Scored(front, score)
    rows = _marked_by_quality(front, limit) if scored is None else scored.rows(_with_best(front, limit, scored.best))
    columns = [("", _mark), *SHAPE_COLUMNS, *prediction_columns(front.predictor.interval.level)]
    if score is not None:
        columns[6:6] = score_columns(score)
    else:
        others = [one for one in front.objectives if one.metric not in METRICS or one.name == "throughput"]
        columns[6:6] = [(one.name[:20], _number(one.column)) for one in others]
    if front.baseline is not None:
        columns += [
            ("× params", lambda row: f"{row['parameters_ratio']:.1f}"),
            ("× speed", lambda row: f"{row['speed_ratio']:.2f}"),
        ]
    text = render(rows, output_format, columns, title=_title(front))
    if output_format != "table":
        return text
    lines = [
        text,
        f"{len(rows)} of {len(front)} shapes on the frontier of {show_count(front.searched)} searched; * the best.",
    ]
    if scored is not None:
        lines += _score_lines(scored)
    if front.baseline is not None:
        lines.append(_baseline_line(front.baseline))
    return "\n".join(lines)


def _marked_by_quality(front: "Frontier", limit: int) -> list[dict[str, Any]]:
    """The thinned rows; the one of the highest quality is the best, and is always among them."""
    rows = thin(front, limit).to_rows()
    best = max(range(len(rows)), key=lambda index: rows[index]["quality"])
    for index, row in enumerate(rows):
        row["best"] = index == best
    return rows


def _with_best(front: "Frontier", limit: int, best: int | None) -> Any:
    """Indices of the thinned rows, the best among them."""
    if best is None or len(front) <= limit:
        return thin_rows(front, limit)
    return np.union1d(thin_rows(front, limit - 1) if limit > 1 else [], [best]).astype(np.int64)


def _number(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: f"{row[name]:.4g}"


def _mark(row: Any) -> str:
    return "*" if row["best"] else "=" if row.get("tied") else ""


def score_columns(score: Any) -> list[Any]:
    """Columns of a quality score: its value with the band of its constants, the rank by parameters, what to doubt."""

    def value(row: Any) -> str:
        ends = (row["quality"], row["quality_low"], row["quality_high"])
        if not score.name.startswith("effective-params"):
            return f"{row['quality']:.4g}"
        middle, low, high = (show_count(end) for end in ends)
        return f"{middle} ({low}–{high})"

    return [
        (score.name[:24], value),
        ("by params", lambda row: f"{row['rank_by_params']}"),
        ("doubts", lambda row: ", ".join(row["flags"])),
    ]


def _score_lines(scored: Scored) -> list[str]:
    lines = [
        "FFN ratio and query groups are held near the usual (2.5-4, 2-8) unless given: the score does not see them."
    ]
    ties = int(scored.tied.sum())
    if ties:
        name = scored.score.name
        tie = "shape (=) ties" if ties == 1 else "shapes (=) tie"
        lines.append(f"{ties} {tie} with the best within what {name} can tell; of those the quickest is best.")
    if scored.best is None:
        lines.append("No row is called best: each shape lies beyond what the score can vouch for.")
    return lines


def _title(front: "Frontier") -> str:
    work, limits = front.workload, [show_bytes(front.memory_bytes)]
    if front.budget_s is not None:
        limits.insert(0, show_seconds(front.budget_s))
    return (
        f"{front.predictor.profile.title}, {front.predictor.runtime}, {work.numbers_name}: "
        f"{work.prompt_tokens} prompt + {work.new_tokens} new tokens, batch {work.batch_size}, "
        f"within {' and '.join(limits)}"
    )


def _baseline_line(baseline: "Baseline") -> str:
    shape, predicted = baseline.config, baseline.prediction
    return (
        f"Baseline {shape.num_hidden_layers} × {shape.hidden_size}: {show_count(predicted.num_parameters)} parameters, "
        f"{show_seconds(predicted.response_s)}."
    )
