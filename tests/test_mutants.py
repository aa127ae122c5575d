"""The script that plants faults: what it changes, that a seed gives one choice, and that the tests it names are there."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import mutants


def changes_of(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    (tmp_path / "one.py").write_text(source)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return {(one.before, one.after) for one in mutants.mutants("one.py")}


def test_one_fault_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = changes_of("y = max(a + 2, b) if not c < d else e * 3.0\n", tmp_path, monkeypatch)
    assert found == {
        ("max(a + 2, b)", "min(a + 2, b)"), ("a + 2", "a - 2"), ("2", "3"), ("not c < d", "+(c < d)"),
        ("c < d", "c >= d"), ("e * 3.0", "e / 3.0"), ("3.0", "4.6"),
    }  # fmt: skip


def test_every_mutant_is_python_and_differs() -> None:
    path = "latmodel/predict/timeline.py"
    source = ast.unparse(ast.parse((mutants.ROOT / path).read_text()))
    some = list(mutants.mutants(path))
    assert len(some) > 20
    for one in some:
        assert ast.unparse(ast.parse(one.text)) != source


def test_a_seed_gives_one_choice() -> None:
    path = ["latmodel/predict/timeline.py"]
    first, again, other = (mutants.chosen(path, 5, None, seed) for seed in (1, 1, 2))
    assert first == again != other and len(first) == 5
    assert len(mutants.chosen(path, 5, 3, 1)) == 3


def test_guards_are_there() -> None:
    for path, names in mutants.GUARDS.items():
        assert (mutants.ROOT / path).exists(), path
        assert all((mutants.ROOT / "tests" / f"test_{name}.py").exists() for name in names), path
