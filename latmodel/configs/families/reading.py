"""`config.json` as plain data: size, nesting and kind checked before anything is made of it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...strict_json import no_duplicates, read_regular

MAX_BYTES = 8_000_000  # lists of modules that are left unquantised may be as long
MAX_CONTAINERS = 100_000  # lists and objects, each of which takes tens of times its two characters


def plain_data(source: str | os.PathLike[str] | Mapping[str, Any] | Any) -> dict[str, Any]:
    """The configuration as a dictionary, from a path, a mapping, or an object with `to_dict` (`PretrainedConfig`).

    Raises:
        UsageError: it cannot be read, is too large, too deep or not a JSON object.
    """
    if isinstance(source, str | os.PathLike):
        return _file(Path(source))
    if hasattr(source, "to_dict"):
        source = source.to_dict()
    if not isinstance(source, Mapping):
        raise UsageError(f"config is a {type(source).__name__}: give a path, a dictionary or a PretrainedConfig")
    return {str(key): value for key, value in source.items()}


def _file(path: Path) -> dict[str, Any]:
    """The file, with the quantisation that ModelOpt writes into one beside it."""
    where = path / "config.json" if path.is_dir() else path
    data = parse(_read(where), str(where))
    if where.name.endswith("config.json") and "quantization_config" not in data:
        beside = where.with_name(where.name.removesuffix("config.json") + "hf_quant_config.json")
        if beside.is_file():
            data["quantization_config"] = parse(_read(beside), str(beside))
    return data


def _read(where: Path) -> bytes:
    try:
        return read_regular(where, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from None


def parse(raw: bytes, where: str) -> dict[str, Any]:
    """JSON text as a dictionary.

    Raises:
        UsageError: too large, too deep, not JSON, or not an object.
    """
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{where} is larger than {MAX_BYTES} bytes and is no config.json")
    if raw.count(b"{") + raw.count(b"[") > MAX_CONTAINERS:
        raise UsageError(f"{where} holds more than {MAX_CONTAINERS} lists and objects and is no config.json")
    try:
        data = json.loads(raw, object_pairs_hook=no_duplicates)
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply to be a config.json") from None
    except ValueError as error:
        raise UsageError(f"{where} is not valid JSON: {str(error)[:120]}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{where} holds a JSON {type(data).__name__}, not an object; give a model's config.json")
    return data
