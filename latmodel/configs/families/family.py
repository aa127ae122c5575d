"""What sets a family of decoders apart, as a declaration; `build` reads a configuration by it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ...model.architecture import Architecture, Block, Mixer, Norm
from .fields import Fields
from .patterns import Pattern, all_full
from .positions import rope_everywhere
from .sparsity import all_sparse

# Biases of the attention as most classes have them: one field for all.
BIASED: dict[str, Any] = {"qkv_bias": "attention_bias", "out_bias": "attention_bias"}
LLAMA: dict[str, Any] = {"vocab": 32000, "inner": 11008, "heads": 32}


def dims(vocab: int, inner: int | None, heads: int, kv: int | None = None, **more: Any) -> dict[str, Any]:
    """Defaults of a class; `hidden_size` and the number of layers have none here: a configuration must give them."""
    sizes = {"vocab_size": vocab, "intermediate_size": inner, "num_attention_heads": heads, "num_key_value_heads": kv}
    return {**sizes, **more}


# A fact of the family, or the name of the boolean field that decides it.
Switch = bool | str
LLAMA_STYLE = Norm("rms", 1.0)


def _two(_fields: Fields) -> int:
    return 2


class Layer(NamedTuple):
    """What may differ from layer to layer."""

    kind: str
    heads: int
    kv_heads: int
    inner: int
    rotates: bool
    sparse: bool
    variant: str = ""  # what else a family tells layers apart by
    head_dim: int | None = None  # None: `head_dim` of the configuration, or hidden_size over the heads


@dataclass(frozen=True)
class Sparse:
    """How a family lays out its experts."""

    size: str = "moe_intermediate_size"  # field with the inner size of one expert
    gated: bool = True
    bias: bool = False
    router_bias: Switch = False
    shared: Callable[[Fields], int] | None = None  # inner size of the dense layer beside the experts
    shared_gate: bool = False
    all_run: bool = False  # the class sends every token to every expert
    layers: Callable[[Fields, int], list[bool]] = all_sparse


@dataclass(frozen=True)
class Family:
    """One family of decoders. `defaults` are those of the Transformers class, for absent fields."""

    source: str  # the Transformers configuration class
    defaults: Mapping[str, Any] = field(default_factory=dict)
    norm: Norm | Callable[[Fields], Norm] = LLAMA_STYLE
    norms: Callable[[Fields], int] = _two
    final_norm: Callable[[Fields], bool] | None = None  # None: always
    embedding_norm: bool = False  # the embedding is normalised before the first block
    gated: bool | Callable[[Fields], bool] = True
    ffn_bias: Switch = False
    qkv_bias: Switch = False
    out_bias: Switch = False
    qk_norm: Literal["", "head", "width"] = ""
    qk_norm_if: Switch = True
    qk_norm_vectors: float = 1.0
    output_gate: Switch = False
    sinks: bool = False
    fused_qkv: bool = False
    fused_gate: bool = False
    rounds_heads: bool = False  # hidden_size over the heads is rounded down
    square_heads: bool = False  # head_dim × heads must be hidden_size
    rotary_share: float = 1.0
    rope: Callable[[Fields, list[str]], list[bool]] = rope_everywhere
    pattern: Pattern = all_full
    kv_heads: Callable[[Fields], int] | None = None
    latent: bool = False  # multi-head latent attention
    mixers: Mapping[str, Callable[[Fields], Mixer]] = field(default_factory=dict)  # of kinds of layer, but attention
    adapt: Callable[[Fields, Layer, Mixer], Mixer] | None = None  # what a family changes of its attention
    no_heads: bool = False  # a model without attention: its heads are no concern
    single: bool = False  # a block is a mixer or a feed-forward layer, not both
    sparse: Sparse | None = None
    positions: int | None = None  # rows of the learned table beyond max_position_embeddings; None: no table
    head_bias: Switch = False
    ties: bool = True  # False: the class keeps an LM head of its own whatever tie_word_embeddings says
    residual_scale: bool = False
    convert: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None  # other names and nests to the common fields
    scalars: Callable[[Fields, Layer], int] | None = None  # learned values of a block that stand in no product
    layers: Callable[[Fields, list[Layer]], list[Layer]] | None = None  # a rule that changes single layers
    blocks: Callable[[Fields, Layer, Block], tuple[Block, ...]] | None = None  # what a layer is built of, if not one
    finish: Callable[[Fields, Architecture], Architecture] | None = None  # what stands outside of the blocks
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # fields, and their values that are understood
    harmless: tuple[str, ...] = ()  # fields of this class that change no cost
    beside: str = ""  # what its checkpoints hold beside the decoder, of which the configuration says nothing
    stand_ins: Mapping[str, Any] = field(default_factory=dict)  # for fields that a class leaves null but cost needs
