"""What sets a family of decoders apart, as a declaration; `build` reads a configuration by it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...model.architecture import Norm
from .fields import Fields
from .patterns import Pattern, all_full, all_sparse, rope_everywhere

# A fact of the family, or the name of the boolean field that decides it.
Switch = bool | str
LLAMA_STYLE = Norm("rms", 1.0)


def _two(_fields: Fields) -> int:
    return 2


@dataclass(frozen=True)
class Sparse:
    """How a family lays out its experts."""

    size: str = "moe_intermediate_size"  # field with the inner size of one expert
    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    shared: Callable[[Fields], int] | None = None  # inner size of the dense layer beside the experts
    shared_gate: bool = False
    layers: Callable[[Fields, int], list[bool]] = all_sparse


@dataclass(frozen=True)
class Family:
    """One family of decoders. `defaults` are those of the Transformers class, for absent fields."""

    source: str  # the Transformers configuration class
    defaults: Mapping[str, Any] = field(default_factory=dict)
    norm: Norm | Callable[[Fields], Norm] = LLAMA_STYLE
    norms: Callable[[Fields], int] = _two
    final_norm: Callable[[Fields], bool] | None = None  # None: always
    gated: bool = True
    ffn_bias: Switch = False
    qkv_bias: Switch = False
    out_bias: Switch = False
    qk_norm: Literal["", "head", "width"] = ""
    qk_norm_if: Switch = True
    qk_norm_vectors: float = 1.0
    output_gate: bool = False
    sinks: bool = False
    fused_qkv: bool = False
    fused_gate: bool = False
    square_heads: bool = False  # head_dim × heads must be hidden_size
    rotary_share: float = 1.0
    rope: Callable[[Fields, list[str]], list[bool]] = rope_everywhere
    pattern: Pattern = all_full
    kv_heads: Callable[[Fields], int] | None = None
    latent: bool = False  # multi-head latent attention
    linear: Literal["", "nemotron", "granite", "delta"] = ""
    single: bool = False  # a block is a mixer or a feed-forward layer, not both
    sparse: Sparse | None = None
    positions: int | None = None  # rows of the learned table beyond max_position_embeddings; None: no table
    head_bias: bool = False
    ties: bool = True  # False: the class keeps an LM head of its own whatever tie_word_embeddings says
    residual_scale: bool = False
    stand_ins: Mapping[str, Any] = field(default_factory=dict)  # for fields that a class leaves null but cost needs
