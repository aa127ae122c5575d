"""Tables of architectures, CSV or JSON: what any verb writes can be read again."""

import csv
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..model.config import CONFIG_FIELDS
from ..strict_json import read_regular, strict_loads

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
    try:
        raw = read_regular(path, MAX_TABLE_BYTES)
        if len(raw) > MAX_TABLE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_TABLE_BYTES} bytes; split it")
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
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
    reader = csv.DictReader(text.splitlines())
    rows = []
    try:
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise UsageError(f"{path}: row {number}: has another number of fields than the heading")
            rows.append(
                {
                    name: _cell(name, value, f"{path}: row {number}")
                    for name, value in row.items()
                    if value != "" or name not in KNOWN
                }
            )
    except csv.Error as error:
        raise UsageError(f"{path}: row {reader.line_num}: {error}") from None
    return rows


def _cell(name: str, text: str, where: str) -> Any:
    if name in TEXT_FIELDS or name not in KNOWN:
        return text
    if name == "tie_word_embeddings":
        if text.lower() in ("true", "1", "false", "0"):
            return text.lower() in ("true", "1")
        raise UsageError(f"{where}: column {name!r}: {text[:40]!r} is neither true nor false")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise UsageError(f"{where}: column {name!r}: {text[:40]!r} is not a whole number")
    return int(text)


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
    given = {name: value for name, value in row.items() if value is not None or name not in KNOWN}
    for name, value in given.items():
        if not _fits(name, value):
            raise UsageError(f"{where}: column {name!r}: {str(value)[:40]!r} is not {_kind(name)}")
    return given


def _fits(name: str, value: Any) -> bool:
    if name in TEXT_FIELDS:
        return isinstance(value, str)
    if name == "tie_word_embeddings":
        return isinstance(value, bool)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return name not in KNOWN or (whole and not isinstance(value, bool) and abs(value) < 1e12)


def _kind(name: str) -> str:
    return "text" if name in TEXT_FIELDS else "true or false" if name == "tie_word_embeddings" else "a whole number"
