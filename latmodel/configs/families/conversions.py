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


def mpt(data: Mapping[str, Any]) -> dict[str, Any]:
    """MPT: `expansion_ratio` gives the inner size; positions are ALiBi's whatever `learned_pos_emb` says."""
    attention = _object(data, "attn_config")
    for name, plain in (("attn_type", "multihead_attention"), ("qk_ln", False), ("prefix_lm", False)):
        if attention.get(name) not in (None, plain):
            raise UsageError(f"attn_config: {name} is {str(attention[name])[:40]!r}; read: {plain}")
    found = _without(data, "attn_config", "expansion_ratio", "learned_pos_emb", "norm_type", "logit_scale")
    width, ratio = data.get("d_model", data.get("hidden_size")), data.get("expansion_ratio", 4)
    if isinstance(width, int) and isinstance(ratio, int) and "intermediate_size" not in found:
        found["intermediate_size"] = width * ratio
    return found


def dbrx(data: Mapping[str, Any]) -> dict[str, Any]:
    """DBRX: attention and experts in objects of their own."""
    attention, experts = _object(data, "attn_config"), _object(data, "ffn_config")
    found = _without(data, "attn_config", "ffn_config")
    found |= {"num_key_value_heads": attention.get("kv_n_heads", 1), "hidden_size": data.get("d_model")}
    names = {
        "ffn_hidden_size": "intermediate_size",
        "moe_num_experts": "num_experts",
        "moe_top_k": "num_experts_per_tok",
    }
    found |= {new: experts[old] for old, new in names.items() if old in experts}
    return _without(found, "d_model")


