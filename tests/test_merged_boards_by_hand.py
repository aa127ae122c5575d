"""Boards of one card as one profile, number by number; tables of coefficients checked."""

import math
from typing import Any

import pytest
from search_toy import toy_predictor

from latmodel.device.coefficient import Coefficient, check_names, check_values
from latmodel.device.merge import LEAST_SPREAD, ODD, _distance, _mean, _pooled, merge, odd_boards
from latmodel.device.profile import RuntimePart
from latmodel.errors import ProfileError
from latmodel.laws.priors import OPTIONAL, Prior


def number(value: float, error: float = 0.1, status: Any = "fitted") -> Coefficient:
    return Coefficient(value=value, stderr_log=error, status=status)


def test_the_mean_of_boards_by_hand() -> None:
    """Equal errors of 0.1 around e^0 and e^1: mean e^0.5, scatter 50, so that 0.1 / √2 grows by √50."""
    found = _mean([number(1.0), number(math.e)])
    assert (found.value, found.stderr_log) == pytest.approx((math.exp(0.5), 0.5), rel=1e-3)
    alike = _mean([number(1.0, 0.0), number(1.0, 0.0), number(1.0, 0.0), number(1.0, 0.0)])
    assert (alike.value, alike.stderr_log) == (1.0, pytest.approx(LEAST_SPREAD / 2)) and LEAST_SPREAD == 0.02
    assert _mean([number(0.0, 0.3), number(1.0)]) == number(0.0, 0.3) and _mean([number(2.0), number(0.0)]) == number(
        2.0
    )
    three = _mean([number(1.0), number(1.0), number(math.exp(0.3))])
    assert (three.value, three.stderr_log) == pytest.approx(
        (math.exp(0.1), 0.1 / math.sqrt(3) * math.sqrt(3.0)), rel=2e-3
    )


def test_a_board_s_distance_is_in_standard_errors() -> None:
    ratio, sigmas = _distance(number(math.e, 0.3), [number(1.0, 0.4), number(1.0, 0.4)])
    assert ratio == pytest.approx(math.e) and sigmas == pytest.approx(
        1.0 / math.hypot(0.3, 0.4 / math.sqrt(2)), rel=1e-3
    )
    assert _distance(number(math.e, 0.0), [number(1.0, 0.0)] * 4)[1] == pytest.approx(1 / math.hypot(0.02, 0.02))
    for mine, other in (
        (number(0.0), number(1.0)),
        (number(1.0), number(0.0)),
        (number(2.0, status="fixed"), number(1.0)),
    ):
        assert _distance(mine, [other, other]) == (1.0, 0.0)
    assert _distance(number(2.0), [number(1.0)])[0] == pytest.approx(2.0) and ODD == 3.0


def test_a_term_that_one_of_the_profiles_lacks_is_in_none_that_is_merged() -> None:
    toy = toy_predictor().profile
    term = "pointwise.walked_s"
    table = {name: one for name, one in toy.device.coefficients["bfloat16"].items() if name != term}
    device = toy.device.model_copy(update={"coefficients": {"bfloat16": table}})
    old = toy.model_copy(update={"name": "old", "device": device})
    for pair in ([toy, old], [old, toy]):
        assert merge(pair, "both").device.coefficients["bfloat16"].keys() == table.keys()
        assert {row["board"] for row in odd_boards(pair)} == {"toy", "old"}
    assert term in merge([toy, toy], "both").device.coefficients["bfloat16"]


@pytest.mark.parametrize(("count", "step"), [(500, 1), (501, 2), (1000, 2), (1001, 3)])
def test_pooled_scores_are_thinned_from_the_largest_down(count: int, step: int) -> None:
    some = [float(n) for n in range(count)]
    found = _pooled([some[::2], some[1::2]])
    assert found == some[::-1][::step][::-1] and found[-1] == count - 1 and len(found) <= 500


