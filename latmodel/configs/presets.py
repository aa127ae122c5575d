"""Named models with their published dimensions; each carries its source."""

import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError


class Preset(NamedTuple):
    """A published configuration, by the names of its `config.json`, and where it was published."""

    name: str
    config: dict[str, Any]
    source: str


@cache
def _all() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))
    return table


def names() -> list[str]:
    """Every preset, in the order of the file."""
    return list(_all())


def preset(name: str) -> Preset:
    """The preset of that name; case, spaces and underscores do not matter.

    Raises:
        UsageError: there is none; close matches are named.
    """
    key = "-".join(name.lower().replace("_", "-").split())
    found = _all().get(key)
    if found is None:
        close = get_close_matches(key, _all(), 3, 0.5)
        hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(list(_all())[:6])}, …"
        raise UsageError(f"no file and no preset {name[:80]!r}: {hint}; see `latmodel preset list`")
    return Preset(key, dict(found["config"]), found["source"])
