"""Configurations in other names and nests, brought to the common fields. Each gives a new dictionary."""

from collections.abc import Mapping
from typing import Any

from ...errors import UsageError


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} is a {type(value).__name__}: give an object")
    return value


def _without(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def minimax_m3(data: Mapping[str, Any]) -> dict[str, Any]:
    """MiniMax M3: `sparse_attention_config` holds the indexer and which layers have one."""
    sparse = _object(data, "sparse_attention_config")
    names = {
        "sparse_num_index_heads": "index_n_heads", "sparse_index_dim": "index_head_dim",
        "sparse_block_size": "index_block_size", "sparse_topk_blocks": "index_topk_blocks",
    }  # fmt: skip
    found = _without(data, "sparse_attention_config", "num_local_experts_per_tok")
    found |= {new: sparse[old] for old, new in names.items() if old in sparse}
    frequency = sparse.get("sparse_attention_freq")
    if isinstance(frequency, list) and "layer_types" not in found:
        found["layer_types"] = ["indexed_attention" if item else "full_attention" for item in frequency]
    return found


def kimi_linear(data: Mapping[str, Any]) -> dict[str, Any]:
    """Kimi Linear: `linear_attn_config` numbers the layers from 1."""
    linear = _object(data, "linear_attn_config")
    found = _without(data, "linear_attn_config")
    names = {
        "num_heads": "linear_num_heads", "head_dim": "linear_head_dim",
        "short_conv_kernel_size": "linear_conv_kernel_dim", "use_full_rank_gate": "linear_full_rank_gate",
    }  # fmt: skip
    found |= {new: linear[old] for old, new in names.items() if old in linear}
    full, depth = linear.get("full_attn_layers"), data.get("num_hidden_layers")
    if isinstance(full, list) and isinstance(depth, int) and 0 < depth <= 5000 and "layer_types" not in found:
        chosen = {item for item in full if isinstance(item, int)}
        found["layer_types"] = [
            "full_attention" if index + 1 in chosen else "linear_attention" for index in range(depth)
        ]
    return found
