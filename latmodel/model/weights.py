"""The linear layers of a block, and what a model's weights take in a format, to the byte."""

from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

from ..arrays import Array, maximum
from .architecture import (
    Architecture,
    Attention,
    Block,
    Experts,
    FeedForward,
    GatedDelta,
    LatentAttention,
    Mamba2,
    Mixer,
)
from .config import Numbers
from .formats import WeightFormat
from .layers.kv_cache import conv_width
from .transformer import num_parameters


class Linear(NamedTuple):
    """`count` matrices of `inputs` × `outputs`."""

    inputs: Array
    outputs: Array
    count: Array = 1.0


def weight_bytes(model: Architecture, numbers: Numbers, parameters: Array | None = None) -> Array:
    """Bytes of all weights: in the format of the linear layers of the blocks, in the dtype everywhere else.

    Routers, embeddings and the LM head keep the dtype, as GPTQ, AWQ and fp8 checkpoints do. `parameters` are all the
    model's, where they are at hand.
    """
    every = num_parameters(model) if parameters is None else parameters
    if numbers.format is None:
        return every * numbers.weight_bytes
    plain = every * numbers.activation_bytes
    saved = sum(
        group.count * _saved(group.block, model.hidden_size, numbers.format, numbers.activation_bytes)
        for group in model.groups
    )
    return plain - saved


def _saved(block: Block, hidden: Array, form: WeightFormat, dtype_bytes: float) -> Array:
    return sum(
        one.count * (one.inputs * one.outputs * dtype_bytes - form.linear_bytes(one.inputs, one.outputs))
        for one in linears(block, hidden)
    )


def largest_linear(block: Block, hidden: Array) -> Array:
    """Weights of the largest linear layer of a block."""
    sizes = [one.inputs * one.outputs for one in linears(block, hidden)]
    return reduce(maximum, sizes, 0.0)


class Workspace(NamedTuple):
    """Bytes that the kernels of a quantised format hold as long as the model lives: an output, an unpacked matrix.

    Each is as large as the widest layer needs: of two parts of a model it is the maximum.
    """

    output_bytes: Array = 0.0
    unpacked_bytes: Array = 0.0

    @property
    def total_bytes(self) -> Array:
        """Both."""
        return self.output_bytes + self.unpacked_bytes

    def joined(self, other: "Workspace") -> "Workspace":
        """What both parts of a model need."""
        return Workspace(
            maximum(self.output_bytes, other.output_bytes), maximum(self.unpacked_bytes, other.unpacked_bytes)
        )


def workspace(model: Architecture, numbers: Numbers) -> Workspace:
    """What the kernels of the weights' format hold; nothing without a format."""
    form, held = numbers.format, Workspace()
    if form is None or not form.workspace_bytes:
        return held
    for group in model.groups:
        widest = reduce(maximum, [one.outputs for one in linears(group.block, model.hidden_size)], 0.0)
        unpacked = largest_linear(group.block, model.hidden_size) * numbers.activation_bytes
        held = held.joined(Workspace(widest * form.workspace_bytes, unpacked))
    return held


def linears(block: Block, hidden: Array) -> Iterator[Linear]:
    """The linear layers of a block that a format applies to: all but routers and gates."""
    yield from _mixer(block.attention, hidden)
    layer = block.feed_forward
    if isinstance(layer, Experts):
        width = hidden if layer.latent_size is None else layer.latent_size
        yield Linear(width, layer.intermediate_size, layer.count * (2.0 if layer.gated else 1.0))
        yield Linear(layer.intermediate_size, width, layer.count)
        if layer.latent_size is not None:
            yield Linear(hidden, width)
            yield Linear(width, hidden)
        layer = layer.shared
    if isinstance(layer, FeedForward):
        matrices = 2.0 if layer.gated else 1.0
        wide = layer.intermediate_size * matrices if layer.fused else layer.intermediate_size
        yield Linear(hidden, wide, 1.0 if layer.fused else matrices)
        yield Linear(layer.intermediate_size, hidden)


def _mixer(mixer: Mixer | None, hidden: Array) -> Iterator[Linear]:
    if isinstance(mixer, Attention):
        queries, keys = mixer.query_width, mixer.key_width
        asked = queries * 2.0 if mixer.output_gate else queries
        if mixer.fused:
            yield Linear(hidden, asked + 2.0 * keys)
        else:
            yield Linear(hidden, asked)
            yield Linear(hidden, keys, 2.0)
        yield Linear(queries, hidden)
    elif isinstance(mixer, LatentAttention):
        yield from _latent(mixer, hidden)
    elif isinstance(mixer, Mamba2):
        inner = mixer.heads * mixer.head_dim
        yield Linear(hidden, inner + conv_width(mixer) + mixer.heads)
        yield Linear(inner, hidden)
    elif isinstance(mixer, GatedDelta):
        values = mixer.value_heads * mixer.value_dim
        yield Linear(hidden, conv_width(mixer) + values)
        yield Linear(hidden, 2.0 * mixer.value_heads)
        yield Linear(values, hidden)


def _latent(m: LatentAttention, hidden: Array) -> Iterator[Linear]:
    queries = m.heads * (m.nope_dim + m.rope_dim)
    if m.query_rank is None:
        yield Linear(hidden, queries)
    else:
        yield Linear(hidden, m.query_rank)
        yield Linear(m.query_rank, queries)
    yield Linear(hidden, m.latent_rank + m.rope_dim)
    yield Linear(m.latent_rank, m.heads * (m.nope_dim + m.value_dim))
    yield Linear(m.heads * m.value_dim, hidden)
