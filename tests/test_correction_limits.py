"""How a profile keeps a learned correction: what is taken up to its limits and what is refused, with the reason."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from latmodel.laws.correction_part import CorrectionPart, TablePart, check_family, corrections_of


def table_part(**changes: Any) -> TablePart:
    good = {"features": ["m", "n"], "knots": [[0.0, 1.0], [0.0, 2.0, 3.0]], "values": [0.0] * 6}
    return TablePart(**{**good, **changes})


def many_knots(number: int) -> list[float]:
    return [float(i) for i in range(number)]


FITS: dict[str, dict[str, Any]] = {
    "ends of knots": {"knots": [[-1.0, 40.0], [0.0, 1.0, 2.0]]}, "ends of values": {"values": [-2.0, 2.0] * 3},
    "four features": {"features": list("abcd"), "knots": [[0.0, 1.0]] * 4, "values": [0.0] * 16},
    "forty knots": {"features": ["m"], "knots": [many_knots(40)], "values": [0.0] * 40},
    "five thousand values": {"features": list("abcd"), "knots": [many_knots(n) for n in (10, 10, 10, 5)], "values": [0.0] * 5000},
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a knot below": ({"knots": [[-1.01, 1.0], [0.0, 1.0, 2.0]]}, "greater than or equal to -1"),
    "a knot above": ({"knots": [[0.0, 40.01], [0.0, 1.0, 2.0]]}, "less than or equal to 40"),
    "no number": ({"knots": [[0.0, math.nan], [0.0, 1.0, 2.0]]}, "finite"),
    "a value below": ({"values": [-2.01] * 6}, "greater than or equal to -2"),
    "a value above": ({"values": [2.01] * 6}, "less than or equal to 2"),
    "five features": ({"features": list("abcde"), "knots": [[0.0, 1.0]] * 5, "values": [0.0] * 32}, "at most 4"),
    "no features": ({"features": [], "knots": [], "values": [0.0]}, "at least 1"),
    "41 knots": ({"features": ["m"], "knots": [many_knots(41)], "values": [0.0] * 41}, "at most 40"),
    "one knot": ({"features": ["m"], "knots": [[0.0]], "values": [0.0]}, "at least 2"),
    "too many values": ({"values": [0.0] * 5001}, "at most 5000"),
    "knots of no feature": ({"features": ["m"]}, "one list of knots for each feature"),
    "a feature twice": ({"features": ["m", "m"]}, "one list of knots for each feature"),
    "a knot twice": ({"knots": [[0.0, 0.0], [0.0, 1.0, 2.0]]}, "must rise"),
    "a value too few": ({"values": [0.0] * 5}, "one value for each combination"),
}


@pytest.mark.parametrize("changes", FITS.values(), ids=FITS)
def test_tables_up_to_their_limits_are_taken(changes: dict[str, Any]) -> None:
    assert table_part(**changes).values


@pytest.mark.parametrize("name", REFUSED)
def test_tables_beyond_their_limits_are_refused(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(ValidationError, match=message):
        table_part(**changes)


PART: dict[str, Any] = {"tables": [table_part(features=["tokens", "span"])], "lowest": {"tokens": 0.0, "span": 1.0},
                        "highest": {"tokens": 0.0, "span": 2.0}}  # fmt: skip
NO_FAMILY: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown feature": ({"tables": [table_part()]}, "no feature 'm'; known: tokens, span"),
    "an unknown range": ({"lowest": {"tokens": 0.0, "span": 1.0, "x": 0.0}}, "no feature 'x'"),
    "a range without its end": ({"highest": {"tokens": 0.0}}, "needs a lowest and a highest"),
    "ends of another": ({"lowest": {"tokens": 0.0}}, "needs a lowest and a highest"),
    "a feature without a range": ({"lowest": {"span": 1.0}, "highest": {"span": 2.0}}, "needs a lowest and a highest"),
    "upside down": ({"highest": {"tokens": 0.0, "span": 0.99}}, "a highest is below its lowest"),
}


@pytest.mark.parametrize("name", NO_FAMILY)
def test_a_family_needs_its_features_and_their_ranges(name: str) -> None:
    check_family("prefill", CorrectionPart(**PART))
    changes, message = NO_FAMILY[name]
    with pytest.raises(ValueError, match=message):
        check_family("prefill", CorrectionPart(**{**PART, **changes}))


def test_products_have_one_table_and_ten_are_most() -> None:
    ends = dict.fromkeys("mnk", 0.0), dict.fromkeys("mnk", 2.0)
    cube = table_part(features=["m", "n", "k"], knots=[[0.0, 1.0]] * 3, values=[0.0] * 8)
    check_family("gemm", CorrectionPart(tables=[cube], lowest=ends[0], highest=ends[1]))
    for tables in ([table_part()], [cube, cube]):
        with pytest.raises(ValueError, match="one table of m, n, k"):
            check_family("gemm", CorrectionPart(tables=tables, lowest=ends[0], highest=ends[1]))
    assert len(CorrectionPart(tables=[cube] * 10, lowest={}, highest={}).tables) == 10
    for tables in ([], [cube] * 11):
        with pytest.raises(ValidationError, match="at (least|most)"):
            CorrectionPart(tables=tables, lowest={}, highest={})


def test_the_families_asked_for_are_given_as_arrays() -> None:
    part = CorrectionPart(tables=[table_part(features=["tokens", "span"], values=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5])],
                          lowest={"tokens": 0.0}, highest={"tokens": 2.0})  # fmt: skip
    found = corrections_of({"prefill": part, "decode": part}, ["prefill", "gemm"])
    assert set(found) == {"prefill"}
    (table,) = found["prefill"].tables
    assert table.values.tolist() == [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]
    assert [knots.tolist() for knots in table.knots] == [[0.0, 1.0], [0.0, 2.0, 3.0]]
    assert (found["prefill"].lowest, found["prefill"].highest) == ({"tokens": 0.0}, {"tokens": 2.0})
