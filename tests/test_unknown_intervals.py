"""An interval that cannot be had is null, empty or "unknown", and every format says why; so is a level that cannot."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from latmodel.cli.verbs import group
from latmodel.device.datasheets import datasheets
from latmodel.device.profile_file import write_profile
from latmodel.device.store import load_profile

WHY = "no interval, for no error on unseen rows is known"
FEW = "with 4 errors on unseen rows an interval holds at 80 %, not 90 %"
ENDS = [f"{name}_{end}" for name in ("prefill_s", "decode_s_per_token", "response_s") for end in ("low", "high")]


@pytest.fixture
def silent(tmp_path: Path) -> str:
    """A profile without errors on unseen rows."""
    return profile_with(tmp_path, {})


def profile_with(folder: Path, scores: dict[str, Any]) -> str:
    profile = load_profile("3090")
    parts = {name: part.model_copy(update={"conformal_scores": scores}) for name, part in profile.runtimes.items()}
    path = folder / "silent.json"
    write_profile(profile.model_copy(update={"runtimes": parts}), path)
    return str(path)


def said(*arguments: str) -> tuple[str, str]:
    """What goes to stdout, and to stderr."""
    done = CliRunner().invoke(group, list(arguments), env={"COLUMNS": "200"})
    assert done.exception is None, done.exception
    return done.stdout, done.stderr


VERBS = (
    ("predict", "80x576"),
    ("predict", "80x576", "--over", "batch=1:2"),
    ("compare", "80x576", "12x1024"),
    ("frontier", "--budget", "3s", "--rows", "3", "--hidden", "512:1024:256"),
    ("prune", "llama-7b", "--target", "1.2x"),
)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_json_has_null_and_the_reason(verb: tuple[str, ...], silent: str) -> None:
    found = json.loads(said(*verb, "--profile", silent, "--format", "json")[0])
    rows = found if isinstance(found, list) else [found]
    assert rows
    for row in rows:
        assert all(row[name] is None for name in ENDS if name in row)
        assert "response_s_low" in row
        assert any(WHY in note for note in row["notes"])


@pytest.mark.parametrize("verb", VERBS[:4], ids=lambda verb: verb[0])
def test_csv_has_empty_cells_and_the_reason(verb: tuple[str, ...], silent: str) -> None:
    rows = list(csv.DictReader(io.StringIO(said(*verb, "--profile", silent, "--format", "csv")[0])))
    assert rows
    for row in rows:
        assert {row[name] for name in ENDS if name in row} == {""}
        assert WHY in row["notes"]


@pytest.mark.parametrize("form", ["table", "md"])
@pytest.mark.parametrize("verb", VERBS[:4:3], ids=lambda verb: verb[0])
def test_tables_say_unknown_and_the_reason_stands_beside(verb: tuple[str, ...], form: str, silent: str) -> None:
    shown, beside = said(*verb, "--profile", silent, "--format", form)
    assert "(unknown)" in shown
    assert WHY in beside


def test_the_attainable_level_is_said_in_every_format(tmp_path: Path) -> None:
    path = profile_with(tmp_path, {"prefill": [0.1] * 4, "decode": [0.1] * 4})
    row = json.loads(said("predict", "80x576", "--profile", path, "--format", "json")[0])
    assert row["response_s_low"] < row["response_s"] < row["response_s_high"]
    assert any(FEW in note for note in row["notes"])
    assert FEW in said("predict", "80x576", "--profile", path, "--format", "csv")[0]
    assert FEW in said("predict", "80x576", "--profile", path)[1]
    # At a level that four errors can hold nothing is left to say.
    lower = said("predict", "80x576", "--profile", path, "--confidence", "0.8", "--format", "json")[0]
    assert not any("errors on unseen rows" in note for note in json.loads(lower)["notes"])


@pytest.mark.parametrize("kind", ["cuda", "rocm", "mps", "cpu"])
def test_errors_of_nvidias_kernels_are_printed_of_its_cards_alone(kind: str) -> None:
    card = next(card for card in datasheets() if card.kind == kind and "by data" not in card.name)
    shown = said("profile", "show", card.name)[0]
    if load_profile(card.name).quality.kind == "data-sheet":
        assert ("leave one chip out" in shown) == (kind == "cuda")


def test_a_cpu_by_its_data_sheet_has_no_interval() -> None:
    card = next(card for card in datasheets() if card.kind == "cpu")
    row = json.loads(said("predict", "12x384", "--gpu", card.name, "--format", "json")[0])
    assert all(row[name] is None for name in ENDS)
    assert any(WHY in note for note in row["notes"])
