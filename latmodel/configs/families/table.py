"""The families: what each class of Transformers 5.23 builds, and the values it gives to absent fields.

`tests/test_families.py` builds every class on the meta device, from its defaults and from varied configurations,
and compares parameters to the last one.
"""

from typing import Any

from .family import Family, Sparse
from .patterns import (
    all_linear,
    all_sliding,
    early_windows,
    every,
    flagged_windows,
    late_windows,
    linear_but_every,
    must_list,
    rope_by_interval,
    rope_if_named,
    rope_in_windows,
    rope_nowhere,
    rope_unless_alibi,
    sparse_after_first,
    sparse_by_step,
    windows_without_rope,
)
from .rules import (
    LAYER_NORM,
    PLAIN_NORM,
    falcon_kv_heads,
    falcon_norms,
    four,
    nemotron_shared,
    neox_norms,
    one,
    one_if_parallel,
    opt_final_norm,
    opt_norm,
    shared,
    shared_by_count,
)


def _dims(vocab: int, inner: int | None, heads: int, kv: int | None = None, **more: Any) -> dict[str, Any]:
    """Defaults of a class; `hidden_size` and the number of layers have none here: a configuration must give them."""
    dims = {"vocab_size": vocab, "intermediate_size": inner, "num_attention_heads": heads, "num_key_value_heads": kv}
    return {**dims, **more}


