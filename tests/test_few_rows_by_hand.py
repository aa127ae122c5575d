"""What a handful of times may say: thresholds of warnings and refusals, joined ranges and scores, by hand."""

import math
from typing import Any

import pytest
from calibration_support import case

from calibration.fit.few_rows import (
    _cause,
    _wide,
    check_against,
    is_usable,
    joined_ranges,
    joined_scores,
    merged_duplicates,
    shape_key,
)
from calibration.observations.record import Observation
from latmodel.device.profile import Coefficient, RuntimePart
from latmodel.errors import UsageError
from latmodel.laws.priors import RUNTIME_PRIORS


def row(seconds: float = 1.0, phase: str = "decode", **changes: Any) -> Observation:
    made = case("row", phase).observation("toy", "wall", seconds, 0.01, ())
    return made.model_copy(update={"num_hidden_layers": 4, **changes})


@pytest.mark.parametrize(
    ("first", "second", "noise", "contradicts"),
    [
        (1.0, 1.28, 0.01, False),  # log 0.247
        (1.0, 1.29, 0.01, True),  # log 0.255
        (1.29, 1.0, 0.01, True),
        (3.0, 3.7, 0.01, False),
        (1.0, 1.80, 0.10, False),  # six times the larger noise: 0.6, a factor of 1.82
        (1.0, 1.84, 0.10, True),
    ],
)
def test_two_times_of_one_run_agree_within_a_quarter_or_six_times_their_noise(
    first: float, second: float, noise: float, contradicts: bool
) -> None:
    both = [row(first, noise=noise), row(second, name="other")]
    for rows in (both, [both[1], both[0]]):
        if contradicts:
            with pytest.raises(UsageError, match=r"rows 1 and 2 .* remove it"):
                merged_duplicates(rows)
        else:
            assert merged_duplicates(rows) == (rows, [])


def test_a_repetition_is_told_with_both_places_and_a_third_time_is_kept() -> None:
    rows = [row(), row(2.0, num_hidden_layers=5), row(1.1, source="elsewhere"), row(name="")]
    kept, warnings = merged_duplicates(rows)
    assert kept == rows[:3]
    assert warnings == ["row 4 (4 x 128 decode) repeats row 1 to the digit: counted once"]


def test_flags_sources_and_names_tell_no_runs_apart_and_everything_else_does() -> None:
    for other in ({"phase": "prefill"}, {"batch_size": 2}, {"runtime": "x"}, {"num_hidden_layers": 5}):
        rows = [row(), row(9.0, **other)]
        assert merged_duplicates(rows) == (rows, [])
    with pytest.raises(UsageError, match="rows 1 and 2"):
        merged_duplicates([row(), row(9.0, flags=("held-out",), source="b", name="c", noise=0.02)])


@pytest.mark.parametrize(("factor", "refused"), [(29.0, False), (31.0, True), (1 / 29.0, False), (1 / 31.0, True)])
def test_thirty_times_the_profile_is_no_host(factor: float, refused: bool) -> None:
    logs = [math.log(factor)] * 3
    if refused:
        with pytest.raises(UsageError, match=f"times are {factor:.3g} times what this device"):
            check_against([row()] * 3, logs)
    else:
        (warning,) = check_against([row()] * 3, logs)
        assert warning.startswith(f"times are {factor:.2f} times what the profile leads to expect")


@pytest.mark.parametrize(("factor", "warned"), [(1.39, False), (1.41, True), (1 / 1.39, False), (1 / 1.41, True)])
def test_forty_percent_off_the_profile_is_worth_a_word(factor: float, warned: bool) -> None:
    found = check_against([row()] * 3, [math.log(factor)] * 3)
    assert [line[:9] for line in found] == (["times are"] if warned else [])


@pytest.mark.parametrize(
    ("factor", "noise", "outcome"),
    [
        (1.39, 0.01, ""), (1.41, 0.01, "took 1.41"), (1 / 1.41, 0.01, "took 0.71"),
        (1.48, 0.1, ""), (1.50, 0.1, "took 1.50"),  # four times the noise: exp(0.4) = 1.49
        (7.9, 0.01, "took 7.90"), (8.1, 0.01, "refused"), (1 / 8.1, 0.01, "refused"),
    ],
)  # fmt: skip
def test_one_row_against_the_others(factor: float, noise: float, outcome: str) -> None:
    rows, logs = [row(), row(), row(noise=noise)], [0.1, 0.1, 0.1 + math.log(factor)]
    if outcome == "refused":
        with pytest.raises(UsageError, match=rf"row 3 \(row\) is {factor:.3g} times what the other rows"):
            check_against(rows, logs)
    else:
        found = check_against(rows, logs)
        assert [line[: len("row 3 (row) ") + len(outcome)] for line in found] == (
            [f"row 3 (row) {outcome}"] if outcome else []
        )


