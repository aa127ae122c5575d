"""Small configurations of every family of decoders, default and varied, for tests against Transformers."""

import random
from typing import Any

from small_new_models import (
    ABSENT,
    NEW_CHOICES,
    NEW_LATENT,
    NEW_NAMES,
    NEW_ONE_KV_EACH,
    NEW_SQUARE,
)

# How a class calls what most call otherwise.
GPT2_NAMES = {
    "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "intermediate_size": "n_inner", "max_position_embeddings": "n_positions",
}  # fmt: skip
RENAMED: dict[str, dict[str, str]] = {
    "gpt2": GPT2_NAMES,
    "opt": {"intermediate_size": "ffn_dim"},
    "falcon": {"intermediate_size": "ffn_hidden_size", "num_key_value_heads": "num_kv_heads"},
    **NEW_NAMES,
}
# Classes whose heads must make up hidden_size, so that head_dim is not theirs to choose.
SQUARE = ("gpt2", "gpt_neox", "opt", "falcon", "stablelm", "cohere2", "phi", "phi3", "olmo", "olmo2", "olmo3",
          "starcoder2", "cohere", "granite", "granitemoe", "granitemoeshared", "granitemoehybrid", "qwen2", "qwen2_moe",
          "smollm3", "mixtral", *NEW_SQUARE)  # fmt: skip
ONE_KV_EACH = ("gpt2", "gpt_neox", "opt", "falcon", "deepseek_v2", "deepseek_v3", *NEW_ONE_KV_EACH)
BIASES = {"attention_bias": (True, False)}
WINDOW = {"sliding_window": (3, 7, None)}
MOE = {"num_experts": (4, 6), "num_experts_per_tok": (1, 2, 3), "moe_intermediate_size": (24, 40)}
LATENT = {
    "kv_lora_rank": (16, 24), "q_lora_rank": (None, 24), "qk_rope_head_dim": (8, 16), "qk_nope_head_dim": (16, 24),
    "v_head_dim": (16, 24), "n_routed_experts": (4, 8), "num_experts_per_tok": (1, 2), "n_shared_experts": (1, 2),
    "moe_intermediate_size": (24, 40), "first_k_dense_replace": (0, 1, 2), "n_group": (1,), "topk_group": (1,),
    **BIASES,
}  # fmt: skip
GRANITE_MOE = {"num_local_experts": (4, 6), "num_experts_per_tok": (1, 2), **BIASES}
KINDS = ["linear_attention", "full_attention"]
# What else varies, family by family.
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {**BIASES, "mlp_bias": (True, False)},
    "mistral": WINDOW,
    "ministral": WINDOW,
    "ministral3": WINDOW,
    "mixtral": {"num_local_experts": (4, 6), "num_experts_per_tok": (1, 2), **WINDOW},
    "qwen2": {"use_sliding_window": (True, False), "sliding_window": (5,), "max_window_layers": (1, 2)},
    "qwen3": {**BIASES, "use_sliding_window": (True, False), "sliding_window": (5,), "max_window_layers": (1, 2)},
    "qwen2_moe": {**MOE, "shared_expert_intermediate_size": (16, 48), "decoder_sparse_step": (1, 2),
                  "qkv_bias": (True, False)},
    "qwen3_moe": {**MOE, **BIASES, "mlp_only_layers": ([], [1])},
    "qwen3_next": {
        **MOE, **BIASES, "shared_expert_intermediate_size": (16, 48), "linear_num_key_heads": (2,),
        "linear_num_value_heads": (2, 4), "linear_key_head_dim": (8, 16), "linear_value_head_dim": (8, 16),
        "linear_conv_kernel_dim": (3, 4), "mlp_only_layers": ([], [0]),
    },
    "gemma": BIASES,
    "gemma2": {**BIASES, "sliding_window": (4, 6)},
    "gemma3_text": {**BIASES, "sliding_window": (4, 6)},
    "phi": {"qk_layernorm": (True, False)},
    "phi3": WINDOW,
    "olmo": BIASES,
    "olmo2": BIASES,
    "olmo3": {**BIASES, "sliding_window": (4, 6)},
    "smollm3": {**BIASES, "mlp_bias": (True, False), "use_sliding_window": (True, False), "sliding_window": (5,)},
    "stablelm": {"use_qkv_bias": (True, False), "qk_layernorm": (True, False), "use_parallel_residual": (True, False)},
    "starcoder2": {"use_bias": (True, False), **WINDOW},
    "gpt2": {},
    "gpt_neox": {**BIASES, "use_parallel_residual": (True, False)},
    "opt": {"do_layer_norm_before": (True, False), "word_embed_proj_dim": (16, 32), "enable_bias": (True, False),
            "layer_norm_elementwise_affine": (True, False)},
    "falcon": {"new_decoder_architecture": (True, False), "multi_query": (True, False), "parallel_attn": (True,),
               "bias": (True, False), "alibi": (False,)},
    "cohere": {**BIASES, "use_qk_norm": (True, False)},
    "cohere2": {**BIASES, "sliding_window": (4, 6)},
    "granite": {**BIASES, "mlp_bias": (True, False)},
    "granitemoe": GRANITE_MOE,
    "granitemoeshared": {**GRANITE_MOE, "shared_intermediate_size": (0, 24)},
    "granitemoehybrid": {
        **GRANITE_MOE, "num_local_experts": (0, 4), "shared_intermediate_size": (24, 40), "mamba_n_heads": (4,),
        "mamba_expand": (2,), "mamba_d_state": (8, 16), "mamba_d_conv": (4,), "mamba_chunk_size": (8, 256),
        "mamba_conv_bias": (True, False), "mamba_proj_bias": (True, False), "mamba_n_groups": (1, 2),
    },
    "glm": BIASES,
    "glm4": BIASES,
    "gpt_oss": {"num_local_experts": (4, 6), "num_experts_per_tok": (1, 2), "sliding_window": (4, 6), **BIASES},
    "deepseek_v2": {**LATENT, "mlp_bias": (True, False)},
    "deepseek_v3": LATENT,
    "nemotron_h": {
        "mamba_num_heads": (4, 8), "mamba_head_dim": (8, 16), "n_groups": (1, 2), "ssm_state_size": (8, 16),
        "conv_kernel": (4,), "use_conv_bias": (True, False), "use_bias": (True, False), "chunk_size": (8, 128),
        "mlp_bias": (True, False), "n_routed_experts": (4,), "num_experts_per_tok": (1, 2),
        "moe_intermediate_size": (24,), "moe_shared_expert_intermediate_size": (16, 40), "moe_latent_size": (None, 16),
    },
    **NEW_CHOICES,
}  # fmt: skip


