"""What some families decide by a rule of their own: norms of a block, heads, the size of a shared layer."""

from collections.abc import Callable
from dataclasses import replace

from ...model.architecture import Block, Norm
from .family import Layer
from .fields import Fields

LAYER_NORM = Norm("layer", 2.0)
PLAIN_NORM = Norm("layer", 0.0)
BARE_NORM = Norm("rms", 0.0)
WEIGHT_NORM = Norm("layer", 1.0)


def four(_fields: Fields) -> int:
    """Norms before and after both layers (Gemma 2, GLM-4)."""
    return 4


def four_if(field: str) -> Callable[[Fields], int]:
    """Four norms a block where a field says so, else two."""
    return lambda fields: 4 if fields.flag(field) else 2


def one(_fields: Fields) -> int:
    """One norm before two parallel layers."""
    return 1


def one_if_parallel(fields: Fields) -> int:
    """StableLM: parallel layers share a norm."""
    return 1 if fields.flag("use_parallel_residual") else 2


def neox_norms(fields: Fields) -> int:
    """GPT-NeoX: two, in sequence or in parallel."""
    fields.flag("use_parallel_residual")
    return 2


def falcon_norms(fields: Fields) -> int:
    """One before both branches, two for the large models' parallel branches, two in sequence."""
    given, grouped = fields.optional("num_ln_in_parallel_attn"), fields.flag("new_decoder_architecture")
    if not fields.flag("parallel_attn"):
        return 2
    return given if given is not None else 1 + grouped


def falcon_kv_heads(fields: Fields) -> int:
    """Falcon: one for the old multi-query models, `num_kv_heads` for the new ones."""
    given = fields.optional("num_key_value_heads") or fields.whole("num_attention_heads")
    grouped, multi_query = fields.flag("new_decoder_architecture"), fields.flag("multi_query")
    return 1 if multi_query and not grouped else given


def opt_norm(fields: Fields) -> Norm:
    """OPT: LayerNorm, whose weights may be left out."""
    return LAYER_NORM if fields.flag("layer_norm_elementwise_affine") else PLAIN_NORM


def opt_final_norm(fields: Fields) -> bool:
    """OPT: none after the last block of a post-norm model."""
    return fields.flag("do_layer_norm_before") and not fields.flag("_remove_final_layer_norm")


def as_many(fields: Fields) -> int:
    """A class without groups: a key-value head for each query head, whatever `num_key_value_heads` says."""
    fields.name("num_key_value_heads")
    return fields.whole("num_attention_heads")


def one_if_multi_query(fields: Fields) -> int:
    """GPT-BigCode: one key-value head if `multi_query`, else one for each query head."""
    fields.name("num_key_value_heads")
    return 1 if fields.flag("multi_query", default=True) else fields.whole("num_attention_heads")


def shared(field: str) -> Callable[[Fields], int]:
    """Size of the shared layer as a field of its own; 0: there is none."""
    return lambda fields: fields.optional(field, low=0) or 0


def shared_by_count(fields: Fields) -> int:
    """DeepSeek: so many shared experts of the experts' size, built as one layer."""
    return (fields.optional("n_shared_experts", low=0) or 0) * fields.whole("moe_intermediate_size")


def shared_like_one(fields: Fields) -> int:
    """So many shared experts of `intermediate_size`, built as one layer."""
    return (fields.optional("n_shared_experts", low=0) or 0) * fields.whole("intermediate_size")


def inner_size(fields: Fields) -> int:
    """One shared expert of `intermediate_size`."""
    return fields.whole("intermediate_size")


def nemotron_shared(fields: Fields) -> int:
    """Nemotron-H builds one shared layer whatever `n_shared_experts` says."""
    fields.optional("n_shared_experts", low=0)
    return fields.whole("moe_shared_expert_intermediate_size")


def two_scalars(_fields: Fields, _layer: Layer) -> int:
    """Apertus: the two learned values of its activation."""
    return 2


def sub_norms(fields: Fields, layer: Layer) -> int:
    """BitNet: norms of the attention's output (hidden_size wide) and of the feed-forward layer's inner values."""
    return fields.whole("hidden_size") + layer.inner


def a_scalar_a_head(_fields: Fields, layer: Layer) -> int:
    """BEAM: a bias on the output gate, one for each head."""
    return layer.heads


def one_more_norm_if_sparse(_fields: Fields, layer: Layer, block: Block) -> tuple[Block, ...]:
    """A.X K1: a norm after the experts."""
    return (replace(block, norms=3),) if layer.sparse else (block,)


def prefix_sizes(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """Cohere 2 mixtures: dense layers may have a size of their own."""
    size = fields.optional("prefix_dense_intermediate_size")
    return [layer if layer.sparse or size is None else layer._replace(inner=size) for layer in layers]


def llama4_sizes(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """Llama 4: `intermediate_size` is an expert's, `intermediate_size_mlp` a dense layer's."""
    size = fields.whole("intermediate_size_mlp")
    return [layer if layer.sparse else layer._replace(inner=size) for layer in layers]


def nas_variants(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """Puzzle: which layers lack a part."""
    variants = fields.words("block_variants") or [""] * len(layers)
    return [layer._replace(variant=variant) for layer, variant in zip(layers, variants, strict=True)]


def nas_blocks(_fields: Fields, layer: Layer, block: Block) -> tuple[Block, ...]:
    """Puzzle: a part that is left out goes with its norm; what lacks both is no block."""
    idle, empty = "no attention" in layer.variant, "no ffn" in layer.variant
    if idle and empty:
        return ()
    attention, feed_forward = (None if idle else block.attention), (None if empty else block.feed_forward)
    return (replace(block, attention=attention, feed_forward=feed_forward, norms=2 - idle - empty),)
