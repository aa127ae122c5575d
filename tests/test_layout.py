"""The house: folders in the order that data flows, no import circle, few modules in a folder, no long file."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from latmodel.model.layers.registry import KINDS, layer_kind

ROOT = Path(__file__).parent.parent
PACKAGES = ("latmodel", "calibration")
# A module imports only from its own folder and from those to its left.
ORDER = {
    "latmodel": (
        "model", "runtimes", "laws", "device", "configs", "predict", "quality", "search", "pruning", "report", "cli",
    ),
    "calibration": (
        "observations", "measure", "engines", "devices", "fit", "adaptive", "sources", "published", "verify", "verbs",
    ),
}  # fmt: skip
BASE = {"arrays", "units", "errors", "strict_json", "version"}  # the top of latmodel that all may import
ENTRANCES = {"__init__", "__main__", "torch"}  # the top that imports from everywhere
LONGEST, TOP, FOLDER = 300, 8, 12


@cache
def modules() -> dict[str, Path]:
    """Dotted name → file of every module of both packages."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(name: str, path: Path) -> Iterator[str]:
    """Modules of the packages that a module imports anywhere: in functions and under `TYPE_CHECKING` too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules() else base


@cache
def graph() -> dict[str, set[str]]:
    """Module → modules of the packages that it imports."""
    return {
        name: {one for one in imported(name, path) if one in modules()} - {name} for name, path in modules().items()
    }


def test_no_import_circle() -> None:
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")
    assert len(order) == len(modules()) > 100


def rank(name: str) -> int:
    """Where a module stands: 0 the base, then the folders of its package from left to right, then the entrances."""
    package, *rest = name.split(".")
    folders = ORDER[package]
    if not rest:
        return len(folders) + 1
    if package == "latmodel" and len(rest) == 1 and modules()[name].parent == ROOT / package:
        return 0 if rest[0] in BASE else len(folders) + 1
    return 1 + folders.index(rest[0])


def test_a_module_imports_only_what_stands_to_its_left() -> None:
    wrong = [
        f"{name} → {other}"
        for name, others in graph().items()
        for other in others
        if name.split(".")[0] == other.split(".")[0] and rank(other) > rank(name)
    ]
    assert wrong == []


def test_latmodel_imports_calibration_nowhere() -> None:
    assert [
        n
        for n, others in graph().items()
        if n.startswith("latmodel") and any(o.split(".")[0] == "calibration" for o in others)
    ] == []


def test_every_folder_has_its_place_in_the_order() -> None:
    for package, order in ORDER.items():
        folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert folders == set(order)


def test_the_top_holds_nothing_else() -> None:
    top = {path.stem for path in (ROOT / "latmodel").glob("*.py")}
    assert top == BASE | ENTRANCES
    assert len(top) <= TOP
    assert {path.stem for path in (ROOT / "calibration").glob("*.py")} == {"__init__"}


def test_no_folder_of_calibration_is_crowded() -> None:
    count = Counter(path.parent for name, path in modules().items() if name.startswith("calibration."))
    assert {folder.name: n for folder, n in count.items() if n - 1 > FOLDER} == {}  # its __init__ apart


def test_no_file_is_long() -> None:
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules().items()}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}


def test_the_walk_sees_every_kind_of_import(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom ..arrays import Array\nif TYPE_CHECKING:\n    from . import profile\n"
        "def f():\n    import latmodel.units\n    from ..model.layers import experts\n"
    )
    seen = set(imported("latmodel.device.some", path))
    assert {"latmodel.arrays", "latmodel.device.profile", "latmodel.units", "latmodel.model.layers.experts"} <= seen


def test_every_kind_of_layer_is_registered() -> None:
    # A profile that was fitted on a kind which is not in the registry could not be written.
    named = {
        node.name
        for path in (ROOT / "latmodel/model/layers").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in ("Layer", "Recurrent") for base in node.bases)
    }
    assert named - {"Recurrent"} == set(KINDS)
    assert [name for name in KINDS if layer_kind(name).__name__ != name] == []
