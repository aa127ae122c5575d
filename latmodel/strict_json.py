"""What JSON from outside must not hold: a name twice in one object, and numbers that are none."""

from typing import Any


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
