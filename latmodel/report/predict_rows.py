"""What `latmodel predict` prints: one prediction, a table of them, or the breakdown of one by operator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..configs.model_input import WORK_FIELDS, config_dict, read_table
from ..errors import UsageError
from ..model.config import CONFIG_FIELDS, ModelConfig, Workload
from ..predict.breakdown import breakdown
from ..predict.capacity import capacity
from ..predict.prediction import Prediction
from ..predict.predictor import Predictor
from ..units import show_bytes, show_count, show_seconds
from .text import SHAPE_COLUMNS, Column, OutputFormat, Row, prediction_columns, render


def predict_one(
    predictor: Predictor,
    model: Any,
    workload: Workload,
    output_format: OutputFormat,
    *,
    operators: bool = False,
    limits: bool = False,
) -> str:
    """One model's prediction as text; JSON is the object of the contract.

    `limits` adds the largest batch at this context and the longest context at this batch; `operators` what every
    operator of the prefill and of the last decode step costs: within the object in JSON, alone in CSV, a table below.
    """
    row: dict[str, Any] = predictor.predict(model, workload).as_dict()
    if limits:
        row |= capacity(predictor, model, workload).as_dict()
    parts = breakdown(predictor, model, workload) if operators else []
    if output_format in ("json", "jsonl"):
        return render([row | ({"breakdown": parts} if operators else {})], output_format, [], single=True)
    if output_format == "csv":
        return render(parts or [row], output_format, [])
    parameters, *times = prediction_columns(predictor.interval.level)
    columns, title = [parameters, *times], _title(predictor, workload)
    if isinstance(model, ModelConfig):
        row = {**config_dict(model), **_effective(model, workload), **row}
        columns = [*SHAPE_COLUMNS, parameters, SCORE_COLUMN, *times]
    tables = [render([row], output_format, columns + (LIMIT_COLUMNS if limits else []), title=title)]
    return "\n\n".join([*tables, render(parts, output_format, BREAKDOWN_COLUMNS)] if operators else tables)


def _effective(model: ModelConfig, workload: Workload) -> dict[str, Any]:
    """Effective parameters (docs/quality.md) of one shape, with the band of the law's constants and what to doubt."""
    from ..quality import band, flags, score
    from ..search.scored import with_counts

    law, shapes = score("effective-params"), with_counts(config_dict(model))
    low, high = band(law, shapes)
    kinds = ("quantised",) if workload.weights is not None else ()
    return {
        "effective_parameters": float(law(shapes)),
        "effective_parameters_low": float(low),
        "effective_parameters_high": float(high),
        "effective_parameters_doubts": flags(law, shapes, kinds=kinds).words(),
    }


def _effective_text(row: Row) -> str:
    names = ("effective_parameters", "effective_parameters_low", "effective_parameters_high")
    value, low, high = (show_count(row[name]) for name in names)
    return f"{value} ({low}–{high})" + (" ?" if row["effective_parameters_doubts"] else "")


SCORE_COLUMN: Column = ("effective-params", _effective_text)


def _title(predictor: Predictor, workload: Workload) -> str:
    return (
        f"{predictor.profile.title}, {predictor.runtime}, {workload.numbers_name}, batch {workload.batch_size}: "
        f"{workload.prompt_tokens} prompt + {workload.new_tokens} new tokens"
    )


def predict_table(predictor: Predictor, path: Path, workload: Workload, output_format: OutputFormat) -> str:
    """Predictions of every row of a table, in its order; rows may name their own work, dtype and runtime.

    Raises:
        UsageError: a row or column of the table is wrong; it is named.
    """
    rows = read_table(path)
    done: list[Row | None] = [None] * len(rows)
    for key, index in _groups(rows).items():
        some = [rows[i] for i in index]
        predictions = _predict_group(predictor, some, workload, key, f"{path}", index)
        for i, row, prediction in zip(index, some, predictions, strict=True):
            done[i] = (
                {**row, **prediction.as_dict()} if output_format in ("table", "md", "csv") else prediction.as_dict()
            )
    shown = [{**_filled(row), **(row or {})} for row in done] if output_format in ("table", "md") else done
    return render(
        [row for row in shown if row], output_format, [*SHAPE_COLUMNS, *prediction_columns(predictor.interval.level)]
    )


def _filled(row: Row | None) -> Row:
    heads = (row or {}).get("num_attention_heads", 1)
    hidden = (row or {}).get("hidden_size", heads)
    return {"num_key_value_heads": heads, "head_dim": hidden // heads}


def _groups(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[int]]:
    """Row numbers by what cannot be an array: logits, dtype, runtime."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row.get("logits"), row.get("dtype"), row.get("runtime")), []).append(index)
    return groups


def _predict_group(
    predictor: Predictor,
    rows: Sequence[Row],
    workload: Workload,
    key: tuple[Any, ...],
    where: str,
    index: Sequence[int],
) -> Sequence[Prediction]:
    logits, dtype, runtime = key
    work = workload.model_dump()
    work.update({name: value for name, value in (("logits", logits), ("dtype", dtype)) if value is not None})
    try:
        columns = {name: _column(rows, name, work) for name in (*CONFIG_FIELDS, *WORK_FIELDS[:3])}
        given = {name: values for name, values in columns.items() if values is not None}
        some = predictor if runtime is None else Predictor(predictor.profile, runtime, predictor.interval.level)
        predictions = some.predict_many(given, Workload(**work))
    except UsageError as error:
        raise UsageError(f"{where}: {_renumbered(str(error), index)}") from None
    return [predictions[i] for i in range(len(rows))]


def _renumbered(message: str, index: Sequence[int]) -> str:
    """Row numbers of a group as those of the file, counted from 1."""
    if not message.startswith("row "):
        return message
    number, rest = message[4:].split(":", 1)
    return f"row {index[int(number)] + 1}:{rest}"


def _column(rows: Sequence[Row], name: str, work: dict[str, Any]) -> Any:
    """A column of the group, with defaults where a row leaves it out; None if all leave it out."""
    if not any(name in row for row in rows):
        return None
    heads = [row.get("num_attention_heads", 1) for row in rows]
    defaults: dict[str, list[Any]] = {
        "num_key_value_heads": heads,
        "head_dim": [row.get("hidden_size", 0) / h for row, h in zip(rows, heads, strict=True)],
        "tie_word_embeddings": [False] * len(rows),
    }
    fallback = defaults.get(name, [work.get(name, np.nan)] * len(rows))
    return [row.get(name, other) for row, other in zip(rows, fallback, strict=True)]


BREAKDOWN_COLUMNS: list[Column] = [
    ("phase", lambda row: row["phase"]),
    ("operator", lambda row: row["operator"]),
    ("count", lambda row: f"{row['count']:.0f}"),
    ("kernels", lambda row: f"{row['kernels']:.0f}"),
    ("FLOPs", lambda row: show_count(row["flops"])),
    ("bytes", lambda row: show_bytes(row["bytes"])),
    ("device", lambda row: show_seconds(row["device_s"])),
    ("host", lambda row: show_seconds(row["host_s"])),
    ("MFU", lambda row: f"{100 * row['mfu']:.0f}%"),
    ("MBU", lambda row: f"{100 * row['mbu']:.0f}%"),
    ("bound", lambda row: row["bound"]),
]


LIMIT_COLUMNS: list[Column] = [
    ("largest batch", lambda row: str(row["largest_batch"])),
    ("longest context", lambda row: str(row["longest_context"])),
]
