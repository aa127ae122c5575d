"""Which modules a checkpoint's list of names means: literal names, wildcards, a safe part of regular expressions."""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import cache
from typing import NamedTuple

MAX_PATTERNS = 600  # with wildcards; literal names are looked up and may be as many as they like
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d{1,5})(?:\.|$)")
_EXPERT = re.compile(r"(experts)\.(\d+)(?=\.|$)")
# A group that is repeated may take exponential time on a name that it nearly matches.
_REPEATED_GROUP = re.compile(r"\)[*+{?]")
_REPEATS = re.compile(r"[*+{]")
PREFIXES = ("model.", "model.language_model.", "language_model.model.", "backbone.", "transformer.", "")
MAX_NAME = 500  # characters of one entry


class Names(NamedTuple):
    """Module names sorted by how they are matched. Of each, those with a layer's number N stand under N."""

    literal: dict[int | None, frozenset[str]]  # what follows "layers.N.", or whole names
    patterns: dict[int | None, re.Pattern[str]]
    by_number: bool = False  # a pattern for all layers may tell them apart
    not_understood: tuple[str, ...] = ()

    def in_layer(self, index: int) -> "LayerNames":
        """The part that concerns one layer; equal parts compare equal."""
        literal = self.literal.get(index, frozenset()) | self.literal.get(None, frozenset())
        return LayerNames(literal, index if self.by_number or index in self.patterns else None)

    def matches(self, names: "LayerNames", paths: Iterable[str]) -> bool:
        """Whether one of the paths within a layer, "self_attn.q_proj", is meant.

        A literal name means the module of that name and all within it; it may be any run of the path's parts.
        """
        own = [one for one in (self.patterns.get(None), self.patterns.get(names.layer)) if one is not None]
        starts = [f"{prefix}layers.{names.layer or 0}." for prefix in PREFIXES] if own else []
        return any(
            _has_run(path, names.literal) or any(one.match(start + path) for one in own for start in starts)
            for path in paths
        )


class LayerNames(NamedTuple):
    """What concerns one layer: literal names, and its number where patterns depend on it."""

    literal: frozenset[str]
    layer: int | None


def sorted_names(entries: Iterable[object]) -> Names:
    """Entries of an ignore list, each by the rule that its form asks for.

    "re:…" is a regular expression from the start of the name; a name with * or ? a wildcard; all others are literal.
    Experts are alike: only the first one's names are kept.
    """
    literal: dict[int | None, set[str]] = {}
    patterns: dict[int | None, dict[str, None]] = {}
    strange: list[str] = []
    for entry in entries:
        if not isinstance(entry, str) or not entry or len(entry) > MAX_NAME:
            strange.append(str(entry)[:60])
        elif not (entry.startswith("re:") or "*" in entry or "?" in entry):
            _add_literal(entry, literal)
        elif (text := _expression(entry)) is None or sum(map(len, patterns.values())) >= MAX_PATTERNS:
            strange.append(entry[:60])
        else:
            number = _LAYER.search(entry)
            patterns.setdefault(None if number is None else int(number[1]), {})[text] = None
    every = patterns.get(None, {})
    return Names(
        {index: frozenset(names) for index, names in literal.items()},
        {index: re.compile("|".join(texts)) for index, texts in patterns.items()},
        any(character.isdigit() for text in every for character in text),
        tuple(strange[:5]),
    )


def _add_literal(entry: str, literal: dict[int | None, set[str]]) -> None:
    expert = _EXPERT.search(entry)
    if expert is not None and int(expert[2]):
        return
    found = _LAYER.search(entry)
    if found is None:
        literal.setdefault(None, set()).add(entry.strip("."))
    else:
        literal.setdefault(int(found[1]), set()).add(entry[found.end() :])


def _expression(entry: str) -> str | None:
    """A wildcard or a "re:…" as a regular expression of a whole name or of the module that it stands in.

    None where it is no such expression, or one that may take exponential time.
    """
    if not entry.startswith("re:"):
        inside = translate(entry.strip(".")).removeprefix("(?s:").removesuffix(r")\Z")
        return None if len(_REPEATS.findall(inside)) > 8 else rf"(?:(?:.*\.)?{inside}(?:\..*)?\Z)"
    text = f"(?:{entry[3:]})"
    if _REPEATED_GROUP.search(text) or len(_REPEATS.findall(text)) > 8:
        return None
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return None
    return text


@cache
def _runs(count: int) -> tuple[tuple[int, int], ...]:
    return tuple((start, end) for start in range(count) for end in range(start + 1, count + 1))


def _has_run(path: str, literal: frozenset[str]) -> bool:
    if not literal:
        return False
    if "" in literal:  # the whole layer is named
        return True
    parts = path.split(".")
    return any(".".join(parts[start:end]) in literal for start, end in _runs(len(parts)))