@pytest.mark.parametrize(
    ("factor", "word"),
    [(1e3, "milliseconds"), (1.9e6, "microseconds"), (1e6 / 1.9, "microseconds"), (1e-3, "thousandths"), (60.0, "minutes"), (1 / 60.0, "minutes"),
     (1.9e3, "milliseconds"), (2.1e3, "another unit"), (1e3 / 1.9, "milliseconds"), (1e3 / 2.1, "another unit"),
     (31.0, "minutes"), (119.0, "minutes"), (1 / 31.0, "minutes"), (1 / 119.0, "minutes"), (121.0, "another unit"), (29.0, "another unit")],
)  # fmt: skip
def test_the_unit_is_guessed_within_a_factor_of_two(factor: float, word: str) -> None:
    assert word in _cause(factor)


def test_a_shape_is_its_dimensions_whatever_is_timed() -> None:
    assert shape_key(row()) == shape_key(row(9.0, "prefill", name="x", batch_size=7))
    for other in ({"vocab_size": 9}, {"head_dim": 32}, {"num_hidden_layers": 5}, {"config": "{}"}):
        assert shape_key(row()) != shape_key(row(**other))


def test_a_flag_is_what_stands_before_its_reason() -> None:
    assert is_usable(row(flags=("held-out", "slow:noisy")))
    assert not is_usable(row(flags=("held-out", "drifting:much")))


def part(scores: dict[str, list[float]] | None = None, **ranges: tuple[float, float]) -> RuntimePart:
    coefficients = {name: Coefficient(value=one.value, status="fixed") for name, one in RUNTIME_PRIORS.items()}
    return RuntimePart(
        implementation="torch", host="here", coefficients=coefficients, conformal_scores=scores or {}, ranges=ranges
    )  # type: ignore[arg-type]


def test_ranges_join_at_both_ends() -> None:
    """Rows of 128 wide with 4 and 9 blocks, prompts of 16 that end at 18."""
    rows = [row(), row(num_hidden_layers=9)]
    found = joined_ranges(part(hidden_size=(100.0, 120.0), num_hidden_layers=(6.0, 20.0), batch_size=(2.0, 8.0)), rows)
    assert found["hidden_size"] == (100.0, 128.0) and found["num_hidden_layers"] == (4.0, 20.0)
    assert found["batch_size"] == (1.0, 8.0) and found["prompt_tokens"] == (16.0, 18.0)
    assert "head_dim" not in found  # the profile does not say what it was
    known = joined_ranges(part(head_dim=(128.0, 128.0), cached_tokens=(0.0, 99.0)), rows)
    assert known["head_dim"] == (64.0, 128.0) and known["cached_tokens"] == (0.0, 99.0)
    assert joined_ranges(part(), rows)["head_dim"] == (64.0, 64.0)  # it has no ranges at all


def test_few_scores_stand_with_the_profile_s_none_of_which_is_smaller() -> None:
    assert _wide([0.1, 0.3], [0.2, 0.4]) == [0.1, 0.3, 0.3, 0.4]
    assert _wide([], [0.2, 0.1]) == [0.2, 0.1] and _wide([], []) == []
    assert _wide([0.1] * 8, [0.2]) == [0.1] * 8 + [0.2] and _wide([0.1] * 9, [0.2]) == [0.1] * 9
    # A profile may hold some hundreds: the largest are kept.
    assert _wide([0.0], [i / 1000 for i in range(1000)]) == [i / 1000 for i in range(600, 1000)]


def scored(before: RuntimePart | None, **counts: int) -> dict[str, list[float]]:
    """Scores joined with so many rows of a phase, each 0.5 off."""
    rows = [row(phase="decode").model_copy(update={"phase": phase}) for phase, n in counts.items() for _ in range(n)]
    return joined_scores(before, rows, [-0.5] * len(rows))


def test_phases_without_rows_keep_the_profile_s_and_responses_are_left_to_their_phases() -> None:
    before = part({"prefill": [0.1], "decode": [0.2], "response": [0.3]})
    assert scored(before, decode=1) == {"prefill": [0.1], "decode": [0.5, 0.5]}
    assert scored(before, prefill=1) == {"prefill": [0.5, 0.5], "decode": [0.2]}
    # Responses were measured, but are few: they are told by their phases where those were measured too.
    assert scored(before, decode=1, response=8) == {"prefill": [0.1], "decode": [0.5, 0.5]}
    assert scored(before, decode=1, response=9)["response"] == [0.5] * 9
    assert scored(before, response=2) == {"prefill": [0.1], "decode": [0.2], "response": [0.5, 0.5, 0.5]}
    assert joined_scores(before, [row()], None) == before.conformal_scores


def test_responses_that_no_profile_knows_stand_with_both_phases() -> None:
    before = part({"prefill": [0.1, 0.9], "decode": [0.7]})
    assert scored(before, response=1)["response"] == [0.5, 0.5, 0.7, 0.9]
    assert scored(part({"decode": [0.7]}), response=1)["response"] == [0.5, 0.7]
    assert scored(None, response=1) == {"response": [0.5]}
