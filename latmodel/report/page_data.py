"""What a page shows, as plain data: the frontier, models compared, parts of a response, rooflines, timelines."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..configs.models import NamedModel
from ..predict.breakdown import breakdown
from ..predict.predictor import Predictor
from ..predict.waterfall import DEVICE_PARTS, HOST_PARTS, waterfall
from ..search.frontier import Frontier, thin_rows
from ..search.scored import Scored
from ..units import show_bytes, show_count, show_seconds
from .frontier_report import front_notes, response_elsewhere, score_of
from .grid import grid
from .rows import full_row, run_notes, shape_fields
from .text import seconds_with_interval
from .values import objective_value

ROWS = 300  # of the frontier, in the picture and in the data
AROUND = ("embedding", "final_norm", "lm_head")  # operators outside the blocks


def page_data(front: Frontier, models: Sequence[NamedModel]) -> dict[str, Any]:
    """Everything that the page's script draws."""
    predictor, workload = front.predictor, front.workload
    rows, best, index = _rows(front)
    baseline = [] if front.baseline is None else [NamedModel(front.baseline.name, front.baseline.model)]
    named = [NamedModel("best", front.config(index)), *baseline, *models]
    sheet = predictor.target(workload.dtype, workload.numbers().format).sheet
    return {
        "rows": rows,
        "best": best,
        "notes": run_notes(predictor, workload, *(one.notes for one in models), front_notes(front)),
        "budget_s": front.budget_s,
        "memory_bytes": front.memory_bytes,
        "level": predictor.interval.level,
        "quality": front.quality_name,
        "workload": {"new_tokens": workload.new_tokens},
        "compared": [_compared(front, one) for one in named],
        "parts": {"host": HOST_PARTS, "device": DEVICE_PARTS},
        "roof": {"flops_per_s": sheet.peak_flops_per_s, "bytes_per_s": sheet.bandwidth_bytes_per_s},
        "grid": grid(predictor, workload)._asdict(),
    }


def _rows(front: Frontier) -> tuple[list[dict[str, Any]], int, int]:
    """The frontier's rows, thinned; which of them is the best, and where that is in the whole frontier."""
    chosen, score = thin_rows(front, ROWS), score_of(front)
    if score is None:
        index = int(np.argmax(front.quality))
        chosen = np.union1d(chosen, [index]).astype(np.int64)
        place = int(np.searchsorted(chosen, index))
        rows = [{**row, "best": i == place, "tied": False} for i, row in enumerate(front.take(chosen).to_rows())]
    else:
        scored = Scored(front, score)
        index = int(np.argmax(front.quality)) if scored.best is None else scored.best
        chosen = np.union1d(chosen, [index]).astype(np.int64)
        rows = scored.rows(chosen)
    place = int(np.searchsorted(chosen, index))
    return [full_row(row, front.predictor, front.workload) for row in rows], place, index


def _compared(front: Frontier, named: NamedModel) -> dict[str, Any]:
    """One model's row, its parts, its operators, and one block's timeline of a decode step."""
    predictor, own = front.predictor, named.under(front.workload)
    prediction = predictor.predict(named.model, own)
    row = full_row(prediction.as_dict(), predictor, own, shape=shape_fields(named.model))
    fall = waterfall(predictor, named.model, own)
    operators = breakdown(predictor, named.model, own)
    depth = row["num_hidden_layers"]
    block = [
        {"operator": one["operator"], "host_s": one["host_s"] / depth, "device_s": one["device_s"] / depth}
        for one in operators
        if one["phase"] == "decode" and one["operator"] not in AROUND
    ]
    return {
        "name": named.name,
        "quality": objective_value(front.objectives[0], named.model, prediction),
        "row": row,
        "prefill": fall.prefill,
        "decode": fall.decode,
        "operators": operators,
        "block": block,
    }  # fmt: skip


def workload_text(front: Frontier) -> str:
    """The workload and the limits in one line."""
    work = front.workload
    budget = "" if front.budget_s is None else f", within {show_seconds(front.budget_s)}"
    also = "".join(f", also on {name}" for name in front.scenarios)
    return (
        f"{work.prompt_tokens} prompt + {work.new_tokens} new tokens, batch {work.batch_size}{budget} and "
        f"{show_bytes(front.memory_bytes)}{also}"
    )


def provenance(predictor: Predictor) -> str:
    """Where the profile is from."""
    profile = predictor.profile
    return f"profile {profile.name} ({profile.quality.kind}, {profile.provenance.date}): {profile.provenance.source}"


def answer(best: dict[str, Any], elsewhere: Iterable[str] = ()) -> str:
    """The answer in a sentence; and what the shape takes on the frontier's other devices."""
    shape = f"{best['num_hidden_layers']} layers × {best['hidden_size']}, FFN {best['intermediate_size']}"
    return (
        f"The most capable shape is {shape}: {show_count(best['num_parameters'])} parameters, a response in "
        f"{seconds_with_interval(best, 'response_s')}, {show_bytes(best['peak_memory_bytes'])}; bound by "
        f"{best['bound']}."
        + "".join(f" On {name} it answers in {response_elsewhere(best, name)}." for name in elsewhere)
    )
