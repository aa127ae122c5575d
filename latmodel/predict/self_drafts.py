"""Drafts that a model makes of itself: its first blocks with its own head, or a multi-token-prediction module."""

from dataclasses import replace
from typing import Literal

from ..errors import UsageError
from ..model.architecture import Architecture, Group
from ..model.layers.joined_input import JoinedInput

Shares = Literal["", "first blocks", "module"]  # what a draft shares with its target


def first_blocks(target: Architecture, count: int) -> Architecture:
    """The first `count` blocks of a model with its embedding, final norm and head: self-speculation (Zhang et al. 2024,
    "Draft & Verify", arXiv 2309.08168; Elhoushi et al. 2024, "LayerSkip", arXiv 2404.16710).

    Raises:
        UsageError: the model has no more blocks than that.
    """
    if not 1 <= count < target.num_hidden_layers:
        raise UsageError(f"self:{count}: give 1 to {target.num_hidden_layers - 1:g} blocks, fewer than the model has")
    groups, left = [], float(count)
    for group in target.groups:
        if left > 0:
            groups.append(replace(group, count=min(group.count, left), stored=None))
            left -= group.count
    return replace(target, groups=tuple(groups))


def own_draft(text: str, target: Architecture) -> tuple[Shares, Architecture] | None:
    """What "self:8" or "mtp" means for a model; None for any other text.

    Raises:
        UsageError: "self:" without a number of blocks that the model has more of.
    """
    if text == "mtp":
        return "module", module(target)
    kind, _, count = text.partition(":")
    if kind != "self":
        return None
    if not (count.isascii() and count.isdigit() and len(count) <= 7):
        raise UsageError(f"--draft {text[:40]!r}: write self:8, the number of blocks that draft")
    return "first blocks", first_blocks(target, int(count))


def module(target: Architecture) -> Architecture:
    """A multi-token-prediction module: one block like the model's last, behind a projection of the hidden state and the
    token's embedding; embedding and head are the model's."""
    return replace(target, groups=(Group(1.0, target.groups[-1].block),), stem=(*target.stem, JoinedInput()))
