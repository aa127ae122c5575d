"""The faults that `mutants.py` plants: one operator, comparison, constant, maximum or minimum of a file, or a `not`.

The rules are those of mutmut and Cosmic Ray. Assertions and annotations are left alone: neither does anything.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
CALLS = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One fault: where, what the expression was and becomes; `number` counts the faults of the file."""

    path: str
    line: int
    before: str
    after: str
    number: int

    @property
    def label(self) -> str:
        """For a list of equivalent ones."""
        return f"{self.path}:{self.before} → {self.after}"

    def text(self) -> str:
        """The whole file with it."""
        tree, places = _parsed(self.path)
        change = places[self.number][1]
        change.swap()
        text = ast.unparse(tree)
        change.swap()
        return text


class Change:
    """One attribute of a node, and what it becomes: `swap` does it, and undoes it when called again."""

    def __init__(self, node: ast.AST, name: str, value: object) -> None:
        self._node, self._name, self._value = node, name, value

    def swap(self) -> None:
        """Exchange what is there and what is not."""
        there = getattr(self._node, self._name)
        setattr(self._node, self._name, self._value)
        self._value = there


def mutants(path: str) -> list[Mutant]:
    """Every fault that the rules make in a file, in the order of its nodes."""
    found = []
    for number, (node, change) in enumerate(_parsed(path)[1]):
        before = ast.unparse(node)
        change.swap()
        after = ast.unparse(node)
        change.swap()
        if after != before:
            found.append(Mutant(path, getattr(node, "lineno", 0), before, after, number))
    return found


@cache
def _parsed(path: str) -> tuple[ast.Module, list[tuple[ast.AST, Change]]]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return tree, [(node, change) for node in _running(tree) for change in _changes(node)]


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it that does something at run time."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Assert):
                yield from _running(child)


def _changes(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        yield Change(node, "op", OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield Change(node, "ops", [OPERATORS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield Change(node, "func", ast.Name(CALLS[node.func.id], ast.Load()))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield Change(node, "op", ast.UAdd())
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield Change(node, "value", node.value + 1 if isinstance(node.value, int) else 1.5 * node.value + 0.1)
