"""A frontier as the text that `latmodel frontier` prints."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .goals import METRICS
from .report import PREDICTION_COLUMNS, SHAPE_COLUMNS, render
from .units import show_bytes, show_count, show_seconds

if TYPE_CHECKING:
    from .pareto import Baseline, Frontier


def frontier_text(front: "Frontier", total: int, how: Any, score: Any = None) -> str:
    """The rows to print: the best marked in the table, score and band if there is one, ratios to a baseline."""
    rows = front.to_rows() if score is None else _scored_rows(front, score)
    if score is None:
        best = max(range(len(rows)), key=lambda index: rows[index]["quality"])
        for index, row in enumerate(rows):
            row["best"] = index == best
    columns = [("", _mark), *SHAPE_COLUMNS, *PREDICTION_COLUMNS]
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
    text = render(rows, how, columns, title=_title(front))
    if how != "table":
        return text
    lines = [
        text,
        f"{len(rows)} of {total} shapes on the frontier of {show_count(front.searched)} searched; * the best.",
    ]
    if score is not None:
        lines += _score_lines(rows, score)
    if front.baseline is not None:
        lines.append(_baseline_line(front.baseline))
    return "\n".join(lines)


def _number(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: f"{row[name]:.4g}"


def _mark(row: Any) -> str:
    return "*" if row["best"] else "=" if row.get("tied") else ""


def _scored_rows(front: "Frontier", score: Any) -> list[dict[str, Any]]:
    from .scored import Scored

    return Scored(front, score).rows()


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


def _score_lines(rows: list[dict[str, Any]], score: Any) -> list[str]:
    lines = [
        "FFN ratio and query groups are held near the usual (2.5-4, 2-8) unless given: the score does not see them."
    ]
    tied = sum(row["tied"] for row in rows)
    if tied:
        lines.append(f"= ties with the best within what {score.name} can tell; of those the quickest is marked *.")
    if not any(row["best"] for row in rows):
        lines.append("No row is called best: each shape lies beyond what the score can vouch for.")
    return lines


def _title(front: "Frontier") -> str:
    work, limits = front.workload, [show_bytes(front.memory_bytes)]
    if front.budget_s is not None:
        limits.insert(0, show_seconds(front.budget_s))
    return (
        f"{front.predictor.profile.title}, {front.predictor.runtime}, {work.dtype}: {work.prompt_tokens} prompt + "
        f"{work.new_tokens} new tokens, batch {work.batch_size}, within {' and '.join(limits)}"
    )


def _baseline_line(baseline: "Baseline") -> str:
    shape, predicted = baseline.config, baseline.prediction
    return (
        f"Baseline {shape.num_hidden_layers} × {shape.hidden_size}: {show_count(predicted.num_parameters)} parameters, "
        f"{show_seconds(predicted.response_s)}."
    )
