"""A frontier as the text that `latmodel frontier` prints."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .report import PREDICTION_COLUMNS, SHAPE_COLUMNS, render
from .units import show_bytes, show_count, show_seconds

if TYPE_CHECKING:
    from .pareto import Baseline, Frontier


def frontier_text(front: "Frontier", total: int, how: Any) -> str:
    """The rows to print: the best marked in the table, ratios where there is a baseline."""
    rows = front.to_rows()
    best = max(range(len(rows)), key=lambda index: rows[index]["quality"])
    for index, row in enumerate(rows):
        row["best"] = index == best
    columns = [("", lambda row: "*" if row["best"] else ""), *SHAPE_COLUMNS, *PREDICTION_COLUMNS]
    shown = ("params", "non-embedding-params", "prefill", "decode", "response", "memory")
    for place, one in enumerate(one for one in front.objectives if one.name not in shown):
        columns.insert(6 + place, (one.name[:20], _number(one.column)))
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
    if front.baseline is not None:
        lines.append(_baseline_line(front.baseline))
    return "\n".join(lines)


def _number(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: f"{row[name]:.4g}"


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
