"""From what is typed (a config file, a preset, a few dimensions, a table) to architectures."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..model.config import CONFIG_FIELDS, ModelConfig

MAX_TABLE_BYTES = 100_000_000
WORK_FIELDS = ("batch_size", "prompt_tokens", "new_tokens", "logits", "dtype", "runtime")
_TEXTS = ("logits", "dtype", "runtime")


def shape_config(
    layers: int,
    hidden: int,
    *,
    ffn: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    vocab: int | None = None,
    tie: bool = True,
) -> ModelConfig:
    """A Llama-style model from its depth and width; what is left out is filled in as in the published study.

    FFN of 8/3 × hidden (up to a multiple of 64), heads of 64, groups of 4, 3, 2 or 1 queries a key, 65536 tied tokens.

    Raises:
        UsageError: the dimensions do not divide as they must.
    """
    if heads is None:
        head_dim = head_dim or 64
        if hidden % head_dim:
            raise UsageError(f"hidden {hidden} is not divisible by head_dim {head_dim}; give --heads or --head-dim")
        heads = hidden // head_dim
    if head_dim is None:
        if hidden % heads:
            raise UsageError(f"hidden {hidden} is not divisible by {heads} heads; give --head-dim")
        head_dim = hidden // heads
    if kv_heads is None:
        kv_heads = heads // next(group for group in (4, 3, 2, 1) if heads % group == 0)
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden,
        intermediate_size=ffn or math.ceil(hidden * 8 / 3 / 64 - 1e-9) * 64,
        num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_dim,
        vocab_size=vocab or 65536, tie_word_embeddings=tie,
    )  # fmt: skip


def config_dict(config: ModelConfig) -> dict[str, Any]:
    """The dimensions by their Hugging Face names."""
    return {name: getattr(config, name) for name in CONFIG_FIELDS}


def read_table(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or JSON Lines file of architectures: dimensions, and optionally the work asked of each.

    Raises:
        UsageError: the file cannot be read, a column is missing or unknown, or a value is wrong; row and column named.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_TABLE_BYTES} bytes; split it")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    rows = _json_lines(text, path) if path.suffix in (".jsonl", ".json") else _csv_rows(text, path)
    if not rows:
        raise UsageError(f"{path} holds no rows")
    for number, row in enumerate(rows, 1):
        unknown = sorted(row.keys() - {*CONFIG_FIELDS, *WORK_FIELDS})
        if unknown:
            known = ", ".join((*CONFIG_FIELDS, *WORK_FIELDS))
            raise UsageError(f"{path}: row {number}: unknown column {unknown[0]!r}; known: {known}")
    return rows


def _csv_rows(text: str, path: Path) -> list[dict[str, Any]]:
    reader = csv.DictReader(text.splitlines())
    rows = []
    try:
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise UsageError(f"{path}: row {number}: has another number of fields than the heading")
            rows.append(
                {name: _cell(name, value, f"{path}: row {number}") for name, value in row.items() if value != ""}
            )
    except csv.Error as error:
        raise UsageError(f"{path}: row {reader.line_num}: {error}") from None
    return rows


def _cell(name: str, text: str, where: str) -> Any:
    if name in _TEXTS or name not in (*CONFIG_FIELDS, *WORK_FIELDS):  # unknown columns are refused later, by name
        return text
    if name == "tie_word_embeddings":
        if text.lower() in ("true", "1", "false", "0"):
            return text.lower() in ("true", "1")
        raise UsageError(f"{where}: column {name!r}: {text[:40]!r} is neither true nor false")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise UsageError(f"{where}: column {name!r}: {text[:40]!r} is not a whole number")
    return int(text)


def _json_lines(text: str, path: Path) -> list[dict[str, Any]]:
    from ..strict_json import no_duplicates, refuse_constant

    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=no_duplicates, parse_constant=refuse_constant)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: row {number}: not JSON: {str(error)[:100]}") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}: row {number}: not an object")
        given = {name: value for name, value in row.items() if value is not None}
        for name, value in given.items():
            if not _fits(name, value):
                raise UsageError(f"{path}: row {number}: column {name!r}: {str(value)[:40]!r} is not {_kind(name)}")
        rows.append(given)
    return rows


def _fits(name: str, value: Any) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "tie_word_embeddings":
        return isinstance(value, bool)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return name not in (*CONFIG_FIELDS, *WORK_FIELDS) or (whole and not isinstance(value, bool) and abs(value) < 1e12)


def _kind(name: str) -> str:
    return "text" if name in _TEXTS else "true or false" if name == "tie_word_embeddings" else "a whole number"
