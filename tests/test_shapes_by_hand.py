"""Shapes of blocks to measure, worked out by hand: points, rounding to steps, heads that divide, blocks near another."""

import math

import pytest

from calibration.measure.shapes import between, config_of, dividing, near, points, shape_at, spread
from latmodel.model.config import ModelConfig


def test_points_follow_the_recurrence_of_the_golden_ratio_of_seven_dimensions() -> None:
    """The ratio is the root of x^8 = x + 1; coordinate j of point i is one half and i + 1 times its power −(j + 1)."""
    low, high = 1.0, 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if middle**8 < middle + 1.0 else (low, middle)
    found = list(points(5, seed=3))
    assert len(found) == 5
    for i, point in enumerate(found, 1):
        expected = [math.modf(0.5 + 0.137 * 3 + i * low**-j)[0] for j in range(1, 8)]
        assert point == pytest.approx(expected, abs=1e-9)


def test_points_of_no_seed_begin_in_the_middle() -> None:
    first, second = points(2, seed=0)
    step = [(b - a) % 1.0 for a, b in zip(first, second, strict=True)]
    assert [(a - s) % 1.0 for a, s in zip(first, step, strict=True)] == pytest.approx([0.5] * 7)


def test_indices_are_the_middles_of_equal_parts() -> None:
    assert spread(3, 9) == [1, 4, 7]
    assert spread(4, 8) == [1, 3, 5, 7]
    assert spread(2, 5) == [1, 3]


@pytest.mark.parametrize(
    ("share", "low", "high", "step", "expected"),
    [
        (0.0, 64, 4096, 64, 64),
        (1.0, 64, 4096, 64, 4096),
        (0.5, 64, 4096, 64, 512),  # the geometric mean
        (0.25, 1, 10_000, 1, 10),
        (0.5, 100, 110, 64, 128),  # 104.9 is nearer to two steps than to one
        (0.0, 10, 100, 64, 64),  # one step at least
    ],
)
def test_values_are_spaced_by_their_logarithm(share: float, low: int, high: int, step: int, expected: int) -> None:
    assert between(share, low, high, step) == expected


@pytest.mark.parametrize(
    ("hidden", "heads", "expected"), [(60, 7, 6), (60, 6, 6), (64, 0, 1), (7, 3, 1), (256, 3, 2), (96, 100, 96)]
)
def test_the_most_heads_that_divide(hidden: int, heads: int, expected: int) -> None:
    assert dividing(hidden, heads) == expected


def middle(**changes: float) -> tuple[float, ...]:
    """A point with hidden size 256 of the range 64 to 1024, FFN twice as wide, heads of 64, each with its own cache."""
    named = {"hidden": 0.5, "inner": 0.0, "head": 0.0, "group": 0.0, **changes}
    return tuple(named.values())


@pytest.mark.parametrize(("at", "inner"), [(0.0, 512), (1.0, 1280), (0.5, 896), (0.3, 736)])
def test_the_feed_forward_is_two_to_five_times_as_wide_in_steps_of_32(at: float, inner: int) -> None:
    assert shape_at(middle(inner=at), (64, 1024), 0).intermediate_size == inner


@pytest.mark.parametrize(
    ("index", "more"), [(0, 0), (4, 0), (5, 5), (6, 0), (10, 0), (11, 4), (12, 0), (17, 5), (23, 4)]
)
def test_every_sixth_is_misaligned_odd_and_even_in_turn(index: int, more: int) -> None:
    assert shape_at(middle(), (64, 1024), index).intermediate_size == 512 + more


@pytest.mark.parametrize(
    ("at", "head_dim", "heads"),
    [
        (0.0, 64, 4),
        (0.38, 64, 4),  # 5 · 0.38^1.7 = 0.97
        (0.40, 128, 2),  # 1.05
        (0.57, 128, 2),  # 1.92
        (0.60, 32, 8),  # 2.10
        (0.73, 32, 8),  # 2.93
        (0.75, 96, 2),  # 3.07; 256 / 96 rounds to 3, which does not divide 256
        (0.87, 96, 2),  # 3.95
        (0.89, 80, 2),  # 4.10
        (1.0, 80, 2),  # there is no sixth
    ],
)
def test_sizes_of_heads(at: float, head_dim: int, heads: int) -> None:
    found = shape_at(middle(head=at), (64, 1024), 0)
    assert (found.head_dim, found.num_attention_heads) == (head_dim, heads)


