"""Boards of one device as one profile: weighted means by hand, the odd board found, like with like only."""

import math

import pytest
from search_toy import toy_predictor

from latmodel.device.merge import merge, odd_boards
from latmodel.device.profile import Coefficient, Profile
from latmodel.device.profile_file import read_profile, write_profile
from latmodel.errors import ProfileError

NAME = "gemm.compute_efficiency"


def board(name: str, value: float, error: float = 0.1) -> Profile:
    profile = toy_predictor().profile
    dtype, table = next(iter(profile.device.coefficients.items()))
    changed = {**table, NAME: Coefficient(value=value, stderr_log=error, status="fitted")}
    device = profile.device.model_copy(update={"coefficients": {dtype: changed}})
    return profile.model_copy(update={"name": name, "device": device})


def merged_coefficient(*boards: Profile) -> Coefficient:
    return next(iter(merge(boards, "all").device.coefficients.values()))[NAME]


def test_surer_boards_weigh_more() -> None:
    # Errors 0.1 and 0.2: weights 100 and 25, so the mean log is (4 · ln 0.8 + ln 0.4) / 5; error 125 ** -0.5, widened by
    # the scatter: 100 · (ln 0.8 − mean)² + 25 · (ln 0.4 − mean)² over one degree of freedom.
    found = merged_coefficient(board("a", 0.8, 0.1), board("b", 0.4, 0.2))
    mean = (4 * math.log(0.8) + math.log(0.4)) / 5
    scatter = 100 * (math.log(0.8) - mean) ** 2 + 25 * (math.log(0.4) - mean) ** 2
    assert math.log(found.value) == pytest.approx(mean, abs=1e-4)
    assert found.stderr_log == pytest.approx(125**-0.5 * math.sqrt(scatter), rel=5e-3)


def test_like_boards_are_surer_together_than_one() -> None:
    found = merged_coefficient(*(board(name, 0.7) for name in "abcd"))
    assert found.value == pytest.approx(0.7)
    assert found.stderr_log == pytest.approx(0.05)


def test_the_odd_board_is_named() -> None:
    boards = [board("a", 0.70, 0.02), board("b", 0.71, 0.02), board("c", 0.35, 0.02), board("d", 0.69, 0.02)]
    first, *others = odd_boards(boards)
    assert (first["board"], first["odd"]) == ("c", True)
    assert first["coefficient"].endswith(NAME)
    assert first["ratio"] == pytest.approx(0.5, rel=0.01)
    assert not any(row["odd"] for row in odd_boards([boards[0], boards[1], boards[3]]))
    assert len(others) == 3


def test_what_is_merged_can_be_read_again(tmp_path: object) -> None:
    path = tmp_path / "all.json"  # type: ignore[operator]
    write_profile(merge([board("a", 0.7), board("b", 0.72)], "all"), path)
    assert read_profile(path).name == "all"


def test_unlike_profiles_are_not_merged() -> None:
    other = board("b", 0.7).model_copy(update={"gpu": "another-card"})
    with pytest.raises(ProfileError, match="differ in device"):
        merge([board("a", 0.7), other], "all")
    with pytest.raises(ProfileError, match="two profiles or more"):
        merge([board("a", 0.7)], "all")


def test_pooled_intervals_keep_the_largest_scores() -> None:
    # 3 boards of 400 scores, 1200 in all: every third is kept from the largest down, 400 of them.
    def scored(name: str, first: int) -> Profile:
        profile = board(name, 0.7)
        runtime, part = next(iter(profile.runtimes.items()))
        scores = {"decode": [(first + 3 * i) / 1e4 for i in range(400)]}
        return profile.model_copy(update={"runtimes": {runtime: part.model_copy(update={"conformal_scores": scores})}})

    merged = merge([scored("a", 0), scored("b", 1), scored("c", 2)], "all")
    kept = next(iter(merged.runtimes.values())).conformal_scores["decode"]
    assert kept == [(3 * i + 2) / 1e4 for i in range(400)]
