"""A family that is not known: Llama's block, with experts, windows or biases if its fields speak of them."""

from collections.abc import Mapping
from typing import Any

from .family import BIASED, Family, Sparse
from .fields import ALIASES, Fields
from .patterns import all_sliding
from .sparsity import sparse_after_first

# Functions that no family uses in a gated feed-forward layer.
PLAIN = ("relu", "relu2", "squared_relu", "xielu", "gelu_new", "gelu_fast", "quick_gelu")
ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act")


def gated_by_activation(fields: Fields) -> bool:
    """Whether the activation is one of gated layers."""
    return not any(fields.value(name) in PLAIN for name in ACTIVATIONS)


def unknown(data: Mapping[str, Any]) -> Family:
    """Llama's block, or a mixture of experts if the fields speak of experts."""
    sparse = None
    if any(data.get(name) for name in ("num_experts", *ALIASES["num_experts"])):
        size = "moe_intermediate_size" if data.get("moe_intermediate_size") else "intermediate_size"
        sparse = Sparse(size, shared=_any_shared, layers=sparse_after_first)
    return Family(
        "", {"num_key_value_heads": None}, **BIASED, ffn_bias="mlp_bias", gated=gated_by_activation,
        pattern=all_sliding, sparse=sparse,
    )  # fmt: skip


def _any_shared(fields: Fields) -> int:
    size = fields.optional("shared_expert_intermediate_size", low=0) or fields.optional("share_expert_dim", low=0)
    fields.name("use_moe_router_bias")
    if size is not None:
        fields.name("n_shared_experts")
        return size
    shared = fields.optional("n_shared_experts", low=0) or 0
    return shared * fields.whole("moe_intermediate_size") if shared else 0