def varied(family: str, seed: int) -> dict[str, Any]:
    """Keyword arguments of a small configuration of `family`, drawn at random from `seed`."""
    rng = random.Random(f"{family} {seed}")
    heads = rng.choice((2, 4))
    width = rng.choice((8, 16))
    depth = 4 if family == "qwen3_next" else rng.choice((3, 4))
    square = family in SQUARE
    common: dict[str, Any] = {
        "vocab_size": rng.choice((97, 128)),
        "hidden_size": heads * width if square else rng.choice((32, 48)),
        "intermediate_size": rng.choice((40, 64, 72)),
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": heads if family in ONE_KV_EACH else rng.choice((1, 2, heads)),
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "tie_word_embeddings": rng.choice((True, False)),
    }
    if not square and family not in ("deepseek_v2", "deepseek_v3", *NEW_LATENT):
        common["head_dim"] = width
    names = RENAMED.get(family, {})
    absent = ABSENT.get(family, ())
    config = {names.get(key, key): value for key, value in common.items() if key not in absent}
    config |= {names.get(key, key): rng.choice(values) for key, values in CHOICES[family].items()}
    if family == "granitemoehybrid":
        config["layer_types"] = [rng.choice(KINDS) for _ in range(depth)]
    if family == "nemotron_h":
        del config["num_hidden_layers"]
        config["layers_block_type"] = rng.sample([*KINDS, "moe", "mlp"], 4)
    return config
