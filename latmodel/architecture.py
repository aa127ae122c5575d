"""A decoder as a sequence of groups of identical blocks. Dimensions are numbers or arrays that broadcast."""

from dataclasses import dataclass

from .arrays import Array


@dataclass(frozen=True, slots=True)
class Attention:
    """Softmax attention with grouped keys and values (MHA if `kv_heads == heads`, MQA if 1)."""

    heads: Array
    kv_heads: Array
    head_dim: Array
    window: float | None = None  # positions a query sees; None: all before it
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A gated (three matrices, SwiGLU) or plain (two) feed-forward layer."""

    intermediate_size: Array
    gated: bool = True
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder block: an attention and a feed-forward layer (either may be missing), each behind a norm."""

    attention: Attention | None
    feed_forward: FeedForward | None
    norms: int = 2
    norm_bias: bool = False  # LayerNorm has one, RMSNorm has none
    aligned: bool = False  # every dimension, the model's too, is known to be a multiple of 8: nothing to look up


@dataclass(frozen=True, slots=True)
class Group:
    """`count` identical blocks."""

    count: Array
    block: Block


@dataclass(frozen=True, slots=True)
class Architecture:
    """A whole decoder: embedding, groups of blocks, final norm, LM head."""

    groups: tuple[Group, ...]
    hidden_size: Array
    vocab_size: Array
    tie_word_embeddings: Array = 0.0  # 1 shares the LM head's matrix with the embedding

    @property
    def num_hidden_layers(self) -> Array:
        """All blocks."""
        return sum(group.count for group in self.groups)


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
