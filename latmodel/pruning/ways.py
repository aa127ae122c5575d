"""Ways to make a decoder smaller: fewer blocks, or narrower ones; each takes a share to keep and gives a shape."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from ..model.architecture import (
    Architecture,
    Attention,
    Block,
    Experts,
    FeedForward,
    GatedDelta,
    Group,
    LatentAttention,
    Mamba2,
    Mixer,
)

LEVELS = 64  # shares tried between all and next to nothing


class Way(NamedTuple):
    """A way to prune: `shape(model, share, step)` keeps about `share`; widths are rounded to multiples of `step`."""

    name: str
    what: str
    shape: Callable[[Architecture, float, int], Architecture]
    widens: bool  # a width is cut, so that alignment matters


def whole(value: float, share: float, step: int = 1) -> float:
    """`share` of a dimension, rounded to a multiple of `step`; at least one step, at most the dimension."""
    if share >= 1.0:
        return value
    return float(min(max(round(value * share / step), 1) * step, value))


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
    return _each_block(model, lambda block: replace(block, attention=_narrow_mixer(block.attention, share)))


def _narrow_mixer(mixer: Mixer | None, share: float) -> Mixer | None:
    if isinstance(mixer, Attention):
        kept = whole(mixer.kv_heads, share)
        return replace(mixer, kv_heads=kept, heads=mixer.heads / mixer.kv_heads * kept)
    if isinstance(mixer, Mamba2):
        kept = whole(mixer.groups, share)
        return replace(mixer, groups=kept, heads=mixer.heads / mixer.groups * kept)
    if isinstance(mixer, GatedDelta):
        kept = whole(mixer.key_heads, share)
        return replace(mixer, key_heads=kept, value_heads=mixer.value_heads / mixer.key_heads * kept)
    return replace(mixer, heads=whole(mixer.heads, share)) if isinstance(mixer, LatentAttention) else None


def narrower_ffn(model: Architecture, share: float, step: int) -> Architecture:
    """Fewer columns in every feed-forward layer, experts and shared ones included."""
    return _each_block(model, lambda block: replace(block, feed_forward=_narrow_ffn(block.feed_forward, share, step)))


def _narrow_ffn(layer: FeedForward | Experts | None, share: float, step: int) -> FeedForward | Experts | None:
    if layer is None:
        return None
    narrow: Any = replace(layer, intermediate_size=whole(layer.intermediate_size, share, step))
    if isinstance(narrow, Experts) and narrow.shared is not None:
        size = whole(narrow.shared.intermediate_size, share, step)
        return replace(narrow, shared=replace(narrow.shared, intermediate_size=size))
    return narrow  # type: ignore[no-any-return]


def narrower_blocks(model: Architecture, share: float, step: int) -> Architecture:
    """Heads and feed-forward together, as width-pruning methods do (LLM-Pruner, Wanda-sp, FLAP)."""
    return narrower_ffn(fewer_heads(model, share), share, step)


def narrower_stream(model: Architecture, share: float, step: int) -> Architecture:
    """A narrower residual stream: every matrix loses rows or columns, embeddings too."""
    return replace(model, hidden_size=whole(model.hidden_size, share, step))


def fewer_experts(model: Architecture, share: float, _step: int = 1) -> Architecture:
    """Experts dropped whole; a token still goes to as many."""

    def dropped(block: Block) -> Block:
        layer = block.feed_forward
        if not isinstance(layer, Experts):
            return block
        return replace(block, feed_forward=replace(layer, count=max(whole(layer.count, share), layer.per_token)))

    return _each_block(model, dropped)


def mixed(model: Architecture, share: float, step: int) -> Architecture:
    """Depth and the blocks' width each by the square root of the share."""
    root = float(share**0.5)
    return narrower_blocks(fewer_blocks(model, root), root, step)


def _each_block(model: Architecture, change: Callable[[Block], Block]) -> Architecture:
    return replace(model, groups=tuple(Group(group.count, change(group.block)) for group in model.groups))


WAYS = (
    Way("depth", "whole blocks", fewer_blocks, False),
    Way("heads", "heads, in whole groups", fewer_heads, False),
    Way("ffn", "feed-forward columns", narrower_ffn, True),
    Way("width", "heads and feed-forward columns", narrower_blocks, True),
    Way("hidden", "the residual stream", narrower_stream, True),
    Way("mixed", "blocks, heads and feed-forward columns", mixed, True),
    Way("experts", "whole experts", fewer_experts, False),
)


def ways_of(model: Architecture) -> list[Way]:
    """The ways that change this model: only one with experts can lose some."""
    has_experts = any(isinstance(group.block.feed_forward, Experts) for group in model.groups)
    return [way for way in WAYS if way.name != "experts" or has_experts]


def shares(model: Architecture, way: Way) -> list[float]:
    """Shares to try, from all downward: every depth, or `LEVELS` steps."""
    depth = int(model.num_hidden_layers)
    levels = min(depth, 256) if way.name == "depth" else LEVELS
    return [1.0 - index / levels for index in range(levels)]
