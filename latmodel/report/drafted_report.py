"""Targets with their drafts, and what each draft must reach, as the text that `latmodel frontier --draft` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..search.frontier import thin_indices
from ..units import show_bytes, show_count, show_seconds
from ..version import __version__
from .column import Column, Row
from .fitted import paragraph
from .rows import workload_fields
from .text import OutputFormat, render

if TYPE_CHECKING:
    from ..model.config import ModelConfig
    from ..search.drafted.break_even import BreakEven
    from ..search.drafted.frontier import DraftedFrontier


def drafted_text(front: "DraftedFrontier", limit: int, output_format: OutputFormat, notes: Sequence[str]) -> str:
    """At most `limit` targets, evenly in log time, the best quality first."""
    chosen = thin_indices(front.response_s, limit)
    every = front.to_rows()
    given = {**workload_fields(front.workload), "latmodel_version": __version__}
    rows = [{**every[index], **given} for index in chosen]
    paid = sum(row["draft"] is not None for row in every)
    lines = [
        f"{len(rows)} of {len(front)} targets on the frontier of {show_count(front.searched)} searched, each with any "
        f"of {len(front.drafts)} drafts; speculation pays for {paid} of them."
    ]
    if output_format not in ("table", "md"):
        return render([{**row, "notes": [*notes, *lines]} for row in rows], output_format, [])
    counted = front.quality_name.endswith("params")
    columns = [
        Column("target", lambda row: f"{row['num_hidden_layers']} × {row['hidden_size']}"),
        Column(front.quality_name[:16], lambda row: show_count(row["quality"]) if counted else f"{row['quality']:.4g}"),
        Column("FFN", lambda row: str(row["intermediate_size"]), 3),
        Column("draft", _draft),
        Column("lookahead", lambda row: "" if row["draft"] is None else str(row["lookahead"])),
        Column("acceptance", lambda row: "" if row["draft"] is None else f"{row['acceptance']:.2f}", 1),
        Column("response", lambda row: show_seconds(row["response_s"])),
        Column("without", lambda row: show_seconds(row["plain_response_s"]), 1),
        Column("speed-up", lambda row: f"{row['speedup']:.2f}"),
    ]
    text = render(rows, output_format, columns, title=_title(front))
    return text if output_format == "md" else "\n".join([text, paragraph("\n".join(lines))])


def _draft(row: Row) -> str:
    draft = row["draft"]
    return "none" if draft is None else f"{draft['num_hidden_layers']} × {draft['hidden_size']}"


def _title(front: "DraftedFrontier") -> str:
    work, limits = front.workload, [show_bytes(front.memory_bytes)]
    if front.budget_s is not None:
        limits.insert(0, show_seconds(front.budget_s))
    return (
        f"{front.predictor.profile.title}, {front.predictor.runtime}, {work.numbers_name}: "
        f"{work.prompt_tokens} prompt + {work.new_tokens} new tokens, batch {work.batch_size}, "
        f"target and draft together within {' and '.join(limits)}"
    )


def break_even_text(
    target: "ModelConfig", rows: Sequence["BreakEven"], limit: int, output_format: OutputFormat, notes: Sequence[str]
) -> str:
    """What each draft of one target must reach: at most `limit` drafts at even steps of that order, the least first."""
    name = f"{target.num_hidden_layers} × {target.hidden_size}"
    paying = sum(row.break_even_acceptance is not None for row in rows)
    lines = [
        f"{min(limit, len(rows))} of {len(rows)} drafts for {name}, the best target within the limits; {paying} of "
        "them can pay at all. With one acceptance for all drafts the least would always win: what each must reach to "
        "pay is shown. For the best one give what is known of acceptance by shape: --acceptance FILE.csv or "
        "package.module:function."
    ]
    steps = min(limit, len(rows))
    chosen = [rows[round(place * (len(rows) - 1) / max(steps - 1, 1))] for place in range(steps)]
    shown: list[dict[str, Any]] = [
        {**row.draft, **{key: value for key, value in row.as_dict().items() if key != "draft"}} for row in chosen
    ]
    if output_format not in ("table", "md"):
        return render(
            [{**row, "target": target.model_dump(), "notes": [*notes, *lines]} for row in shown], output_format, []
        )
    columns = [
        Column("draft", lambda row: f"{row['num_hidden_layers']} × {row['hidden_size']}"),
        Column("params", lambda row: show_count(row["num_parameters"])),
        Column("a step", lambda row: show_seconds(row["draft_step_s"])),
        Column("pays from", lambda row: _share(row["break_even_acceptance"])),
        Column("with lookahead", lambda row: str(row["pays_with"] or "")),
        Column("acceptance", lambda row: f"{row['acceptance']:.2f}"),
        Column("speed-up", lambda row: f"{row['speedup']:.2f}"),
        Column("best lookahead", lambda row: str(row["lookahead"])),
    ]
    text = render(shown, output_format, columns, title=f"Drafts for {name}")
    return text if output_format == "md" else "\n".join([text, paragraph("\n".join(lines))])


def _share(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"
