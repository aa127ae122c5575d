"""The bounds of the packages, and what the script that tests them installs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import versions


def test_the_oldest_set_is_the_lower_bounds() -> None:
    oldest = versions.packages("oldest")
    assert "transformers==5.0" in oldest and "torch==2.13.0" in oldest and "numpy==1.26" in oldest
    assert all("==" in one for one in oldest if not one.startswith(("pytest", "hypothesis")))


def test_the_newest_set_leaves_the_choice_to_the_index() -> None:
    newest = versions.packages("newest")
    assert "transformers>=5.0,<6" in newest and "torch==2.13.0" in newest
    assert not any(one.startswith("torch>") for one in newest)


def test_a_requirement_without_a_bound_is_refused() -> None:
    assert versions.pinned_to_oldest("ray[tune]>=2.40,<3") == "ray==2.40"
    with pytest.raises(ValueError, match="no lower bound"):
        versions.pinned_to_oldest("numpy")


def test_every_file_of_tests_is_there() -> None:
    tests = Path(__file__).parent
    assert all((tests / f"test_{name}.py").exists() for name in (*versions.BOTH, *versions.NEWEST))
