"""A model from its number of parameters: the Llama-style shape that comes nearest to it."""

import math
from bisect import bisect_left
from collections.abc import Callable

from ..errors import UsageError
from ..model.config import ModelConfig
from ..model.totals import num_parameters
from ..units import show_count
from .model_input import shape_config

WIDTH_A_LAYER = 128  # of LLaMA-7B (4096 / 32) and 13B (5120 / 40): Touvron et al. 2023, table 2
STEP = 64  # widths are multiples of it
# Sizes that are tried on either side. Keys are shared by 4, 3, 2 or 1 query heads, whichever divides them, so that
# counts go up and down by a seventh from one width to the next.
AROUND = 32
DEEPEST, WIDEST = 1024, 65536
FURTHEST = 0.15  # off the number of parameters by more is no answer

Dimensions = dict[str, int | None]


def sized_config(
    parameters: float, layers: int | None, hidden: int | None, given: Dimensions, tie: bool
) -> ModelConfig:
    """The model nearest to `parameters` in all, embeddings counted.

    With `layers` the width is found, a multiple of 64; with `hidden` the depth; with neither both, 128 wide a layer.
    The other dimensions are those `given`, filled in as everywhere.

    Raises:
        UsageError: both `layers` and `hidden` are given, or the nearest shape is off by more than 15 %.
    """
    if layers and hidden:
        raise UsageError("--params is instead of --layers or of --hidden: leave out one of the three")
    step = _step(given)

    def shape(size: int) -> ModelConfig:
        if hidden is not None:
            return shape_config(size, hidden, **given, tie=tie)
        if layers is not None:
            return shape_config(layers, step * size, **given, tie=tie)
        return shape_config(size, step * max(round(WIDTH_A_LAYER * size / step), 1), **given, tie=tie)

    return _nearest(shape, parameters, WIDEST // step if layers is not None else DEEPEST)


def _step(given: Dimensions) -> int:
    """What widths are multiples of, so that heads divide them and KV heads divide the heads."""
    heads, head_dim = given.get("heads"), given.get("head_dim") or STEP
    whole = heads or head_dim * (given.get("kv_heads") or 1)
    return math.lcm(STEP, whole)


def _nearest(shape: Callable[[int], ModelConfig], parameters: float, largest: int) -> ModelConfig:
    """The shape whose count is nearest in ratio, out of sizes 1 to `largest`."""

    def count(size: int) -> float:
        return float(num_parameters(shape(size).architecture()))

    sizes = range(1, largest + 1)
    place = bisect_left(sizes, parameters, key=count)
    near = sizes[max(place - AROUND, 0) : place + AROUND]
    best = min(near, key=lambda size: abs(math.log(count(size) / parameters)))
    config, found = shape(best), count(best)
    if abs(found / parameters - 1.0) > FURTHEST:
        raise UsageError(
            f"--params {show_count(parameters)}: the nearest shape, {config.num_hidden_layers}x{config.hidden_size}, "
            f"has {show_count(found)}; give another --layers, --hidden or --vocab ({config.vocab_size} here)"
        )
    return config
