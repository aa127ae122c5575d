"""What `latmodel predict --input` prints: predictions of every row of a table, in its order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..configs.models import NamedModel, read_model
from ..configs.tables import read_table
from ..device.store import load_profile, with_runtime
from ..errors import LatmodelError, ProfileError, UsageError
from ..model.config import CONFIG_FIELDS, MAX_DIMENSION, Workload
from ..model.defaults import fill_dimensions
from ..predict.columns import WORK_COLUMNS
from ..predict.prediction import Prediction
from ..predict.predictor import Predictor
from .column import Row
from .rows import PLAIN_LLAMA, Answer, full_row, notes_of, run_notes
from .text import SHAPE_COLUMNS, OutputFormat, prediction_columns, render

# What cannot be an array: rows that share all of it are predicted at once.
GROUPED = ("gpu", "runtime", "host", "attention", "dtype", "weights", "kv_cache", "logits", "cached_tokens")


# Columns of rows whose responses were made in other ways; a table is predicted a token a pass.
OTHER_WAYS = {"chunk_tokens": "--chunk", "lookahead": "--draft", "block_tokens": "--block"}


class Group(NamedTuple):
    """Rows of a table that one predictor prices under one set of number formats."""

    predictor: Predictor
    workload: Workload
    members: list[int]
    model: NamedModel | None = None  # of rows that are more than their dimensions say: the one that they name


def predict_table(predictor: Predictor, path: Path, workload: Workload, output_format: OutputFormat) -> Answer:
    """Predictions of every row of a table, in its order, with the row's own columns.

    Rows may name their own workload, number formats, device and runtime, which go before the given ones. Columns that
    hold predictions of an earlier run are made anew; columns that latmodel does not know are kept. A row that says that
    it is no plain Llama is the model that it names.

    Raises:
        UsageError: a row or column of the table is wrong; it is named.
        ProfileError: a row names a device or a runtime that is not known.
    """
    rows = read_table(path)
    for number, row in enumerate(rows, 1):
        for name, option in OTHER_WAYS.items():
            if row.get(name) not in (None, ""):
                raise UsageError(f"{path}: row {number}: {name} is of {option}, which --input has not: name the model")
    done: list[Row] = [{} for _ in rows]
    for group in _groups(rows, predictor, workload, path):
        some = [rows[i] for i in group.members]
        notes = run_notes(group.predictor, group.workload, group.model.notes if group.model else ())
        for i, row, prediction in zip(group.members, some, _predict(group, some, path), strict=True):
            done[i] = full_row({**row, **prediction.as_dict()}, group.predictor, _own(group.workload, row), notes)
    columns = [*SHAPE_COLUMNS, *prediction_columns(predictor.interval.level)]
    return Answer(render(done, output_format, columns), notes_of(done))


def _groups(rows: list[dict[str, Any]], predictor: Predictor, workload: Workload, path: Path) -> list[Group]:
    by_key: dict[tuple[Any, ...], list[int]] = {}
    for index, row in enumerate(rows):
        named = _named(row) if str(row.get(PLAIN_LLAMA)).lower() == "false" else None
        by_key.setdefault((*(row.get(name) for name in GROUPED), named), []).append(index)
    groups = []
    for key, members in by_key.items():
        target = key[:4]
        given = {name: value for name, value in zip(GROUPED[4:], key[4:-1], strict=True) if value is not None}
        try:
            model = None if key[-1] is None else _read(key[-1])
            work, known = Workload(**{**workload.model_dump(), **given}), _predictor(predictor, *target)
        except LatmodelError as error:
            # The same kind of error, so that its exit code stays.
            kind = UsageError if isinstance(error, UsageError) else ProfileError
            raise kind(f"{path}: row {members[0] + 1}: {error}") from None
        groups.append(Group(known, work if model is None else model.under(work), members, model))
    return groups


def _named(row: Mapping[str, Any]) -> str:
    """The model that a row names; empty where it names none."""
    return str(row.get("model") or row.get("name") or "")


def _read(name: str) -> NamedModel:
    try:
        return read_model(name)
    except UsageError:
        named = f"{name[:60]!r} is no model that can be read" if name else "the row names no model"
        raise UsageError(
            f"this model is more than its dimensions say, and {named}: give column model a preset or a config.json"
        ) from None


def _own(workload: Workload, row: Mapping[str, Any]) -> Workload:
    """The workload of a row, which may name parts of it."""
    return workload.model_copy(update={name: row[name] for name in WORK_COLUMNS if name in row})


def _predictor(given: Predictor, gpu: str | None, runtime: str | None, host: Any, attention: str | None) -> Predictor:
    """The given predictor, unless a row names another device, runtime, host or attention."""
    if gpu is None or gpu == given.profile.gpu:
        wanted = (runtime or given.runtime, host or given.host, attention or given.attention)
        if wanted == (given.runtime, given.host, given.attention):
            return given
        profile = with_runtime(given.profile, runtime)
        return Predictor(
            profile, wanted[0], given.interval.level, given.memory_bytes, host=wanted[1], attention=wanted[2]
        )
    return Predictor(load_profile(gpu, runtime), runtime, given.interval.level, host=host, attention=attention)


def _predict(group: Group, rows: Sequence[dict[str, Any]], path: Path) -> list[Prediction]:
    """The rows' predictions; what is left out of a row is filled in, in the row too."""
    if group.model is not None:
        return [group.predictor.predict(group.model.model, _own(group.workload, row)) for row in rows]
    work = group.workload.model_dump()
    try:
        for position, row in enumerate(rows):
            row.update(_filled(row, position))
        columns = {name: [row.get(name, work.get(name)) for row in rows] for name in (*CONFIG_FIELDS, *WORK_COLUMNS)}
        predictions = group.predictor.predict_many(columns, group.workload)
    except UsageError as error:
        raise UsageError(f"{path}: {_renumbered(str(error), group.members)}") from None
    return [predictions[i] for i in range(len(rows))]


def _filled(row: dict[str, Any], position: int) -> dict[str, Any]:
    for name in ("num_hidden_layers", "hidden_size"):
        if name not in row:
            raise UsageError(f"row {position}: column {name!r} is missing or empty")
    dimensions = {name: row[name] for name in CONFIG_FIELDS if name in row}
    for name, value in dimensions.items():
        if value == 0 and name != "tie_word_embeddings":
            raise UsageError(f"row {position}: {name} must be a whole number from 1 to {MAX_DIMENSION}")
    try:
        return fill_dimensions(dimensions)
    except UsageError as error:
        raise UsageError(f"row {position}: {error}") from None


def _renumbered(message: str, index: Sequence[int]) -> str:
    """Row numbers of a group as those of the file, counted from 1."""
    if not message.startswith("row "):
        return message
    number, rest = message[4:].split(":", 1)
    return f"row {index[int(number)] + 1}:{rest}"
