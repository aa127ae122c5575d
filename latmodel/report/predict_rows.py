"""What `latmodel predict` prints: one prediction, or the breakdown of one by operator."""

from collections.abc import Sequence
from typing import Any

from ..configs.model_input import config_dict
from ..configs.models import NamedModel
from ..model.architecture import Architecture
from ..model.config import ModelConfig, Workload
from ..predict.predictor import Predictor
from ..units import show_bytes, show_count, show_seconds
from .column import Column, Row
from .fitted import paragraph
from .generation import PLAIN, Generation
from .rows import PLAIN_LLAMA, Answer, full_row, notes_of, run_notes, shape_fields
from .text import MEASURED_HOST_COLUMN, SHAPE_COLUMNS, OutputFormat, legend, prediction_columns, render


def predict_one(
    predictor: Predictor,
    named: NamedModel,
    workload: Workload,
    output_format: OutputFormat,
    *,
    operators: bool = False,
    limits: bool = False,
    generation: Generation = PLAIN,
) -> Answer:
    """One model's prediction as text; JSON is the object of the contract.

    `limits` adds the largest batch at this context and the longest context at this batch; `operators` what every
    operator of the prefill and of the last decode step costs: within the object in JSON, alone in CSV, a table below.
    `generation` says how the response is made, where not by one prefill and a token a pass.
    """
    row = _row(predictor, named, workload, generation)
    model, workload = named.model, named.under(workload)
    if limits:
        from ..predict.capacity import capacity

        row |= capacity(predictor, model, workload).as_dict()
    shape = shape_fields(model)
    if PLAIN_LLAMA in shape:  # read again by its name
        shape = {"model": named.name, **shape}
    row = full_row(row, predictor, workload, run_notes(predictor, workload, named.notes), shape=shape)
    parts = _operators(predictor, model, workload) if operators else []
    if output_format in ("json", "jsonl"):
        whole = row | ({"breakdown": parts} if operators else {})
        return Answer(render([whole], output_format, [], single=True), row["notes"])
    if output_format == "csv":
        return Answer(render(parts or [row], output_format, []), row["notes"])
    parameters, *times = prediction_columns(predictor.interval.level)
    times.append(MEASURED_HOST_COLUMN)
    columns = [*SHAPE_COLUMNS, parameters, *times]
    if isinstance(model, ModelConfig):
        row = {**row, **_effective(model, workload)}
        columns = [*SHAPE_COLUMNS, parameters, SCORE_COLUMN, *times]
    title = _title(predictor, workload)
    columns += [*_generation_columns(generation), *(LIMIT_COLUMNS if limits else [])]
    tables = [render([row], output_format, columns, title=title)]
    if output_format == "table":
        tables[0] += "\n" + paragraph("\n".join(legend([row], tables[0])))
    if operators:
        tables.append(render(parts, output_format, BREAKDOWN_COLUMNS))
    return Answer("\n\n".join(tables), row["notes"])


def predict_models(
    predictor: Predictor,
    models: Sequence[NamedModel],
    workload: Workload,
    output_format: OutputFormat,
    generation: Generation = PLAIN,
) -> Answer:
    """Several models as rows, in order, each under its own weight format."""
    rows = []
    for named in models:
        own = named.under(workload)
        row = {"model": named.name, **_row(predictor, named, workload, generation)}
        notes = run_notes(predictor, own, named.notes)
        rows.append(full_row(row, predictor, own, notes, shape=shape_fields(named.model)))
    columns = [MODEL_COLUMN, *SHAPE_COLUMNS, *prediction_columns(predictor.interval.level)]
    columns += _generation_columns(generation)
    return Answer(render(rows, output_format, columns, title=_title(predictor, workload)), notes_of(rows))


def _row(predictor: Predictor, named: NamedModel, workload: Workload, generation: Generation) -> dict[str, Any]:
    """A model's prediction under its own weight format."""
    row: dict[str, Any] = predictor.predict(named.model, named.under(workload)).as_dict()
    if not generation.given:
        return row
    from .generated import added

    return added(row, predictor, named, workload, generation)


def _generation_columns(generation: Generation) -> list[Column]:
    if not generation.given:
        return []
    from .generated import generation_columns

    return generation_columns(generation)


def _operators(predictor: Predictor, model: ModelConfig | Architecture, workload: Workload) -> list[dict[str, Any]]:
    from ..predict.breakdown import breakdown

    return breakdown(predictor, model, workload)


def _effective(model: ModelConfig, workload: Workload) -> dict[str, Any]:
    """Effective parameters (docs/quality.md) of one shape, with the band of the law's constants and its cautions."""
    from ..quality import band, flags, score
    from ..quality.shapes import with_counts

    law, shapes = score("effective-params"), with_counts(config_dict(model))
    low, high = band(law, shapes)
    kinds = ("quantised",) if workload.weights is not None else ()
    return {
        "effective_parameters": float(law(shapes)),
        "effective_parameters_low": float(low),
        "effective_parameters_high": float(high),
        "effective_parameters_cautions": flags(law, shapes, kinds=kinds).words(),
    }


def _effective_text(row: Row) -> str:
    names = ("effective_parameters", "effective_parameters_low", "effective_parameters_high")
    value, low, high = (show_count(row[name]) for name in names)
    return f"{value} ({low}–{high})" + (" ?" if row["effective_parameters_cautions"] else "")


MODEL_COLUMN = Column("model", lambda row: row["model"])
SCORE_COLUMN = Column("effective-params", _effective_text, 3)


def _title(predictor: Predictor, workload: Workload) -> str:
    cached = f"{workload.cached_tokens} cached + " if workload.cached_tokens else ""
    return (
        f"{predictor.profile.title}, {predictor.runtime}, {workload.numbers_name}, batch {workload.batch_size}: "
        f"{cached}{workload.prompt_tokens} prompt + {workload.new_tokens} new tokens"
    )


BREAKDOWN_COLUMNS: list[Column] = [
    Column("phase", lambda row: row["phase"]),
    Column("operator", lambda row: row["operator"]),
    Column("count", lambda row: f"{row['count']:.0f}", 3),
    Column("kernels", lambda row: f"{row['kernels']:.0f}", 2),
    Column("FLOPs", lambda row: show_count(row["flops"]), 3),
    Column("bytes", lambda row: show_bytes(row["bytes"]), 3),
    Column("device", lambda row: show_seconds(row["device_s"])),
    Column("host", lambda row: show_seconds(row["host_s"])),
    Column("MFU", lambda row: f"{100 * row['mfu']:.0f}%", 2),
    Column("MBU", lambda row: f"{100 * row['mbu']:.0f}%", 2),
    Column("bound", lambda row: row["bound"], 1),
]


LIMIT_COLUMNS: list[Column] = [
    Column("largest batch", lambda row: str(row["largest_batch"]), 0),
    Column("longest context", lambda row: str(row["longest_context"]), 0),
]
