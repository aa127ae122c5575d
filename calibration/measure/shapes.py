"""Shapes of blocks to measure: points spread evenly over the unit cube, and what each means."""

import math
from collections.abc import Iterator, Sequence

from latmodel.model.config import ModelConfig


def points(count: int, seed: int) -> Iterator[tuple[float, ...]]:
    """Evenly spread points of the unit cube: the additive recurrence of the generalised golden ratio.

    Source: M. Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018).
    """
    dimensions = 7
    ratio = 2.0
    for _ in range(30):
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    steps = [ratio ** -(i + 1) for i in range(dimensions)]
    for index in range(count):
        yield tuple((0.5 + 0.137 * seed + (index + 1) * step) % 1.0 for step in steps)


def spread(count: int, among: int) -> list[int]:
    """So many indices of a list, evenly spaced."""
    return [int((place + 0.5) * among / count) for place in range(count)]


def between(share: float, low: int, high: int, step: int) -> int:
    """A log-spaced value from low to high, rounded to a multiple of `step`."""
    value = low * math.exp(share * math.log(high / low))
    return max(step, round(value / step) * step)


def shape_at(point: Sequence[float], hidden_sizes: tuple[int, int], index: int) -> ModelConfig:
    hidden = between(point[0], *hidden_sizes, step=64)
    inner = round(hidden * (2.0 + 3.0 * point[1]) / 32) * 32
    if index % 6 == 5:
        inner += 5 if index % 12 == 5 else 4  # odd, or no multiple of 8
    sizes = [size for size in (64, 128, 32, 96, 80) if size <= hidden // 2]
    head_dim = sizes[min(int(point[2] ** 1.7 * len(sizes)), len(sizes) - 1)]
    # Transformers wants the hidden size to be a multiple of the heads, even where head_dim is given.
    heads = dividing(hidden, round(hidden / head_dim))
    groups = [g for g in range(1, heads + 1) if heads % g == 0]  # divisors: MHA … MQA
    kv_heads = heads // groups[min(int(point[3] * len(groups)), len(groups) - 1)]
    return config_of(hidden, inner, heads, kv_heads, head_dim)


def dividing(hidden: int, heads: int) -> int:
    """The most heads up to `heads` that divide the hidden size."""
    return next(h for h in range(max(1, heads), 0, -1) if hidden % h == 0)


def config_of(hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int, vocab_size: int = 256) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=1, hidden_size=hidden, intermediate_size=inner, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=head_dim, vocab_size=vocab_size,
    )  # fmt: skip


def near(like: ModelConfig, point: Sequence[float]) -> ModelConfig:
    """The same kind of block, half to twice as wide (the exact one for a third of the points)."""
    if point[0] < 1 / 3:
        return like.model_copy(update={"num_hidden_layers": 1, "vocab_size": 256})
    factor = 0.5 * 4.0 ** point[1]
    heads = max(1, round(like.num_attention_heads * factor / like.num_key_value_heads)) * like.num_key_value_heads
    step = math.lcm(64, heads)
    hidden = max(step, round(like.hidden_size * factor / step) * step)
    inner = max(64, round(like.intermediate_size * factor / 64) * 64)
    return config_of(hidden, inner, heads, like.num_key_value_heads, like.head_dim)