_LLAMA: dict[str, Any] = {"vocab": 32000, "inner": 11008, "heads": 32}
_QWEN_WINDOWS = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_GRANITE_MOE: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "attention_bias": False}
_GRANITE: dict[str, Any] = {"qkv_bias": "attention_bias", "out_bias": "attention_bias", "residual_scale": True}
_MAMBA_GRANITE: dict[str, Any] = {
    "mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_head": "auto", "mamba_d_conv": 4,
    "mamba_expand": 2, "mamba_chunk_size": 256, "mamba_conv_bias": True, "mamba_proj_bias": False,
}  # fmt: skip
_MAMBA_NEMOTRON = {
    "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4,
    "use_conv_bias": True, "use_bias": False, "chunk_size": 128,
}  # fmt: skip
_DELTA = {
    "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
    "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
}  # fmt: skip
_LATENT = {"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        "LlamaConfig",
        _dims(**_LLAMA),
        qkv_bias="attention_bias", out_bias="attention_bias", ffn_bias="mlp_bias",
    ),
    "mistral": Family("MistralConfig", _dims(32000, 14336, 32, 8, sliding_window=4096), pattern=all_sliding),
    "ministral": Family(
        "MinistralConfig", _dims(32000, 14336, 32, 8, sliding_window=4096), pattern=all_sliding
    ),
    "ministral3": Family(
        "Ministral3Config", _dims(131072, 14336, 32, 8, head_dim=128), pattern=all_sliding
    ),
    "mixtral": Family(
        "MixtralConfig",
        _dims(32000, 14336, 32, 8, num_experts=8, num_experts_per_tok=2),
        pattern=all_sliding, sparse=Sparse("intermediate_size"),
    ),
    "qwen2": Family(
        "Qwen2Config", _dims(151936, 22016, 32, 32, **_QWEN_WINDOWS), qkv_bias=True, pattern=late_windows
    ),
    "qwen3": Family(
        "Qwen3Config",
        _dims(151936, 22016, 32, 32, head_dim=128, **_QWEN_WINDOWS),
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", pattern=late_windows,
    ),
    "qwen2_moe": Family(
        "Qwen2MoeConfig",
        _dims(
            151936, 5632, 16, 16, num_experts=60, num_experts_per_tok=4, moe_intermediate_size=1408,
            shared_expert_intermediate_size=5632, decoder_sparse_step=1, qkv_bias=True, **_QWEN_WINDOWS,
        ),
        qkv_bias="qkv_bias", pattern=early_windows,
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), shared_gate=True, layers=sparse_by_step),
    ),
    "qwen3_moe": Family(
        "Qwen3MoeConfig",
        _dims(
            151936, 6144, 32, 4, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768,
            decoder_sparse_step=1, use_sliding_window=False, sliding_window=4096,
        ),
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", pattern=flagged_windows,
        sparse=Sparse(layers=sparse_by_step),
    ),
    "qwen3_next": Family(
        "Qwen3NextConfig",
        _dims(
            151936, 5632, 16, 2, head_dim=256, num_experts=512, num_experts_per_tok=10,
            moe_intermediate_size=512, shared_expert_intermediate_size=512, decoder_sparse_step=1, **_DELTA,
        ),
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="head", output_gate=True, rotary_share=0.25,
        pattern=linear_but_every(4), linear="delta",
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), shared_gate=True, layers=sparse_by_step),
    ),
    "gemma": Family(
        "GemmaConfig",
        _dims(256000, 24576, 16, 16, head_dim=256, tie_word_embeddings=True),
        qkv_bias="attention_bias", out_bias="attention_bias",
    ),
    "gemma2": Family(
        "Gemma2Config",
        _dims(256000, 9216, 8, 4, head_dim=256, sliding_window=4096, tie_word_embeddings=True),
        qkv_bias="attention_bias", out_bias="attention_bias", norms=four, pattern=every(2),
    ),
    "gemma3_text": Family(
        "Gemma3TextConfig",
        _dims(262208, 9216, 8, 4, head_dim=256, sliding_window=4096, tie_word_embeddings=True),
        qkv_bias="attention_bias", out_bias="attention_bias", norms=four, qk_norm="head", pattern=every(6),
    ),
    "phi": Family(
        "PhiConfig",
        _dims(51200, 8192, 32),
        norm=LAYER_NORM, norms=one, gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, head_bias=True,
        qk_norm="head", qk_norm_if="qk_layernorm", qk_norm_vectors=2.0, rotary_share=0.5,
    ),
    "phi3": Family(
        "Phi3Config", _dims(32064, 8192, 32), pattern=all_sliding, fused_qkv=True, fused_gate=True
    ),
    "olmo": Family(
        "OlmoConfig",
        _dims(50304, 11008, 32),
        norm=PLAIN_NORM, qkv_bias="attention_bias", out_bias="attention_bias",
    ),
    "olmo2": Family(
        "Olmo2Config",
        _dims(50304, 11008, 32),
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width",
    ),
    "olmo3": Family(
        "Olmo3Config",
        _dims(50304, 11008, 32, sliding_window=4096),
        qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width", pattern=every(4),
    ),
    "smollm3": Family(
        "SmolLM3Config",
        _dims(
            128256, 11008, 16, 4, no_rope_layer_interval=4, use_sliding_window=False, tie_word_embeddings=True
        ),
        qkv_bias="attention_bias", out_bias="attention_bias", ffn_bias="mlp_bias",
        pattern=windows_without_rope, rope=rope_by_interval,
    ),
    "stablelm": Family(
        "StableLmConfig",
        _dims(50304, 6912, 32, 32),
        norm=LAYER_NORM, norms=one_if_parallel, qkv_bias="use_qkv_bias", qk_norm="width", qk_norm_if="qk_layernorm",
        square_heads=True, rotary_share=0.25,
    ),
    "starcoder2": Family(
        "Starcoder2Config",
        _dims(49152, 12288, 24, 2, use_bias=True, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias="use_bias", qkv_bias="use_bias", out_bias="use_bias",
        pattern=all_sliding,
    ),
    "gpt2": Family(
        "GPT2Config",
        _dims(50257, None, 12, max_position_embeddings=1024, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, square_heads=True, positions=0,
        rope=rope_nowhere,
        fused_qkv=True,
    ),
    "gpt_neox": Family(
        "GPTNeoXConfig",
        _dims(50432, 24576, 64, attention_bias=True),
        norm=LAYER_NORM, norms=neox_norms, gated=False, ffn_bias=True, qkv_bias="attention_bias",
        out_bias="attention_bias", square_heads=True, rotary_share=0.25,
        fused_qkv=True,
    ),
    "opt": Family(
        "OPTConfig",
        _dims(
            50272, 3072, 12, max_position_embeddings=2048, enable_bias=True, do_layer_norm_before=True,
            layer_norm_elementwise_affine=True, tie_word_embeddings=True,
        ),
        norm=opt_norm, final_norm=opt_final_norm, gated=False, ffn_bias="enable_bias", qkv_bias="enable_bias",
        out_bias="enable_bias", square_heads=True, positions=2, rope=rope_nowhere,
    ),
    "falcon": Family(
        "FalconConfig",
        _dims(65024, None, 71, multi_query=True, parallel_attn=True, tie_word_embeddings=True),
        norm=LAYER_NORM, norms=falcon_norms, gated=False, ffn_bias="bias", qkv_bias="bias", out_bias="bias",
        square_heads=True, kv_heads=falcon_kv_heads, rope=rope_unless_alibi,
        fused_qkv=True,
    ),
    "cohere": Family(
        "CohereConfig",
        _dims(256000, 22528, 64, tie_word_embeddings=True),
        norms=one, qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="width", qk_norm_if="use_qk_norm",
    ),
    "cohere2": Family(
        "Cohere2Config",
        _dims(256000, 22528, 64, sliding_window=4096, tie_word_embeddings=True),
        norms=one, qkv_bias="attention_bias", out_bias="attention_bias", square_heads=True, pattern=every(4),
        rope=rope_in_windows,
    ),
    "granite": Family("GraniteConfig", _dims(**_LLAMA), ffn_bias="mlp_bias", **_GRANITE),
    "granitemoe": Family(
        "GraniteMoeConfig", _dims(**_LLAMA, **_GRANITE_MOE), sparse=Sparse("intermediate_size"), **_GRANITE
    ),
    "granitemoeshared": Family(
        "GraniteMoeSharedConfig",
        _dims(**_LLAMA, **_GRANITE_MOE),
        sparse=Sparse("intermediate_size", shared=shared("shared_intermediate_size")), **_GRANITE,
        fused_gate=True,
    ),
    "granitemoehybrid": Family(
        "GraniteMoeHybridConfig",
        _dims(**_LLAMA, **_GRANITE_MOE, shared_intermediate_size=1024, **_MAMBA_GRANITE),
        sparse=Sparse("intermediate_size", shared=shared("shared_intermediate_size")),
        pattern=all_linear, linear="granite", rope=rope_if_named, **_GRANITE,
        fused_gate=True,
    ),
    "glm": Family(
        "GlmConfig",
        _dims(151552, 13696, 32, 2, head_dim=128, attention_bias=True),
        qkv_bias="attention_bias", rotary_share=0.5,
        fused_gate=True,
    ),
    "glm4": Family(
        "Glm4Config",
        _dims(151552, 13696, 32, 2, head_dim=128, attention_bias=True),
        norms=four, qkv_bias="attention_bias", rotary_share=0.5,
        fused_gate=True,
    ),
    "gpt_oss": Family(
        "GptOssConfig",
        _dims(
            201088, 2880, 64, 8, head_dim=64, sliding_window=128, num_experts=128, num_experts_per_tok=4,
            attention_bias=True,
        ),
        qkv_bias="attention_bias", out_bias="attention_bias", sinks=True, pattern=every(2),
        sparse=Sparse("intermediate_size", bias=True, router_bias=True),
    ),
    "deepseek_v2": Family(
        "DeepseekV2Config",
        _dims(
            102400, 11008, 32, num_experts=64, n_shared_experts=2, moe_intermediate_size=1407,
            first_k_dense_replace=0, **_LATENT,
        ),
        latent=True, ffn_bias="mlp_bias", sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
        stand_ins={"num_experts_per_tok": 6},  # null in the class; 6 in DeepSeek-V2 and V2-Lite as published
    ),
    "deepseek_v3": Family(
        "DeepseekV3Config",
        _dims(
            129280, 18432, 128, num_experts=256, num_experts_per_tok=8, n_shared_experts=1,
            moe_intermediate_size=2048, first_k_dense_replace=3, **_LATENT,
        ),
        latent=True, sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "nemotron_h": Family(
        "NemotronHConfig",
        _dims(
            131072, 21504, 32, 8, head_dim=128, num_experts=8, num_experts_per_tok=2,
            moe_intermediate_size=7688, n_shared_experts=1, moe_shared_expert_intermediate_size=7688, **_MAMBA_NEMOTRON,
        ),
        gated=False, ffn_bias="mlp_bias", single=True, linear="nemotron", pattern=must_list, rope=rope_nowhere,
        ties=False, sparse=Sparse(gated=False, shared=nemotron_shared),
    ),
}  # fmt: skip