def test_boards_of_one_kind_alone_are_merged() -> None:
    toy = toy_predictor().profile
    one, two = (toy.model_copy(update={"name": name}) for name in "ab")
    with pytest.raises(ProfileError, match="two profiles or more"):
        merge([one], "all")
    found = merge([one, two], "all")
    assert (found.name, found.provenance.source) == ("all", "2 profiles merged: a, b")
    assert found.runtimes["eager"].conformal_scores["decode"] == [0.1] * 40 and found.provenance.date == "2025-01-01"
    with pytest.raises(ProfileError, match="a and b differ in device: toy and x"):
        merge([one, two.model_copy(update={"gpu": "x"})], "all")
    long = two.model_copy(update={"gpu": "x" * 121})
    with pytest.raises(ProfileError, match=f"toy and {'x' * 120}…;"):
        merge([one, long], "all")
    with pytest.raises(ProfileError, match=f"toy and {'x' * 120};"):
        merge([one, two.model_copy(update={"gpu": "x" * 120})], "all")
    assert [row["odd"] for row in odd_boards([one, two])] == [False, False]


def test_a_merged_profile_is_the_first_s_with_the_last_date() -> None:
    toy = toy_predictor().profile
    first, second = (
        toy.model_copy(
            update={
                "name": name, "title": title, "provenance": toy.provenance.model_copy(update={"date": date, "rows": rows}),
            }
        )
        for name, title, date, rows in (("a", "One", "2025-03-01", "x" * 1990), ("b" * 1990, "Two", "2025-02-01", "y" * 20))
    )  # fmt: skip
    found = merge([first, second], "all")
    assert (found.title, found.provenance.date) == (
        "One",
        "2025-03-01",
    ) and found.provenance.rows == "x" * 1990 + "; " + "y" * 8
    assert len(found.provenance.source) == 2000 and found.provenance.source.startswith("2 profiles merged: a, b")
    assert (
        _mean([number(1.0, status="boundary"), number(1.0)]).status == "boundary"
        and Coefficient(value=1.0).stderr_log == 0.0
    )


KNOWN = {
    "a": Prior(1.0, 1.0, 0.5, 2.0, "m"),
    "b": Prior(1.0, 1.0, 0.5, 2.0, "m"),
    min(OPTIONAL): Prior(1.0, 1.0, 0.5, 2.0, "m"),
}


def test_a_table_has_every_name_and_values_in_range() -> None:
    check_names({"a": number(0.5), "b": number(2.0)}, KNOWN, "w")
    check_names({"a": number(0.0), "b": number(1.0), "c": number(1.0)}, KNOWN, "w", {"c": KNOWN["a"]})
    check_values({"a": number(1.0)}, KNOWN, "w")
    for table, word in (
        ({"a": number(1.0)}, "w.b is missing"), ({"a": number(1.0), "b": number(1.0), "c": number(1.0)}, "w.c is not a known"),
        ({"a": number(0.49), "b": number(1.0)}, "w.a = 0.49 is outside 0.5..2"), ({"a": number(1.0), "b": number(2.1)}, "w.b"),
        ({"a": number(1.0), "c": number(1.0)}, "w.c is not a known"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            check_names(table, KNOWN, "w")


def test_a_coefficient_is_a_number_that_is_not_negative_and_a_host_s_range_holds_one() -> None:
    for value in (0.0, 1e24):
        assert Coefficient(value=value).value == value
    for value in (-1e-9, 1.01e24, math.nan, math.inf):
        with pytest.raises(ValueError, match="value"):
            Coefficient(value=value)
    part = toy_predictor().profile.runtimes["eager"].model_dump()
    for good in ((1.0, 1.0), (1e-3, 1.0), (1.0, 1e3)):
        assert RuntimePart.model_validate({**part, "host_range": good}).host_range == good
    for bad in ((1.01, 1.0), (1.0, 0.99), (0.0, 1.0), (1.0, 1001.0)):
        with pytest.raises(ValueError, match="host_range"):
            RuntimePart.model_validate({**part, "host_range": bad})