def test_a_head_takes_half_of_the_hidden_size_at_most() -> None:
    assert shape_at(middle(head=0.9), (128, 128), 0).head_dim == 32  # of 64 and 32
    assert shape_at(middle(head=0.1), (64, 64), 0).head_dim == 32  # alone
    assert shape_at(middle(head=0.9), (192, 192), 0).head_dim == 80  # of 64, 32, 96 and 80


@pytest.mark.parametrize(
    ("at", "kv_heads"), [(0.0, 4), (0.32, 4), (0.34, 2), (0.65, 2), (0.68, 1), (0.99, 1), (1.0, 1)]
)
def test_groups_are_divisors_of_the_heads(at: float, kv_heads: int) -> None:
    assert shape_at(middle(group=at), (64, 1024), 0).num_key_value_heads == kv_heads


def test_six_heads_share_one_two_three_or_six_ways() -> None:
    found = [shape_at(middle(group=at), (384, 384), 0) for at in (0.1, 0.3, 0.6, 0.9)]
    assert {one.num_attention_heads for one in found} == {6}
    assert [one.num_key_value_heads for one in found] == [6, 3, 2, 1]


def test_a_shape_is_one_block_with_a_small_vocabulary() -> None:
    found = config_of(128, 384, 2, 1, 64)
    assert (found.num_hidden_layers, found.vocab_size) == (1, 256)
    assert config_of(128, 384, 2, 1, 64, vocab_size=7).vocab_size == 7
    assert (found.hidden_size, found.intermediate_size, found.num_attention_heads) == (128, 384, 2)
    assert (found.num_key_value_heads, found.head_dim) == (1, 64)


LIKE = ModelConfig(
    num_hidden_layers=30, hidden_size=1024, intermediate_size=2816, num_attention_heads=16, num_key_value_heads=4,
    head_dim=64, vocab_size=50_000,
)  # fmt: skip


@pytest.mark.parametrize("at", [0.0, 0.26, 0.33])
def test_a_third_of_the_points_are_the_block_itself(at: float) -> None:
    assert near(LIKE, (at, 0.9)) == LIKE.model_copy(update={"num_hidden_layers": 1, "vocab_size": 256})


@pytest.mark.parametrize(
    ("at", "hidden", "inner", "heads"),
    [(0.0, 512, 1408, 8), (0.5, 1024, 2816, 16), (1.0, 2048, 5632, 32), (0.25, 768, 1984, 12)],
)
def test_the_others_are_half_to_twice_as_wide(at: float, hidden: int, inner: int, heads: int) -> None:
    """At a quarter the factor is 0.707: heads 11.3 in fours are 12; 724 is nearest to 4 steps of 192, 768."""
    found = near(LIKE, (0.34, at))
    assert (found.hidden_size, found.intermediate_size, found.num_attention_heads) == (hidden, inner, heads)
    assert (found.num_key_value_heads, found.head_dim, found.num_hidden_layers) == (4, 64, 1)


def test_heads_that_are_no_power_of_two_divide_the_hidden_size() -> None:
    smol = ModelConfig(num_hidden_layers=1, hidden_size=960, intermediate_size=2560, num_attention_heads=15,
                       num_key_value_heads=5, head_dim=64)  # fmt: skip
    assert near(smol, (0.5, 0.5)).hidden_size == 960  # the least common multiple of 64 and 15
    assert near(smol, (0.5, 0.0)).hidden_size == 640 and near(smol, (0.5, 0.0)).num_attention_heads == 10


def test_the_narrowest_has_a_step_and_one_head_of_each_group() -> None:
    tiny = ModelConfig(num_hidden_layers=1, hidden_size=64, intermediate_size=64, num_attention_heads=4,
                       num_key_value_heads=4, head_dim=16)  # fmt: skip
    found = near(tiny, (0.5, 0.0))  # half of each rounds to none
    assert (found.hidden_size, found.intermediate_size, found.num_attention_heads) == (64, 64, 4)
