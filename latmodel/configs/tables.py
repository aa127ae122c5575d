"""Tables of architectures, CSV or JSON: what any verb writes can be read again."""

import csv
import io
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from ..errors import UsageError
from ..model.config import CONFIG_FIELDS
from ..strict_json import read_text, strict_loads

MAX_TABLE_BYTES = 100_000_000
TEXT_FIELDS = ("logits", "dtype", "gpu", "runtime", "weights", "kv_cache", "host", "attention")
WORK_FIELDS = ("batch_size", "prompt_tokens", "cached_tokens", "new_tokens", *TEXT_FIELDS)
KNOWN = (*CONFIG_FIELDS, *WORK_FIELDS)
NEAR = 0.82  # two names as alike as this are one misspelt; `num_layers` and `num_hidden_layers` are listed below
# Other names for a column → ours: read as if passed through they would silently do nothing.
MISNAMED = {
    "layers": "num_hidden_layers", "num_layers": "num_hidden_layers", "n_layers": "num_hidden_layers",
    "hidden": "hidden_size", "d_model": "hidden_size", "ffn": "intermediate_size", "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads", "vocab": "vocab_size", "tie_embeddings": "tie_word_embeddings",
    "batch": "batch_size", "prompt": "prompt_tokens", "generate": "new_tokens", "device": "gpu",
}  # fmt: skip

Row = dict[str, Any]


def read_table(path: Path) -> list[Row]:
    """Rows of a CSV or JSON file (a list, one object, or JSON Lines) of architectures.

    Dimensions, and the workload, device and runtime of each row where it has them, are checked; other columns are kept
    as they are.

    Raises:
        UsageError: the file cannot be read, a column is missing or has nearly the name of a known one, or a value is
            wrong; row and column named.
    """
    text = read_text(path, MAX_TABLE_BYTES)
    rows = _json_rows(text, path) if path.suffix in (".jsonl", ".json") else _csv_rows(text, path)
    if not rows:
        raise UsageError(f"{path} holds no rows")
    for name in dict.fromkeys(name for row in rows for name in row):
        meant = misspelt(name)
        if meant:
            raise UsageError(f"{path}: unknown column {name[:60]!r}: did you mean {meant!r}? Rename it")
    return rows


def misspelt(name: str) -> str | None:
    """The known column that a name was most likely meant to be; None for a known name and for one of its own."""
    if name in KNOWN:
        return None
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in MISNAMED or plain in KNOWN:
        return MISNAMED.get(plain, plain)
    return next(iter(get_close_matches(plain, KNOWN, 1, NEAR)), None)


def _csv_rows(text: str, path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = []
    try:
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise UsageError(f"{path}: row {number}: has another number of fields than the heading")
            given = {name: value for name, value in row.items() if value != "" or name not in KNOWN}
            rows.append(_checked(given, f"{path}: row {number}"))
    except csv.Error as error:
        raise UsageError(f"{path}: row {reader.line_num}: {error}") from None
    return rows


def _json_rows(text: str, path: Path) -> list[Row]:
    """Rows of a JSON list or object, or of one object a line."""
    if text.lstrip().startswith("["):
        listed = _parsed(text, f"{path}")
        objects = [(f"{path}: row {number}", row) for number, row in enumerate(listed, 1)]
    else:
        objects = _objects(text, path)
    return [_checked(row, where) for where, row in objects]


def _objects(text: str, path: Path) -> list[tuple[str, Any]]:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and lines[0][1].strip() == "{":  # one object over several lines, as `--format json` prints one model
        return [(f"{path}: row 1", _parsed(text, f"{path}"))]
    return [(f"{path}: row {number}", _parsed(line, f"{path}: row {number}")) for number, line in lines]


def _parsed(text: str, where: str) -> Any:
    try:
        return strict_loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {str(error)[:100]}") from None


def _checked(row: Any, where: str) -> Row:
    if not isinstance(row, Mapping):
        raise UsageError(f"{where}: not an object")
    return {
        name: _value(name, value, where) if name in KNOWN else value
        for name, value in row.items()
        if value is not None or name not in KNOWN
    }


def _value(name: str, value: Any, where: str) -> Any:
    """The value of a known column as pydantic reads it: 80, "80" and 80.0 are one number."""
    kind = _TEXT if name in TEXT_FIELDS else _TRUTH if name == "tie_word_embeddings" else _WHOLE
    try:
        return kind.adapter.validate_python(value)
    except ValidationError:
        raise UsageError(f"{where}: column {name!r}: {str(value)[:40]!r} is {kind.complaint}") from None


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # to pydantic true is 1
        raise ValueError("not a number")
    return value


class _Kind(NamedTuple):
    adapter: TypeAdapter[Any]
    complaint: str


_TEXT = _Kind(TypeAdapter(str), "not text")
_TRUTH = _Kind(TypeAdapter(bool), "neither true nor false")
_WHOLE = _Kind(TypeAdapter(Annotated[int, Field(ge=0, lt=10**12), BeforeValidator(_no_truth)]), "not a whole number")
