"""Scores of quality by hand: published laws number by number, the shape law, bands, ties, ranges and what is refused."""

import math
from typing import Any

import numpy as np
import pytest

from latmodel import ModelConfig
from latmodel.errors import UsageError
from latmodel.quality import band, best, compare, flags, score, tied
from latmodel.quality.compare import NOT_COVERED
from latmodel.quality.constants import (
    DEFAULT,
    PUBLISHED_BAND,
    ConstantsBand,
    LevineConstants,
    ShapeConstants,
    _levine_laws,
)
from latmodel.quality.effective import distance, effective_parameters
from latmodel.quality.laws import BESIROGLU, HOFFMANN, KAPLAN
from latmodel.quality.scores import EffectiveScore, LossScore, named_score
from latmodel.quality.shapes import column, common_shape, with_counts

# --- Laws of loss ---------------------------------------------------------------------------------


def test_published_laws_by_hand() -> None:
    """Each paper's formula at a billion parameters and 2e10 tokens."""
    n, d = 1e9, 2e10
    assert HOFFMANN(n, d) == pytest.approx(1.69 + 406.4 / n**0.34 + 410.7 / d**0.28, rel=1e-12)
    assert BESIROGLU(n, d) == pytest.approx(1.8172 + 482.01 / n**0.34781 + 2085.43 / d**0.36585, rel=1e-12)
    assert KAPLAN(n, d) == pytest.approx(((6.4e13 / n) ** (0.076 / 0.103) + 1.8e13 / d) ** 0.103, rel=1e-12)
    assert (HOFFMANN.size_column, KAPLAN.size_column) == ("num_parameters", "non_embedding_parameters")


@pytest.mark.parametrize(
    ("law", "sizes", "tokens"),
    [
        (HOFFMANN, (7e7, 1.6e10), (5e9, 5e11)),
        (BESIROGLU, (7e7, 1.6e10), (5e9, 5e11)),
        (KAPLAN, (768, 1.5e9), (2.2e7, 2.3e10)),
    ],
)
def test_a_law_is_outside_its_range_just_beyond_both_ends(law: Any, sizes: Any, tokens: Any) -> None:
    for token, inside in ((tokens[0], True), (tokens[1], True), (0.999 * tokens[0], False), (1.001 * tokens[1], False)):
        found = law.outside_range([sizes[0], sizes[1], 0.999 * sizes[0], 1.001 * sizes[1]], token)
        assert found.tolist() == ([False, False, True, True] if inside else [True] * 4)


def test_a_law_is_refused_where_its_source_says_that_it_fails() -> None:
    assert float(KAPLAN(9.99e11, 1e9)) > 0.0 and KAPLAN.check_tokens(9.99e11) == 9.99e11
    for call in (lambda: KAPLAN([1e9, 1e12], 1e9), lambda: KAPLAN.check_tokens(1e12)):
        with pytest.raises(UsageError, match="1e\\+12"):
            call()
    assert (HOFFMANN.check_tokens(1e6), HOFFMANN.check_tokens(1e15)) == (1e6, 1e15)
    for tokens in (0.99e6, 1.01e15, math.nan):
        with pytest.raises(UsageError, match="absurd"):
            HOFFMANN.check_tokens(tokens)
    with pytest.raises(UsageError, match="add --tokens"):
        HOFFMANN.check_tokens(None)


# --- The shape law --------------------------------------------------------------------------------

LAW = ShapeConstants(0.05, 20.0, 0.1, 2.0)


def test_a_shape_off_the_best_ratio_is_worth_less_by_hand() -> None:
    """At 5e8 parameters the best ratio is 20; e times that costs e^-0.05; from e² on the penalty is capped at e^-0.2."""
    assert LAW.log_best_ratio(5e8) == pytest.approx(math.log(20.0))
    assert LAW.log_best_ratio(5e8 * math.e) == pytest.approx(math.log(20.0) + 0.1)
    for off, factor in (
        (0.0, 1.0),
        (1.0, math.exp(-0.05)),
        (-1.0, math.exp(-0.05)),
        (2.0, math.exp(-0.2)),
        (3.0, math.exp(-0.2)),
    ):
        assert distance(5e8, 10.0, 200.0 * math.exp(off), LAW) == pytest.approx(off)
        assert effective_parameters(5e8, 10.0, 200.0 * math.exp(off), LAW) == pytest.approx(5e8 * factor)
    assert DEFAULT.cap == 2.8