def half_inner(data: Mapping[str, Any]) -> dict[str, Any]:
    """Qwen 1, Molmo: `intermediate_size` is of gate and up together."""
    size = data.get("intermediate_size")
    return {**data, "intermediate_size": size // 2} if isinstance(size, int) else dict(data)


def chatglm(data: Mapping[str, Any]) -> dict[str, Any]:
    """ChatGLM 2, 3 and GLM-4-9B: `multi_query_group_num` counts only if `multi_query_attention`."""
    found = _without(
        data, "multi_query_attention", "rmsnorm", "post_layer_norm", "apply_residual_connection_post_layernorm"
    )
    for name, plain in (
        ("rmsnorm", True),
        ("post_layer_norm", True),
        ("apply_residual_connection_post_layernorm", False),
    ):
        if data.get(name) not in (None, plain):
            raise UsageError(f"{name} is {str(data[name])[:20]}; read: {plain}")
    return found if data.get("multi_query_attention") else _without(found, "multi_query_group_num")


def open_elm(data: Mapping[str, Any]) -> dict[str, Any]:
    """OpenELM: heads and inner sizes by layer; an inner size is a multiplier of the width, up to a divisor.

    `make_divisible` of corenet: to the nearest multiple, or the next one where that takes more than a tenth.
    """
    names = {
        "model_dim": "hidden_size", "num_transformer_layers": "num_hidden_layers",
        "num_kv_heads": "num_key_value_heads", "num_query_heads": "num_attention_heads",
        "share_input_output_layers": "tie_word_embeddings",
        "max_context_length": "max_position_embeddings", "activation_fn_name": "hidden_act",
    }  # fmt: skip
    found = {names.get(name, name): value for name, value in data.items()}
    found = _without(
        found, "ffn_multipliers", "ffn_dim_divisor", "qkv_multipliers", "num_gqa_groups", "rope_max_length",
        "rope_freq_constant", "normalization_layer_name",
    )  # fmt: skip
    if data.get("normalization_layer_name", "rms_norm") != "rms_norm" or data.get("ffn_with_glu") is False:
        raise UsageError("normalization_layer_name, ffn_with_glu: OpenELM is read with rms_norm and gated layers")
    factors, width, step = data.get("ffn_multipliers"), data.get("model_dim"), data.get("ffn_dim_divisor", 256)
    if isinstance(factors, list) and isinstance(width, int) and isinstance(step, int) and step > 0:
        if not all(isinstance(one, int | float) and 0 < one < 1000 for one in factors):
            raise UsageError("ffn_multipliers: give a number for each layer")
        found["intermediate_size"] = [_divisible(one * width, step) for one in factors]
    return found


def _divisible(value: float, step: int) -> int:
    nearest = max(step, int(value + step / 2) // step * step)
    return nearest + step if nearest < 0.9 * value else nearest


def nemotron_nas(data: Mapping[str, Any]) -> dict[str, Any]:
    """Puzzle's output (DeciLM): each of `block_configs` says the layer's groups and inner size, or leaves a part out.

    An inner size is two thirds of the multiple of the width, up to a multiple of 256 (modeling_decilm.py of
    nvidia/Llama-3_3-Nemotron-Super-49B-v1: `_ffn_mult_to_intermediate_size`).
    """
    blocks, heads, width = data.get("block_configs"), data.get("num_attention_heads"), data.get("hidden_size")
    if not isinstance(blocks, list) or not isinstance(heads, int) or not isinstance(width, int) or len(blocks) > 5000:
        raise UsageError("block_configs is missing, or no list of one object a layer")
    keys, inner, variants = [], [], []
    for index, block in enumerate(blocks):
        where = f"block_configs[{index}]"
        if not isinstance(block, Mapping):
            raise UsageError(f"{where} is a {type(block).__name__}: give an object")
        attention, layer = _object(block, "attention"), _object(block, "ffn")
        for part, fields in ((attention, ("replace_with_linear", "sparsify", "window_length", "num_sink_tokens")),
                             (layer, ("replace_with_linear", "sparsify"))):  # fmt: skip
            strange = next((name for name in fields if part.get(name)), None)
            if strange is not None:
                raise UsageError(f"{where}: {strange} is set, which is not read")
        idle, empty = attention.get("no_op") is True, layer.get("no_op") is True
        group, factor = attention.get("n_heads_in_group"), layer.get("ffn_mult")
        if not idle and not (isinstance(group, int) and 0 < group <= heads):
            raise UsageError(f"{where}: n_heads_in_group is {str(group)[:20]}")
        if not empty and not (isinstance(factor, int | float) and 0 < factor < 1000):
            raise UsageError(f"{where}: ffn_mult is {str(factor)[:20]}")
        keys.append(heads if idle or group is None else max(heads // group, 1))
        inner.append(256 if empty or factor is None else -(-int(2 * factor * width / 3) // 256) * 256)
        variants.append(("no attention " if idle else "") + ("no ffn" if empty else ""))
    found = _without(data, "block_configs")
    return {**found, "num_key_value_heads": keys, "intermediate_size": inner, "block_variants": variants}


def deepseek_v4(data: Mapping[str, Any]) -> dict[str, Any]:
    """DeepSeek-V4: `compress_ratios` lists 0, 4 or 128 for each layer, and for those of the MTP behind them."""
    found = _without(data, "compress_ratios", "compress_rates", "num_hash_layers", "mlp_layer_types")
    kinds = {0: "sliding_attention", 4: "compressed_sparse_attention", 128: "heavily_compressed_attention"}
    ratios, depth = data.get("compress_ratios"), data.get("num_hidden_layers")
    if isinstance(ratios, list) and isinstance(depth, int) and "layer_types" not in found:
        strange = next((one for one in ratios if one not in kinds), None)
        if strange is not None:
            raise UsageError(f"compress_ratios: {str(strange)[:20]} is not 0, 4 or 128")
        found["layer_types"] = [kinds[one] for one in ratios[:depth]]
    rates = data.get("compress_rates")
    if rates is not None and rates != {kinds[4]: 4, kinds[128]: 128}:
        raise UsageError("compress_rates: 4 and 128 are read")
    return found
