"""Which modules a checkpoint's list of names means: literal names, wildcards, a safe part of regular expressions."""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import cache
from typing import NamedTuple

MAX_PATTERNS = 2_000  # with wildcards; literal names are looked up and may be as many as they like
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d{1,5})(?:\.|$)")
_EXPERT = re.compile(r"(experts)\.(\d+)(?=\.|$)")
# A group that is repeated may take exponential time on a name that it nearly matches.
_REPEATED_GROUP = re.compile(r"\)[*+{?]")
PREFIXES = ("model", "model.language_model", "language_model.model", "backbone", "transformer", "")


class Names(NamedTuple):
    """Module names sorted by how they are matched."""

    literal: dict[int | None, frozenset[str]]  # what follows "layers.N.", by N; whole names under None
    patterns: tuple[re.Pattern[str], ...]
    not_understood: tuple[str, ...] = ()

    def in_layer(self, index: int) -> "LayerNames":
        """The part that concerns one layer; equal parts compare equal."""
        return LayerNames(self.literal.get(index, frozenset()) | self.literal.get(None, frozenset()), index)

    def matches(self, names: "LayerNames", paths: Iterable[str]) -> bool:
        """Whether one of the paths within a layer, "self_attn.q_proj", is meant.

        A literal name means the module of that name and all within it; it may be any run of the path's parts.
        """
        return any(
            _has_run(path, names.literal) or any(_full_match(one, path, names.layer) for one in self.patterns)
            for path in paths
        )

    def matches_module(self, *modules: str) -> bool:
        """The same for modules outside of the layers: "lm_head"."""
        literal = self.literal.get(None, frozenset())
        return any(one in literal or any(item.endswith("." + one) for item in literal) for one in modules) or any(
            pattern.match(prefix + one) for pattern in self.patterns for one in modules for prefix in ("", "model.")
        )


class LayerNames(NamedTuple):
    """The literal names that concern one layer. `layer` matters only where patterns are matched."""

    literal: frozenset[str]
    layer: int


def sorted_names(entries: Iterable[object]) -> Names:
    """Entries of an ignore list, each by the rule that its form asks for.

    "re:…" is a regular expression from the start of the name; a name with * or ? a wildcard; all others are literal.
    Experts are alike: only the first one's names are kept.
    """
    literal: dict[int | None, set[str]] = {}
    patterns: dict[str, re.Pattern[str]] = {}
    strange: list[str] = []
    for entry in entries:
        if not isinstance(entry, str) or not entry or len(entry) > 500:
            strange.append(str(entry)[:60])
        elif entry.startswith("re:") or "*" in entry or "?" in entry:
            compiled = _compiled(entry) if len(patterns) < MAX_PATTERNS else None
            if compiled is None:
                strange.append(entry[:60])
            else:
                patterns[entry] = compiled
        else:
            _add_literal(entry, literal)
    return Names(
        {index: frozenset(names) for index, names in literal.items()}, tuple(patterns.values()), tuple(strange[:5])
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


def _compiled(entry: str) -> re.Pattern[str] | None:
    text = entry[3:] if entry.startswith("re:") else translate(entry.strip("."))
    if _REPEATED_GROUP.search(text.replace(r"\Z", "")) or text.count("*") + text.count("+") > 8:
        return None
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return None


def _full_match(pattern: re.Pattern[str], path: str, index: int) -> bool:
    """Whether a pattern means a module, or one that it stands in, under any of the usual prefixes."""
    parts = path.split(".")
    for prefix in PREFIXES:
        start = f"{prefix}.layers.{index}" if prefix else f"layers.{index}"
        if any(pattern.match(".".join([start, *parts[:count]])) for count in range(len(parts) + 1)):
            return True
    return any(pattern.match(".".join(parts[start:end])) for start, end in _runs(len(parts)))


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