def test_constants_are_refused_where_a_larger_model_could_score_worse() -> None:
    """2 · k · cap · (1 + |exponent|) below 1: with a cap of 2 and an exponent of 0.25, k below 0.2."""
    ShapeConstants(0.1999, 1.0, 0.25, 2.0)
    ShapeConstants(0.1999, 1.0, -0.25, 2.0)
    ShapeConstants(0.0, 1e-9, 0.25, 1e-9)
    for values in ((0.2, 1.0, 0.25, 2.0), (0.2, 1.0, -0.25, 2.0), (-0.01, 1.0, 0.0, 1.0), (0.1, 0.0, 0.0, 1.0), (0.1, 1.0, 0.0, 0.0),
                   (math.nan, 1.0, 0.0, 1.0), (0.1, math.inf, 0.0, 1.0)):  # fmt: skip
        with pytest.raises(UsageError, match="constants|lower k"):
            ShapeConstants(*values)
    LevineConstants(0.12, cap=2.0)
    with pytest.raises(UsageError, match="lower k"):
        LevineConstants(0.125, cap=2.0)


def test_levines_best_width_of_a_depth_is_theirs() -> None:
    """At L layers a width of exp(a + b L), and 12 L d² parameters."""
    law, layers = LevineConstants(0.05), np.array([6.0, 24.0, 48.0])
    width = np.exp(5.039 + 0.0555 * layers)
    assert law.log_best_ratio(12 * layers * width**2) == pytest.approx(np.log(width / layers), abs=2e-4)
    corners = list(_levine_laws(0.05, 0.04, 0.06))
    assert len(corners) == 9 and (corners[0].k, corners[0].a, corners[0].b) == (0.05, 5.039, 0.0555)
    assert {(round(one.k, 9), round(one.a, 9), round(one.b, 9)) for one in corners[1:]} == {
        (k, a, b) for k in (0.04, 0.06) for a in (5.009, 5.069) for b in (0.0542, 0.0568)
    }


def test_a_band_has_eight_corners_and_both_ends() -> None:
    box = ConstantsBand((0.01, 0.02), (10.0, 20.0), (0.1, 0.2))
    assert len(set(box.corners())) == 8 and {one.cap for one in box.corners(1.0)} == {1.0}
    assert all(box.contains(corner) for corner in box.corners()) and PUBLISHED_BAND.contains(DEFAULT)
    for outside in (
        (0.009, 15.0, 0.15),
        (0.021, 15.0, 0.15),
        (0.015, 9.0, 0.15),
        (0.015, 21.0, 0.15),
        (0.015, 15.0, 0.09),
        (0.015, 15.0, 0.21),
    ):
        assert not box.contains(ShapeConstants(*outside))


# --- Scores ---------------------------------------------------------------------------------------

SHAPES: dict[str, Any] = {
    "num_hidden_layers": np.array([10.0, 10.0, 10.0]), "hidden_size": np.array([200.0, 200 * math.e, 200 * math.e**2]),
    "non_embedding_parameters": np.full(3, 5e8), "num_parameters": np.array([6e8, 7e8, 8e8]),
}  # fmt: skip
TWO = EffectiveScore("two", (LAW, ShapeConstants(0.1, 20.0, 0.0, 2.0)))


