"""A decoder as a sequence of groups of identical blocks. Dimensions are numbers or arrays that broadcast."""

from dataclasses import dataclass, field
from typing import Literal

from ..arrays import Array


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation of the residual stream with `vectors` learned vectors (weight; weight and bias; none)."""

    kind: Literal["rms", "layer"] = "rms"
    vectors: float = 1.0


@dataclass(frozen=True, slots=True)
class Attention:
    """Softmax attention with grouped keys and values (MHA if `kv_heads == heads`, MQA if 1)."""

    heads: Array
    kv_heads: Array
    head_dim: Array
    window: Array | None = None  # positions a query sees; None: all before it
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["", "head", "width"] = ""  # weights shared by the heads, or one for each element
    qk_norm_vectors: float = 1.0  # 2 where these norms have a bias
    rotary: float = 1.0  # share of head_dim that is rotated; 0: no rotary positions
    output_gate: bool = False  # queries come with a gate of their own size on the output
    sinks: bool = False  # one learned logit a head
    fused: bool = False  # queries, keys and values come from one product
    query_width: Array = field(init=False, repr=False, compare=False)  # of the queries of all heads
    key_width: Array = field(init=False, repr=False, compare=False)  # of the keys, and of the values, of all heads

    def __post_init__(self) -> None:
        # Worked out once: a dozen formulas ask for them.
        object.__setattr__(self, "query_width", self.heads * self.head_dim)
        object.__setattr__(self, "key_width", self.kv_heads * self.head_dim)


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention: keys and values are expanded from one small latent a position (DeepSeek-V2, 3.2)."""

    heads: Array
    query_rank: Array | None  # None: queries straight from the residual stream
    latent_rank: Array
    nope_dim: Array
    rope_dim: Array
    value_dim: Array
    bias: bool = False  # on the projections that leave the residual stream, and on the output


@dataclass(frozen=True, slots=True)
class Mamba2:
    """A state-space layer with one scalar decay a head (Dao & Gu 2024, "Transformers are SSMs")."""

    heads: Array
    head_dim: Array
    groups: Array
    state_size: Array
    conv_kernel: float = 4.0
    conv_bias: bool = True
    bias: bool = False
    chunk: float = 256.0


@dataclass(frozen=True, slots=True)
class GatedDelta:
    """Linear attention with a gated delta rule (Yang et al. 2024, "Gated Delta Networks")."""

    key_heads: Array
    value_heads: Array
    key_dim: Array
    value_dim: Array
    conv_kernel: float = 4.0
    chunk: float = 64.0


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A gated (three matrices, SwiGLU) or plain (two) feed-forward layer."""

    intermediate_size: Array
    gated: bool = True
    bias: bool = False
    fused: bool = False  # gate and up come from one product


@dataclass(frozen=True, slots=True)
class Experts:
    """`per_token` of `count` feed-forward layers, chosen for each token, and perhaps a dense one beside them."""

    count: Array
    per_token: Array
    intermediate_size: Array
    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    shared: FeedForward | None = None
    shared_gate: bool = False  # a learned sigmoid on the shared layer's output
    latent_size: Array | None = None  # the experts work on a projection of this width
    latent_bias: bool = False


Mixer = Attention | LatentAttention | Mamba2 | GatedDelta


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder block: a token mixer and a feed-forward layer (either may be missing), and their norms."""

    attention: Mixer | None
    feed_forward: FeedForward | Experts | None
    norms: int = 2
    norm: Norm = Norm()
    residual_scale: bool = False  # each branch is multiplied by a constant before it is added
    scalars: Array = 0.0  # learned values that stand in no product: gates' biases, scales, an activation's constants
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
    final_norm: Norm | None = Norm()
    positions: Array = 0.0  # rows of a learned table of positions
    embedding_size: Array | None = None  # width of the embedding where it is projected to and from hidden_size
    head_bias: bool = False
    embedding_norm: Norm | None = None  # between the embedding and the first block
    assumed: tuple[str, ...] = ()  # what of a configuration was guessed: predictions are extrapolated

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
