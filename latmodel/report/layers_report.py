"""The answer of a per-layer search as text: which block each layer picked, and what the model costs."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..model.config import Workload
from ..predict.predictor import Predictor
from ..search.per_layer.layers import PerLayer
from ..units import show_bytes, show_count, show_seconds
from .column import Column
from .fitted import paragraph
from .rows import Answer, full_row, run_notes, shape_fields
from .text import OutputFormat, render, seconds_with_interval

COLUMNS = [
    Column("layers", lambda row: row["layers"]),
    Column("block", lambda row: row["block"]),
    Column("score", lambda row: f"{row['score']:.4g}"),
]


def layers_text(
    chosen: PerLayer, names: Sequence[str], scores: Any, predictor: Predictor, workload: Workload,
    output_format: OutputFormat,
) -> Answer:  # fmt: skip
    """One object in JSON, a row a layer in CSV, runs of equal layers in a table."""
    picked = [
        {"layer": layer, "block": names[index], "score": float(scores[layer, index])}
        for layer, index in enumerate(chosen.choices)
    ]
    row = full_row(
        chosen.prediction.as_dict(), predictor, workload, run_notes(predictor, workload),
        shape=shape_fields(chosen.architecture),
    )  # fmt: skip
    if output_format in ("json", "jsonl"):
        whole = {**row, "score": chosen.score, "score_bound": chosen.bound, "gap": chosen.gap, "blocks": picked}
        return Answer(render([whole], output_format, [], single=True), row["notes"])
    if output_format == "csv":
        return Answer(render(picked, output_format, []), row["notes"])
    runs = [_run(list(run)) for _, run in groupby(picked, key=lambda one: one["block"])]
    text = render(runs, output_format, COLUMNS, title=f"{predictor.profile.title}, {predictor.runtime}")
    said = (
        f"Score {chosen.score:.6g}; no choice scores more than {chosen.bound:.6g}.\n"
        f"{show_count(row['num_parameters'])} parameters, a response in {seconds_with_interval(row, 'response_s')} "
        f"(TTFT {show_seconds(row['prefill_s'])}, TPOT {show_seconds(row['decode_s_per_token'])}), "
        f"{show_bytes(row['peak_memory_bytes'])}; bound by {row['bound']}."
    )
    return Answer(f"{text}\n{paragraph(said)}", row["notes"])


def _run(some: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = some[0]["layer"], some[-1]["layer"]
    return {
        "layers": f"{first}" if first == last else f"{first}–{last}", "block": some[0]["block"],
        "score": sum(one["score"] for one in some),
    }  # fmt: skip