def test_scores_and_their_bands_by_hand() -> None:
    assert TWO(SHAPES) == pytest.approx(5e8 * np.exp([0.0, -0.05, -0.2]))
    low, high = band(TWO, SHAPES)
    assert low == pytest.approx(5e8 * np.exp([0.0, -0.1, -0.4])) and high == pytest.approx(TWO(SHAPES))
    loss = LossScore("l", BESIROGLU, TWO, 2e10)
    assert loss(SHAPES) == pytest.approx(-BESIROGLU(TWO(SHAPES), 2e10)) and loss.corners(SHAPES).shape == (2, 3)
    assert score("params")(SHAPES).tolist() == [6e8, 7e8, 8e8] and score("params").corners(SHAPES).shape == (1, 3)
    assert score("non-embedding-params")({**SHAPES, "non_embedding_parameters": 5.0}).tolist() == [5.0] * 3
    assert TWO.capped({**SHAPES, "hidden_size": 200 * np.exp([1.99, 2.01, -2.01])}).tolist() == [False, True, True]
    tight = EffectiveScore("tight", (LAW, ShapeConstants(0.1, 20.0, 0.0, 1.0)))  # the central law's cap counts
    assert not tight.capped({**SHAPES, "hidden_size": 200 * np.exp([1.5, -1.5, 0.0])}).any()
    assert loss.capped(SHAPES)[1] == np.False_ and not score("params").capped(SHAPES).any()
    with pytest.raises(UsageError, match="column hidden_size"):
        column({"a": 1.0}, "hidden_size")
    assert common_shape({"a": np.zeros((2, 1)), "b": np.zeros(3)}) == (2, 3)


def test_counts_beside_and_without_the_embedding() -> None:
    shape = ModelConfig(
        num_hidden_layers=3, hidden_size=128, intermediate_size=256, vocab_size=1000, tie_word_embeddings=False
    )
    found = with_counts(shape.model_dump())
    block = 2 * 128 * 128 + 2 * 128 * 64 * shape.num_key_value_heads + 3 * 128 * 256 + 2 * 128
    assert found["non_embedding_parameters"] == 3 * block + 128
    assert found["num_parameters"] == found["non_embedding_parameters"] + 2 * 1000 * 128


def test_scores_by_name() -> None:
    assert isinstance(named_score("loss", 1e10), LossScore) and named_score("other", None) is None
    kaplan = named_score("loss:kaplan", 1e10)
    assert kaplan is not None and kaplan(SHAPES) == pytest.approx(-KAPLAN(np.full(3, 5e8), 1e10))
    hoffmann = named_score("loss:hoffmann", 1e10)
    assert hoffmann is not None and hoffmann(SHAPES) == pytest.approx(-HOFFMANN(SHAPES["num_parameters"], 1e10))
    for spec, tokens, word in (
        ("loss:x", 1e10, "no loss law 'x'"),
        ("loss", None, "--tokens"),
        ("loss:", 1e10, "no loss law"),
    ):
        with pytest.raises(UsageError, match=word):
            named_score(spec, tokens)
    with pytest.raises(UsageError, match="no effect"):
        score("params", tokens=1e9)


@pytest.mark.parametrize(
    ("changes", "outside"),
    [
        ({}, False), ({"non_embedding_parameters": 3e7}, False), ({"non_embedding_parameters": 2e9}, False),
        ({"non_embedding_parameters": 2.9e7}, True), ({"non_embedding_parameters": 2.1e9}, True), ({"num_hidden_layers": 2.0, "hidden_size": 600.0}, True),
        ({"num_hidden_layers": 3.0, "hidden_size": 960.0}, False), ({"num_hidden_layers": 80.0, "hidden_size": 256.0}, False),
        ({"num_hidden_layers": 80.0, "hidden_size": 255.0}, True), ({"num_hidden_layers": 81.0}, True),
        ({"hidden_size": 3200.0}, False), ({"hidden_size": 3210.0}, True),
    ],
)  # fmt: skip
def test_a_shape_is_beyond_what_the_shape_law_was_measured_on(changes: dict[str, float], outside: bool) -> None:
    """3e7 to 2e9 parameters, 3 to 80 layers, ratios of 3.2 to 320."""
    shape = {"num_hidden_layers": 10.0, "hidden_size": 1000.0, "non_embedding_parameters": 5e8, **changes}
    assert bool(TWO.extrapolated(shape)) == outside
    loss = LossScore("l", HOFFMANN, TWO, 1e10)
    assert bool(loss.extrapolated(shape)) == (outside or TWO(shape) < 7e7)
    assert (
        bool(LossScore("l", HOFFMANN, TWO, 1e12).extrapolated(shape)) and not score("params").extrapolated(shape).any()
    )


