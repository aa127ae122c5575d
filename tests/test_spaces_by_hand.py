"""Where a search looks, by hand: values and counts of a space."""

import pytest

from latmodel.errors import UsageError
from latmodel.search.scored import ScoreObjective, near_usual, quality_from
from latmodel.search.space import MAX_VALUES, SearchSpace, Span, expand


def test_values_rise_and_come_once() -> None:
    assert expand("x", 7) == (7,) and expand("x", [3, 1, 3]) == (1, 3) and expand("x", range(1, 4)) == (1, 2, 3)
    assert expand("x", Span(4, 10, 3)) == (4, 7, 10) and expand("x", Span(5, 5)) == (5,)
    assert len(expand("x", Span(1, MAX_VALUES))) == MAX_VALUES
    for given, word in (
        (Span(1, MAX_VALUES + 1), "more than"), (range(1, MAX_VALUES + 2), "more than"), (Span(6, 5), "is empty"), ((), "no values"),
        (0, "'0'"), (10_000_001, "'10000001'"), (True, "'True'"), ("12", "'12'"), ([1, 2.0], "'2.0'"), (Span(1, 5, 0), "'0'"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            expand("x", given)  # type: ignore[arg-type]


def test_a_space_is_what_its_dimensions_leave() -> None:
    """512: heads of 64, KV heads of 8, 4, 2 and 1; heads of 128, KV heads of 4, 2 and 1."""
    space = SearchSpace(
        num_hidden_layers=(3, 1), hidden_size=(512, 100), vocab_size=(20, 10), tie_word_embeddings=(True, False)
    )
    assert space.depths.tolist() == [1, 3] and space.hiddens.tolist() == [100, 512]
    stems = space.stems
    found = set(
        zip(
            stems.hidden_size.tolist(),
            stems.num_attention_heads.tolist(),
            stems.num_key_value_heads.tolist(),
            strict=True,
        )
    )
    assert found == {(512, 8, 8), (512, 8, 4), (512, 8, 2), (512, 8, 1), (512, 4, 4), (512, 4, 2), (512, 4, 1)}
    assert len(stems) == 7 * 4 and set(stems.hidden_index.tolist()) == {1}
    keys = list(
        zip(
            stems.hidden_index,
            stems.head_dim,
            stems.num_key_value_heads,
            stems.vocab_size,
            stems.tie_word_embeddings,
            strict=True,
        )
    )
    assert keys == sorted(keys)
    # FFN sizes of 512: multiples of 64 from 1024 to 2560; of 100: from 200 to 500.
    assert space.ffn_counts.tolist() == [4, 25] and space.ffn_sizes(0).tolist() == [256, 320, 384, 448]
    assert space.ffn_sizes(1)[[0, -1]].tolist() == [1024, 2560] and len(space) == 28 * 25 * 2
    given = space.pin(num_key_value_heads=(2, 3), num_attention_heads=8, intermediate_size=(7, 5))
    assert given.stems.num_key_value_heads.tolist() == [2] * 4 and set(given.stems.num_attention_heads.tolist()) == {8}
    assert given.ffn_counts.tolist() == [2, 2] and given.ffn_sizes(0).tolist() == [5, 7] and len(given) == 4 * 2 * 2
    eights = space.in_multiples(8, "why")
    assert (
        eights.hidden_size == (512,)
        and eights.intermediate_step == (64,)
        and SearchSpace(hidden_size=1536).in_multiples(48, "w").intermediate_step == (192,)
    )
    with pytest.raises(UsageError, match="multiple of 7, as why needs"):
        space.in_multiples(7, "why")
    for changes, word in (({"group_size": (5, 7)}, "hidden_size"), ({"nothing": 1}, "nothing: no such dimension"),
                          ({"intermediate_ratio": (0.0, 2.0)}, "no range"), ({"intermediate_ratio": (1.0, 1e4 + 1)}, "no range"),
                          ({"tie_word_embeddings": ()}, "neither"), ({"intermediate_ratio": (1.01, 1.02)}, "no multiple")):  # fmt: skip
        with pytest.raises(UsageError, match=word):
            space.pin(**changes)
    thirds = SearchSpace(hidden_size=1536, intermediate_ratio=(8 / 3, 8 / 3))  # 4096, which the product rounds below
    assert thirds.ffn_sizes(0).tolist() == [4096]


def test_free_ratios_and_groups_are_held_near_the_usual() -> None:
    free = near_usual(SearchSpace())
    assert free.intermediate_ratio != SearchSpace().intermediate_ratio or free.group_size != SearchSpace().group_size
    ffn, groups = SearchSpace(intermediate_size=512), SearchSpace(num_key_value_heads=4)
    assert (
        near_usual(ffn).intermediate_ratio == ffn.intermediate_ratio
        and near_usual(groups).group_size == groups.group_size
    )
    wide = SearchSpace(intermediate_ratio=(1.0, 9.0), group_size=(1, 2))
    assert near_usual(wide) is wide
    assert quality_from("params", None) == ("params", None) and isinstance(
        quality_from("effective-params", None)[0], ScoreObjective
    )


def test_what_a_space_looks_at_where_nothing_is_said() -> None:
    space = SearchSpace()
    assert (space.depths[0], space.depths[-1], space.depths.size) == (4, 128, 125)
    assert (space.hiddens[0], space.hiddens[-1], space.hiddens.size) == (256, 16384, 253)
    assert (space.head_dim, space.vocab_size, space.tie_word_embeddings) == ((64, 128), (65536,), (True,))
    assert (space.intermediate_ratio, space.intermediate_step, space.group_size) == ((2.0, 5.0), (64,), (1, 8))
    with pytest.raises(UsageError, match=r"2\.0e\+07 combinations"):
        SearchSpace(hidden_size=Span(64, 64_000, 64), head_dim=64, num_key_value_heads=Span(1, 20_001))
