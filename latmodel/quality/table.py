"""Strict reading of an ablation's CSV: layers, hidden, parameters, loss, group."""

import csv
import io
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..strict_json import read_text
from .shapes import Array

COLUMNS = ("layers", "hidden", "parameters", "loss", "group")
MAX_BYTES = 1_000_000
MAX_ROWS = 2_000
# Larger values are a slip of units (parameters in full, losses in nats).
MOST = {"layers": 1e4, "hidden": 1e6, "parameters": 1e14, "loss": 100.0}


@dataclass(frozen=True)
class Ablation:
    """One row per trained model; models of one `group` were trained alike and are of about one size.

    `parameters` counts those without embeddings; `loss` is in nats per token.
    """

    layers: Array
    hidden: Array
    parameters: Array
    loss: Array
    group: NDArray[np.str_]


def read_ablation(path: Path) -> Ablation:
    """Read a CSV with exactly the columns layers, hidden, parameters, loss, group, in any order.

    Raises:
        UsageError: unreadable, too large, wrong columns, or a bad cell (row and column named).
    """
    rows = list(itertools.islice(_rows(path), MAX_ROWS + 1))
    if len(rows) > MAX_ROWS:
        raise UsageError(f"{path}: more than {MAX_ROWS} rows; give one row per trained model")
    if not rows:
        raise UsageError(f"{path}: no data rows; give at least two models in one group")
    numbers = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in COLUMNS[:-1]}
    return Ablation(**numbers, group=np.array([row["group"] for row in rows], dtype=np.str_))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    reader = csv.reader(io.StringIO(read_text(path, MAX_BYTES), newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if header is None:
                header = _checked_header(path, cells)
            elif any(cell.strip() for cell in cells):
                yield _checked_row(path, reader.line_num, header, cells)
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num}: {error}; save it as plain CSV") from error
    if header is None:
        raise UsageError(f"{path}: empty; the first line must be {','.join(COLUMNS)}")


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    if missing or unknown or len(names) != len(COLUMNS):
        trouble = [f"missing {', '.join(missing)}"] if missing else []
        trouble += [f"unknown {', '.join(map(repr, unknown))[:200]}"] if unknown else []
        problem = "; ".join(trouble) or "a column twice"
        raise UsageError(f"{path}: line 1: columns must be {','.join(COLUMNS)} ({problem})")
    return names


def _checked_row(path: Path, line: int, header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise UsageError(f"{path}: line {line}: {len(cells)} cells where {len(header)} are needed")
    texts = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    row: dict[str, Any] = {name: _number(path, line, name, texts[name]) for name in MOST}
    row["group"] = texts["group"]
    if not texts["group"].isprintable() or not 0 < len(texts["group"]) <= 64:
        raise UsageError(f"{path}: line {line}, column group: give a name of 1 to 64 printable characters")
    return row


def _number(path: Path, line: int, name: str, text: str) -> float:
    where = f"{path}: line {line}, column {name}"
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{where}: {text[:40]!r} is not a number") from None
    if not math.isfinite(value) or not 0 < value <= MOST[name]:
        raise UsageError(f"{where}: {text[:40]} is outside 0 to {MOST[name]:g}")
    if name in ("layers", "hidden") and value != int(value):
        raise UsageError(f"{where}: {text[:40]} is not a whole number")
    return value
