"""The script that plants faults: what it changes, that a seed gives one choice, and that the tests it names are there."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import mutant_rules
import mutants
from mutant_guards import EQUIVALENT, GUARDS


def changes_of(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    (tmp_path / "one.py").write_text(source)
    monkeypatch.setattr(mutant_rules, "ROOT", tmp_path)
    mutant_rules._parsed.cache_clear()
    return {(one.before, one.after) for one in mutant_rules.mutants("one.py")}


def test_one_fault_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = changes_of("y = max(a + 2, b) if not c < d else e * 3.0\n", tmp_path, monkeypatch)
    assert found == {
        ("max(a + 2, b)", "min(a + 2, b)"), ("a + 2", "a - 2"), ("2", "3"), ("not c < d", "+(c < d)"),
        ("c < d", "c >= d"), ("e * 3.0", "e / 3.0"), ("3.0", "4.6"),
    }  # fmt: skip


def test_what_does_nothing_at_run_time_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f(x: Literal[1] = 2) -> Literal[3]:\n    assert x > 4\n    y: Literal[5] = 6\n    return True\n"
    assert changes_of(source, tmp_path, monkeypatch) == {("2", "3"), ("6", "7")}


def test_every_mutant_is_python_and_differs_in_one_place() -> None:
    path = "latmodel/predict/timeline.py"
    source = ast.unparse(ast.parse((mutants.ROOT / path).read_text())).splitlines()
    some = mutant_rules.mutants(path)
    assert len(some) > 20
    for one in some:
        lines = one.text().splitlines()
        assert len(lines) == len(source)
        assert sum(new != old for new, old in zip(lines, source, strict=True)) == 1


def test_a_seed_gives_one_choice() -> None:
    path = ["latmodel/predict/timeline.py"]
    first, again, other = (mutants.chosen(path, 5, None, seed) for seed in (1, 1, 2))
    assert first == again != other and len(first) == 5
    assert len(mutants.chosen(path, 5, 3, 1)) == 3


def test_guards_are_there_and_equivalent_mutants_are_mutants() -> None:
    for path, names in GUARDS.items():
        assert (mutants.ROOT / path).exists(), path
        assert all((mutants.ROOT / "tests" / f"test_{name}.py").exists() for name in names), path
    for label in EQUIVALENT:
        path = label.partition(":")[0]
        assert [one.label for one in mutant_rules.mutants(path)].count(label) == 1, label


@pytest.mark.parametrize(("given", "survivors"), [(0, ["x * 2"]), (3, [])])
def test_a_mutant_that_no_test_notices_survives(
    given: int, survivors: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    test = f"from planted.one import twice\n\ndef test_one():\n    assert twice({given}) == {2 * given}\n"
    for name, text in (("planted/one.py", "def twice(x):\n    return x * 2\n"), ("tests/test_one.py", test)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutant_rules, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "COPIED", ("planted", "tests"))
    monkeypatch.setattr(mutants, "GUARDS", {"planted/one.py": ("one",)})
    mutant_rules._parsed.cache_clear()
    some = [one for one in mutant_rules.mutants("planted/one.py") if one.before == "x * 2"]
    done = mutants.judged(some, 1)
    assert [one.mutant.before for one in done if one.killer is None and one.mutant is not None] == survivors
    assert ("SURVIVED planted/one.py:2: x * 2 → x / 2" in capfd.readouterr().out) == bool(survivors)
    monkeypatch.setattr(mutants, "GUARDS", {"planted/one.py": ("none",)})
    with pytest.raises(SystemExit, match="fails without a fault"):
        mutants.judged(some, 1)


@pytest.fixture(autouse=True)
def _parsed_anew() -> Iterator[None]:
    yield
    mutant_rules._parsed.cache_clear()
