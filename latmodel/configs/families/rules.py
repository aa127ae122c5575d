"""What some families decide by a rule of their own: norms of a block, heads, the size of a shared layer."""

from collections.abc import Callable

from ...model.architecture import Norm
from .fields import Fields

LAYER_NORM = Norm("layer", 2.0)
PLAIN_NORM = Norm("layer", 0.0)


def four(_fields: Fields) -> int:
    """Norms before and after both layers (Gemma 2, GLM-4)."""
    return 4


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


def shared(field: str) -> Callable[[Fields], int]:
    """Size of the shared layer as a field of its own; 0: there is none."""
    return lambda fields: fields.optional(field, low=0) or 0


def shared_by_count(fields: Fields) -> int:
    """DeepSeek: so many shared experts of the experts' size, built as one layer."""
    return (fields.optional("n_shared_experts", low=0) or 0) * fields.whole("moe_intermediate_size")


def nemotron_shared(fields: Fields) -> int:
    """Nemotron-H builds one shared layer whatever `n_shared_experts` says."""
    fields.optional("n_shared_experts", low=0)
    return fields.whole("moe_shared_expert_intermediate_size")
