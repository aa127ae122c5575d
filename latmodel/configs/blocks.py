"""Blocks and their scores from files: what `latmodel layers` lets each layer pick from."""

import csv
import io
import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from ..model.architecture import Block
from ..model.layers.layer import Layer
from ..model.layers.registry import KINDS, layer_kind
from ..strict_json import read_text, strict_loads

MAX_BYTES = 10_000_000
PLACES = ("attention", "feed_forward")


def read_blocks(path: Path) -> dict[str, Block]:
    """Name → block, from a JSON list of `{"name", "attention", "feed_forward"}`.

    A layer is an object with its `kind` (a name of `model.layers.registry`) and the fields of that kind; a place that
    is left out or null holds none, and a block with neither is a layer left out.

    Raises:
        UsageError: the file cannot be read, is no such list, or a field is wrong; the block and the field are named.
    """
    text = read_text(path, MAX_BYTES)
    try:
        listed = strict_loads(text)
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {str(error)[:100]}") from None
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{path}: give a list of blocks, each with a name, an attention and a feed_forward")
    blocks: dict[str, Block] = {}
    for number, given in enumerate(listed, 1):
        where = f"{path}: block {number}"
        if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not given["name"]:
            raise UsageError(f"{where}: give it a name")
        unknown = sorted(given.keys() - {"name", *PLACES})
        if unknown or given["name"] in blocks:
            problem = f"unknown field {unknown[0]!r}" if unknown else f"a second block {given['name'][:40]!r}"
            raise UsageError(f"{where}: {problem}")
        layers = {place: _layer(given.get(place), f"{where}: {place}") for place in PLACES}
        blocks[given["name"]] = Block(layers["attention"], layers["feed_forward"])
    return blocks


def _layer(given: Any, where: str) -> Layer | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("kind") not in KINDS:
        raise UsageError(f"{where}: give a kind out of {', '.join(KINDS)}")
    kind = layer_kind(given["kind"])
    known = {one.name: one for one in fields(kind) if one.init}
    values = {name: value for name, value in given.items() if name != "kind"}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{where}: {given['kind']} has no field {name[:40]!r}; it has {', '.join(known)}")
        if not isinstance(value, bool | str | type(None)) and not _is_size(value):
            raise UsageError(f"{where}: {name} {str(value)[:40]!r} is not a number from 0 to 1e7")
    needed = [name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise UsageError(f"{where}: {given['kind']} needs {', '.join(missing)}")
    sizes = {n: float(v) if _is_size(v) and not isinstance(v, bool) else v for n, v in values.items()}
    return kind(**sizes)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1e7


def read_scores(path: Path, names: list[str]) -> Array:
    """[layers, blocks] from a CSV with a column for each block, in any order, and a row for each layer.

    An empty cell forbids that block at that layer.

    Raises:
        UsageError: the file cannot be read, its columns are not the blocks, or a cell is no number; row and column
        named.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, MAX_BYTES), newline=""))
    columns = reader.fieldnames or []
    if sorted(columns) != sorted(names):
        odd = sorted(set(columns) ^ set(names)) or ["a column twice"]
        raise UsageError(f"{path}: columns must be the names of the blocks; not in both: {', '.join(odd)[:200]}")
    rows = [
        [_score(row[name], f"{path}: row {number}, column {name}") for name in names]
        for number, row in enumerate(reader, 1)
    ]
    if not rows:
        raise UsageError(f"{path} holds no rows; give one a layer")
    return np.array(rows, dtype=np.float64)


def _score(text: str | None, where: str) -> float:
    if text is None:
        raise UsageError(f"{where}: the row is shorter than the heading")
    if not text.strip():
        return -math.inf
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {text[:40]!r} is not a number")
    return value