def test_ties_are_within_a_tenth_and_neither_ahead_throughout() -> None:
    """N exp(-k z²) with k of 0.05 and 0.1: at z = 1 as much as a best shape of e^-0.05 and of e^-0.1 N."""
    reference = {"num_hidden_layers": 10.0, "hidden_size": 200 * math.e, "non_embedding_parameters": 5e8}
    for share, tie in (
        (math.exp(-0.049), False),
        (math.exp(-0.051), True),
        (math.exp(-0.099), True),
        (math.exp(-0.101), False),
    ):
        other = {**reference, "hidden_size": 200.0, "non_embedding_parameters": 5e8 * share}
        flat = EffectiveScore("flat", (ShapeConstants(0.05, 20.0, 0.0, 2.0), ShapeConstants(0.1, 20.0, 0.0, 2.0)))
        found = compare(flat, other, reference)
        assert bool(found.tied) == bool(tied(flat, other, reference)) == tie
        ratios = sorted((share * math.exp(0.05), share * math.exp(0.1)))
        assert (found.ratio, found.low, found.high) == pytest.approx((ratios[0], ratios[0], ratios[1]))
    far = EffectiveScore("far", (ShapeConstants(0.0, 20.0, 0.0, 2.0), ShapeConstants(0.2, 20.0, 0.0, 2.0)))
    for share, tie in ((0.91, True), (0.89, False)):
        other = {**reference, "hidden_size": 200.0, "non_embedding_parameters": 5e8 * share}
        assert bool(tied(far, other, reference)) == tie  # alike under one law of two, within a tenth by the first


def test_the_best_is_the_quickest_of_those_that_tie_and_never_capped() -> None:
    shapes = {
        "num_hidden_layers": np.full(3, 10.0),
        "hidden_size": np.full(3, 200.0),
        "num_parameters": np.array([1.0, 2.0, 2.0]),
    }
    assert best(score("params"), shapes, [1.0, 9.0, 8.0]) == 2 and best(score("params"), shapes, [1.0, 7.0, 8.0]) == 1
    capped = {
        **SHAPES,
        "hidden_size": 200 * np.exp([0.0, 2.5, 2.5]),
        "non_embedding_parameters": np.array([1e8, 9e8, 9e8]),
    }
    assert best(TWO, capped, [9.0, 1.0, 1.0]) == 0
    assert best(TWO, {**capped, "hidden_size": np.full(3, 200 * math.exp(2.5))}, [1.0, 1.0, 1.0]) is None


def test_flags_of_ratios_and_kinds() -> None:
    shapes = {**SHAPES, "hidden_size": np.full(3, 1000.0), "intermediate_size": np.array([2500.0, 4000.0, 4001.0]),
              "num_attention_heads": np.array([16.0, 15.0, 18.0]), "num_key_value_heads": np.array([8.0, 8.0, 2.0])}  # fmt: skip
    found = flags(score("params"), shapes, kinds=("pruned",))
    assert found.ffn_ratio.tolist() == [False, False, True] and found.kv_groups.tolist() == [False, True, True]
    assert found.words((0,)) == ["pruned"] and found.words((2,)) == ["ffn ratio", "kv groups", "pruned"]
    narrow = flags(score("params"), {**shapes, "intermediate_size": 2499.0, "num_attention_heads": 64.0})
    assert narrow.ffn_ratio.tolist() == [True] * 3 and narrow.kv_groups.tolist() == [False, False, True]
    for one in ("intermediate_size", "hidden_size"):
        assert not flags(score("params"), {"num_parameters": np.ones(2), one: 9.0}).ffn_ratio.any()
    assert "mixture" in NOT_COVERED
    with pytest.raises(UsageError, match="unknown kind of model 'x'"):
        flags(score("params"), shapes, kinds=("x",))
