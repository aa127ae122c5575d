"""Ways to make a decoder smaller: fewer blocks, or narrower ones; each takes a share to keep and gives a shape."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ..model.architecture import Architecture, Block, Group, Layer
from ..model.layers.layer import part_of

LEVELS = 64  # shares tried between all and next to nothing


class Way(NamedTuple):
    """A way to prune: `shape(model, share, step)` keeps about `share`; widths are rounded to multiples of `step`."""

    name: str
    what: str
    shape: Callable[[Architecture, float, int], Architecture]
    widens: bool  # a width is cut, so that alignment matters


def fewer_blocks(model: Architecture, share: float, _step: int = 1) -> Architecture:
    """Blocks of each kind in proportion, the remainders to the largest; at least one block in all."""
    depth = model.num_hidden_layers
    kept = max(round(depth * share), 1)
    exact = [group.count * kept / depth for group in model.groups]
    counts = [float(int(part)) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for index in by_remainder[: int(kept - sum(counts))]:
        counts[index] += 1.0
    groups = tuple(Group(count, group.block) for count, group in zip(counts, model.groups, strict=True) if count)
    return replace(model, groups=groups)


def fewer_heads(model: Architecture, share: float, _step: int = 1) -> Architecture:
    """Whole groups of heads: queries go with the keys and values that they share."""
    return _each_layer(model, lambda layer: layer.fewer_heads(share))


def narrower_ffn(model: Architecture, share: float, step: int) -> Architecture:
    """Fewer columns in every feed-forward layer, experts and shared ones included."""
    return _each_layer(model, lambda layer: layer.narrower(share, step))


def narrower_blocks(model: Architecture, share: float, step: int) -> Architecture:
    """Heads and feed-forward together, as width-pruning methods do (LLM-Pruner, Wanda-sp, FLAP)."""
    return narrower_ffn(fewer_heads(model, share), share, step)


def narrower_stream(model: Architecture, share: float, step: int) -> Architecture:
    """A narrower residual stream: every matrix loses rows or columns, embeddings too."""
    return replace(model, hidden_size=part_of(model.hidden_size, share, step))


def fewer_experts(model: Architecture, share: float, _step: int = 1) -> Architecture:
    """Experts dropped whole; a token still goes to as many."""
    return _each_layer(model, lambda layer: layer.fewer_experts(share))


def mixed(model: Architecture, share: float, step: int) -> Architecture:
    """Depth and the blocks' width each by the square root of the share."""
    root = float(share**0.5)
    return narrower_blocks(fewer_blocks(model, root), root, step)


def _each_layer(model: Architecture, change: Callable[[Layer], Layer]) -> Architecture:
    def changed(block: Block) -> Block:
        mixer, layer = (None if one is None else change(one) for one in (block.attention, block.feed_forward))
        return replace(block, attention=mixer, feed_forward=layer)

    return replace(model, groups=tuple(Group(group.count, changed(group.block)) for group in model.groups))


WAYS = (
    Way("depth", "whole blocks", fewer_blocks, False),
    Way("heads", "in whole groups", fewer_heads, False),
    Way("ffn", "feed-forward columns", narrower_ffn, True),
    Way("width", "heads and feed-forward columns", narrower_blocks, True),
    Way("hidden", "the residual stream", narrower_stream, True),
    Way("mixed", "blocks, heads and feed-forward columns", mixed, True),
    Way("experts", "whole experts", fewer_experts, False),
)


def ways_of(model: Architecture) -> list[Way]:
    """The ways that change this model: only one with experts can lose some."""
    has_experts = any(layer.has_experts for group in model.groups for layer in group.block.layers)
    return [way for way in WAYS if way.name != "experts" or has_experts]


def shares(model: Architecture, way: Way) -> list[float]:
    """Shares to try, from all downward: every depth, or `LEVELS` steps."""
    depth = int(model.num_hidden_layers)
    levels = min(depth, 256) if way.name == "depth" else LEVELS
    return [1.0 - index / levels for index in range(levels)]
