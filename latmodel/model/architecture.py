"""A decoder as a sequence of groups of identical blocks. Dimensions are numbers or arrays that broadcast."""

from dataclasses import dataclass
from functools import cached_property

from ..arrays import Array, is_array, maximum, minimum, total
from .formats import WeightFormat
from .layers.attention import Attention
from .layers.embedding import Embedding
from .layers.feed_forward import FeedForward
from .layers.layer import Layer
from .layers.norm import RMS, Norm

__all__ = [
    "Architecture", "Attention", "Block", "FeedForward", "Group", "Layer", "Mixer", "Norm", "uniform",
]  # fmt: skip

LAYER_SIZES = (*FeedForward.sizes, *Attention.sizes)  # of which a profile may know the measured range
Mixer = Layer  # a layer that tokens exchange through: the first of a block


# Blocks and architectures have no slots: what is worked out once is kept in their dictionary. A search prices the same
# shape under many workloads.
@dataclass(frozen=True)
class Block:
    """One decoder block: a token mixer and a feed-forward layer (either may be missing), and their norms."""

    attention: Layer | None
    feed_forward: Layer | None
    norms: int = 2
    norm: Norm = RMS
    residual_scale: bool = False  # each branch is multiplied by a constant before it is added
    aligned: bool = False  # every dimension, the model's too, is known to be a multiple of 8: nothing to look up
    scalars: Array = 0.0  # learned values that stand in no layer: constants of an activation, scales, gates' biases
    continues: bool = False  # a part of the layer before it, as configurations count them
    # Products whose format as shipped is not the checkpoint's main one, by name; None: left in the dtype.
    formats: tuple[tuple[str, WeightFormat | None], ...] = ()

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Those that are there: the mixer first."""
        return tuple(layer for layer in (self.attention, self.feed_forward) if layer is not None)

    @cached_property
    def fills_at(self) -> Array | None:
        """The context from which a decode step costs the same; None if it always grows, or never does."""
        return next((layer.fills_at for layer in self.layers if layer.fills_at is not None), None)

    def dimensions(self) -> dict[str, Array]:
        """Of its layers, those that every `config.json` has a name for, by that name."""
        return {name: value for layer in self.layers for name, value in layer.dimensions().items()}

    def parameters(self, hidden: Array) -> Array:
        """Its parameters, exactly."""
        parameters = self.norm.parameters(hidden, self.norms)
        for layer in self.layers:
            parameters = parameters + layer.parameters(hidden)
        return parameters + self.scalars if is_array(self.scalars) or self.scalars else parameters


@dataclass(frozen=True, slots=True)
class Group:
    """`count` identical blocks, which share the weights of `stored` of them if that is given."""

    count: Array
    block: Block
    stored: Array | None = None

    @property
    def kept(self) -> Array:
        """Blocks whose weights are stored."""
        return self.count if self.stored is None else self.stored


@dataclass(frozen=True)
class Architecture:
    """A whole decoder: embedding, groups of blocks, final norm, LM head."""

    groups: tuple[Group, ...]
    hidden_size: Array
    vocab_size: Array
    tie_word_embeddings: Array = 0.0  # 1 shares the LM head's matrix with the embedding
    final_norm: Norm | None = RMS
    positions: Array = 0.0  # rows of a learned table of positions
    embedding_size: Array | None = None  # width of the embedding where it is projected to and from hidden_size
    head_bias: bool = False
    embedding_norm: Norm | None = None  # between the embedding and the first block
    stem: tuple[Layer, ...] = ()  # layers that run once a pass, outside of the blocks
    assumed: tuple[str, ...] = ()  # what was guessed of it: predictions are then extrapolated
    # Formats of the LM head and the embedding as shipped, where they are quantised.
    head_format: WeightFormat | None = None
    embedding_format: WeightFormat | None = None

    @property
    def num_hidden_layers(self) -> Array:
        """Layers as a configuration counts them: all blocks but those that continue another."""
        if len(self.groups) == 1:
            return self.groups[0].count
        return total([group.count for group in self.groups if not group.block.continues])

    @cached_property
    def aligned(self) -> bool:
        """Whether every block, and with them the model's own dimensions, is known to be aligned."""
        return bool(self.groups) and all(group.block.aligned for group in self.groups)

    @property
    def shipped_head(self) -> WeightFormat | None:
        """The format of the matrix that gives the logits, where it is shipped quantised: a tied head's, the table's."""
        if self.head_format is None and self.embedding_format is None:
            return None
        tied = isinstance(self.tie_word_embeddings, float) and self.tie_word_embeddings == 1.0
        return self.embedding_format if tied else self.head_format

    @cached_property
    def special_layers(self) -> frozenset[str]:
        """The kinds of layer besides attention and a dense feed-forward layer, which every profile is fitted on."""
        layers = (layer for group in self.groups for layer in group.block.layers)
        return frozenset(layer.kind for layer in layers if not layer.always_measured)

    @cached_property
    def extents(self) -> dict[str, tuple[Array, Array]]:
        """The smallest and the largest of each size (`LAYER_SIZES`) over all layers that have it."""
        found: dict[str, tuple[Array, Array]] = {}
        for group in self.groups:
            for layer in group.block.layers:
                for size in layer.sizes:
                    value = getattr(layer, size)
                    low, high = found.get(size, (value, value))
                    # The first, and most of the others, are the very same number.
                    found[size] = (low, high) if value is low is high else (minimum(low, value), maximum(high, value))
        return found

    @cached_property
    def embedding(self) -> Embedding:
        """What lies around the blocks but for the final norm."""
        return Embedding(
            self.hidden_size, self.vocab_size, self.tie_word_embeddings, self.positions, self.embedding_size,
            self.head_bias,
        )  # fmt: skip

    @cached_property
    def num_parameters(self) -> Array:
        """All parameters, counted once: not for tensors, whose values may change in training."""
        return self.parameters()

    def parameters(self) -> Array:
        """All parameters, exactly: blocks, final norm, embedding, LM head."""
        blocks = sum(group.kept * group.block.parameters(self.hidden_size) for group in self.groups)
        final = 0.0 if self.final_norm is None else self.final_norm.parameters(self.hidden_size)
        return blocks + final + self.outer_parameters()

    def outer_parameters(self) -> Array:
        """Those of what lies around the blocks but for the final norm."""
        parameters = self.embedding.parameters()
        if self.embedding_norm is not None:
            parameters = parameters + self.embedding_norm.parameters(self.hidden_size)
        for layer in self.stem:
            parameters = parameters + layer.parameters(self.hidden_size)
        return parameters


def uniform(
    *,
    num_hidden_layers: Array,
    hidden_size: Array,
    intermediate_size: Array,
    num_attention_heads: Array,
    num_key_value_heads: Array,
    head_dim: Array,
    vocab_size: Array,
    tie_word_embeddings: Array = 0.0,
    aligned: bool = False,
) -> Architecture:
    """A Llama-style decoder whose blocks are all alike; dimensions may be arrays that broadcast."""
    attention = Attention(num_attention_heads, num_key_value_heads, head_dim)
    block = Block(attention, FeedForward(intermediate_size), aligned=aligned)
    return Architecture((Group(num_hidden_layers, block),), hidden_size, vocab_size, tie_word_embeddings)
