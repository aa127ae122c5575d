"""What JSON from outside must not hold: a name twice in one object, and numbers that are none."""

import json
from pathlib import Path
from typing import Any

from .errors import ProfileError


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs as a dictionary, for `json.loads(object_pairs_hook=…)`.

    Raises:
        ValueError: a name appears twice.
    """
    seen = dict(pairs)
    if len(seen) != len(pairs):
        known: set[str] = set()
        for name, _ in pairs:
            if name in known:
                raise ValueError(f"field {name[:80]!r} appears twice")
            known.add(name)
    return seen


def refuse_constant(text: str) -> float:
    """For `json.loads(parse_constant=…)`.

    Raises:
        ValueError: always; the text is NaN or an infinity.
    """
    raise ValueError(f"{text} is not a number")


def load_json(path: Path, limit: int) -> Any:
    """Plain JSON data of at most `limit` bytes, without duplicate keys, NaN or infinities.

    Raises:
        ProfileError: the file is missing, too large, or not such JSON.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}; see `latmodel profile list`") from None
    if len(raw) > limit:
        raise ProfileError(f"{path} is larger than {limit} bytes and is no profile; see `latmodel profile list`")
    try:
        return json.loads(raw, object_pairs_hook=no_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path} is not valid JSON: {str(error)[:120] or 'nested too deeply'}") from None
