"""Acceptance at its ends, and drafts that a model makes of itself."""

import pytest

from latmodel import ModelConfig
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Block, FeedForward, Group
from latmodel.predict.acceptance import break_even_acceptance, expected_tokens
from latmodel.predict.self_drafts import first_blocks, own_draft

MODEL = ModelConfig(num_hidden_layers=6, hidden_size=1024, num_attention_heads=16).architecture()


def test_expected_tokens_at_both_ends() -> None:
    assert (expected_tokens(1.0, 3), expected_tokens(0.0, 3)) == (4.0, 1.0)
    assert expected_tokens(1.0 - 1e-9, 3) == pytest.approx(4.0, rel=1e-6)
    assert break_even_acceptance(4.0, 1.0, 3) == pytest.approx(1.0, abs=1e-9)
    assert break_even_acceptance(4.1, 1.0, 3) is None and break_even_acceptance(0.5, 1.0, 3) == pytest.approx(
        0.0, abs=1e-9
    )


def test_the_first_blocks_of_several_groups() -> None:
    block, other = MODEL.groups[0].block, Block(None, FeedForward(512.0))
    whole = Architecture((Group(3.0, block, 1.0), Group(2.0, other), Group(4.0, block)), 1024.0, 100.0)
    for count, counts in ((1, [1.0]), (3, [3.0]), (4, [3.0, 1.0]), (5, [3.0, 2.0]), (8, [3.0, 2.0, 3.0])):
        found = first_blocks(whole, count)
        assert [group.count for group in found.groups] == counts and found.groups[0].stored is None
    for count in (0, 9, -1):
        with pytest.raises(UsageError, match="1 to 8 blocks"):
            first_blocks(whole, count)


@pytest.mark.parametrize("text", ["self:", "self:-1", "self:00000001", "self:²", "self:6", "self:0"])
def test_a_share_of_itself_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="self:"):
        own_draft(text, MODEL)


def test_drafts_of_one_s_own() -> None:
    assert own_draft("other", MODEL) is None and own_draft("selfish:3", MODEL) is None
    shares, model = own_draft("self:0000003", MODEL) or ("", MODEL)
    assert shares == "first blocks" and model.num_hidden_layers == 3.0
    shares, model = own_draft("mtp", MODEL) or ("", MODEL)
    assert (shares, model.num_hidden_layers, len(model.stem)) == ("module", 1.0, len(MODEL.stem) + 1)
