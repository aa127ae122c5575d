"""A frontier as the text that `latmodel frontier` prints."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..search.frontier import thin, thin_rows
from ..search.goals import METRICS
from ..search.scored import Scored
from ..units import show_bytes, show_count, show_seconds
from .column import Column
from .fitted import paragraph
from .rows import full_row, run_notes
from .text import MEASURED_HOST_COLUMN, SHAPE_COLUMNS, legend, prediction_columns, render, seconds_with_interval

if TYPE_CHECKING:
    from ..predict.predictor import Predictor
    from ..search.frontier import Baseline, Frontier


def score_of(front: "Frontier") -> Any:
    """The quality score that the frontier's first objective is, or None for a plain measure."""
    return getattr(front.objectives[0].metric, "score", None)


def frontier_text(front: "Frontier", limit: int, output_format: Any, notes: Sequence[str] = ()) -> str:
    """At most `limit` rows of what a search found: the best marked, score and band if any, ratios to a baseline.

    What is best, and what ties with it, is judged among all that was found, not among the rows shown. A table shows
    the best row first. `notes` are those on the prediction; in JSON what a table says below its rows is among them.
    """
    score = score_of(front)
    scored = None if score is None else Scored(front, score)
    rows = _marked_by_quality(front, limit) if scored is None else scored.rows(_with_best(front, limit, scored.best))
    said = _lines(front, scored, rows)
    if output_format not in ("table", "md"):
        known = [*notes, *said]
        return render([full_row(row, front.predictor, front.workload, known) for row in rows], output_format, [])
    rows.sort(key=lambda row: not row["best"])  # stable: the others keep their order
    styles = ["bold green" if row["best"] else "red" if not row["fits_memory"] else "" for row in rows]
    text = render(rows, output_format, _columns(front, score), title=_title(front), styles=styles)
    if output_format == "md":
        return text
    return "\n".join([text, paragraph("\n".join([*said, *legend(rows, text)]))])


def _columns(front: "Frontier", score: Any) -> list[Column]:
    shape, *rest = SHAPE_COLUMNS
    columns = [Column("", _mark), shape, *rest, *prediction_columns(front.predictor.interval.level)]
    if score is not None:
        columns[2:2] = score_columns(score)
    else:
        others = [one for one in front.objectives if one.metric not in METRICS or one.name == "throughput"]
        columns[2:2] = [Column(one.name[:20], _number(one.column), 1) for one in others]
    columns[-2:-2] = [_elsewhere_column(name) for name in front.scenarios]
    columns.append(MEASURED_HOST_COLUMN)
    if front.baseline is not None:
        columns += [
            Column("× params", lambda row: f"{row['parameters_ratio']:.1f}", 3),
            Column("× speed", lambda row: f"{row['speed_ratio']:.2f}", 3),
        ]
    return columns


def _elsewhere_column(name: str) -> Column:
    return Column(name, lambda row: response_elsewhere(row, name), 1)


def response_elsewhere(row: Mapping[str, Any], name: str) -> str:
    """A row's response on another of the frontier's devices (`Frontier.scenarios`), with its interval and its marks."""
    times = {field: row[f"{field}@{name}"] for field in ("response_s", "response_s_low", "response_s_high")}
    outside = "" if not row[f"extrapolated_because@{name}"] else " ~"
    return seconds_with_interval(times, "response_s") + ("" if row[f"fits_memory@{name}"] else " !") + outside


def _lines(front: "Frontier", scored: Scored | None, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said of the whole frontier, one sentence each."""
    lines = [
        f"{len(rows)} of {len(front)} shapes on the frontier of {show_count(front.searched)} searched; * the best."
    ]
    if scored is not None:
        lines += _score_lines(scored)
    if front.baseline is not None:
        lines.append(_baseline_line(front.baseline))
    return lines


def front_notes(front: "Frontier") -> list[str]:
    """What must be known of the other devices' times, and of each depth at which no shape keeps the limits."""
    here = run_notes(front.predictor, front.workload)
    there = [
        f"{_place(one.predictor)}: {note}"
        for one in front.scenarios.values()
        for note in run_notes(one.predictor, one.workload)
        if note not in here
    ]
    return [*there, *(f"no shape of {depth} layers meets the budget" for depth in front.missing)]


def _marked_by_quality(front: "Frontier", limit: int) -> list[dict[str, Any]]:
    """The thinned rows; the one of the highest quality is the best, and is always among them."""
    rows = thin(front, limit).to_rows()
    best = max(range(len(rows)), key=lambda index: rows[index]["quality"])
    for index, row in enumerate(rows):
        row["best"] = index == best
    return rows


def _with_best(front: "Frontier", limit: int, best: int | None) -> Any:
    """Indices of the thinned rows, the best among them."""
    rows = thin_rows(front, limit)
    if best is None or best in rows:
        return rows
    return np.array(sorted({*(thin_rows(front, limit - 1).tolist() if limit > 1 else ()), best}), dtype=np.int64)


def _number(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: f"{row[name]:.4g}"


def _mark(row: Any) -> str:
    return "*" if row["best"] else "=" if row.get("tied") else ""


def score_columns(score: Any) -> list[Column]:
    """Columns of a quality score: its value, the band of its constants, the rank by parameters, its cautions."""
    counted = score.name.startswith("effective-params")

    def shown(value: float) -> str:
        return show_count(value) if counted else f"{value:.4g}"

    return [
        Column("effective" if counted else score.name[:20], lambda row: shown(row["quality"]), 3),
        Column("band", lambda row: f"{shown(row['quality_low'])}–{shown(row['quality_high'])}", 4),
        Column("by params", lambda row: f"{row['rank_by_params']}", 6),
        Column("caution", lambda row: ", ".join(row["flags"]), 5, wraps=True),
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
        sure = any(limit.objective.end == "high" for limit in front.limits)
        end = f" at the upper end of the {100 * front.predictor.interval.level:.3g} % interval" if sure else ""
        limits.insert(0, f"{show_seconds(front.budget_s)}{end}")
    kept_free = front.predictor.room.sheet_bytes - front.memory_bytes
    if front.memory_bytes == front.predictor.room.limit_bytes:
        limits[-1] += f" ({show_bytes(kept_free)} kept free for the driver and as a margin)"
    also = "".join(f"; also on {_place(one.predictor)}" for one in front.scenarios.values())
    return (
        f"{_place(front.predictor)}, {work.numbers_name}: "
        f"{work.prompt_tokens} prompt + {work.new_tokens} new tokens, batch {work.batch_size}, "
        f"within {' and '.join(limits)}{also}"
    )


def _place(predictor: "Predictor") -> str:
    return f"{predictor.profile.title}, {predictor.runtime}"


def _baseline_line(baseline: "Baseline") -> str:
    predicted = baseline.prediction
    return (
        f"Baseline {baseline.name}: {show_count(predicted.num_parameters)} parameters, "
        f"{show_seconds(predicted.response_s)}."
    )
