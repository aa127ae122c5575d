"""Mixtures of experts with plain attention."""

from typing import Any

from .composed import dense_sizes, doubled_keys, heads_by_layer, indexed_blocks, laguna_gate, narrow_values, plain_gate
from .conversions import minimax_m3
from .family import BIASED, LLAMA, Family, Sparse, dims
from .patterns import (
    all_sliding,
    chunks_with_rope,
    early_windows,
    every,
    flagged_windows,
    full_by,
    late_windows_if_any,
    mimo_windows,
    must_list,
)
from .positions import rope_by_interval, rope_in_windows, rope_in_windows_if_any
from .rules import (
    LAYER_NORM,
    a_scalar_a_head,
    four,
    inner_size,
    llama4_sizes,
    one,
    prefix_sizes,
    shared,
    shared_by_count,
    shared_like_one,
)
from .sparsity import sparse_after, sparse_after_first, sparse_between, sparse_by_step, sparse_interleaved

_QWEN_WINDOWS = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_GRANITE_MOE: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "attention_bias": False}
_GRANITE: dict[str, Any] = {"qkv_bias": "attention_bias", "out_bias": "attention_bias", "residual_scale": True}

MIXTURES: dict[str, Family] = {
    "mixtral": Family(
        "MixtralConfig",
        dims(32000, 14336, 32, 8, num_experts=8, num_experts_per_tok=2),
        pattern=all_sliding, sparse=Sparse("intermediate_size"),
    ),
    "qwen2_moe": Family(
        "Qwen2MoeConfig",
        dims(
            151936, 5632, 16, 16, num_experts=60, num_experts_per_tok=4, moe_intermediate_size=1408,
            shared_expert_intermediate_size=5632, decoder_sparse_step=1, qkv_bias=True, **_QWEN_WINDOWS,
        ),
        qkv_bias="qkv_bias", pattern=early_windows,
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), shared_gate=True, layers=sparse_by_step),
    ),
    "qwen3_moe": Family(
        "Qwen3MoeConfig",
        dims(
            151936, 6144, 32, 4, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768,
            decoder_sparse_step=1, use_sliding_window=False, sliding_window=4096,
        ),
        **BIASED, qk_norm="head", pattern=flagged_windows,
        sparse=Sparse(layers=sparse_by_step), only={"use_qk_norm": (True,)},
    ),
    "granitemoe": Family(
        "GraniteMoeConfig", dims(**LLAMA, **_GRANITE_MOE), sparse=Sparse("intermediate_size"), **_GRANITE
    ),
    "granitemoeshared": Family(
        "GraniteMoeSharedConfig",
        dims(**LLAMA, **_GRANITE_MOE),
        sparse=Sparse("intermediate_size", shared=shared("shared_intermediate_size")), **_GRANITE,
        fused_gate=True,
    ),
    "gpt_oss": Family(
        "GptOssConfig",
        dims(
            201088, 2880, 64, 8, head_dim=64, sliding_window=128, num_experts=128, num_experts_per_tok=4,
            attention_bias=True,
        ),
        **BIASED, sinks=True, pattern=every(2),
        sparse=Sparse("intermediate_size", bias=True, router_bias=True),
    ),
    "afmoe": Family(
        "AfmoeConfig",
        dims(
            200192, 6144, 16, head_dim=128, num_experts=64, num_experts_per_tok=6, n_shared_experts=2,
            moe_intermediate_size=1408, num_dense_layers=1, sliding_window=1024,
        ),
        **BIASED, qk_norm="head", norms=four, adapt=plain_gate, pattern=full_by("global_attn_every_n_layers", 4),
        rope=rope_in_windows,
        sparse=Sparse(shared=shared_by_count, router_bias=True, layers=sparse_after("num_dense_layers")),
        harmless=("mup_enabled", "route_scale"),
    ),
    "aria_text": Family(
        "AriaTextConfig", dims(32000, 4096, 32, num_experts=8, num_experts_per_tok=2, n_shared_experts=2),
        **BIASED, ffn_bias="mlp_bias", sparse=Sparse("intermediate_size", shared=shared_like_one),
    ),
    "beam": Family(
        "BeamConfig",
        dims(
            151936, 20480, 48, 8, head_dim=128, sliding_window=512, num_experts=256, num_experts_per_tok=8,
            moe_intermediate_size=2560, first_k_dense_replace=3,
        ),
        **BIASED, qk_norm="head", norms=four, adapt=plain_gate, pattern=every(6, last=True), rope=rope_in_windows,
        sparse=Sparse(layers=sparse_after_first), scalars=a_scalar_a_head,
    ),
    "cohere2_moe": Family(
        "Cohere2MoeConfig",
        dims(
            256000, 22528, 64, 64, head_dim=128, sliding_window=4096, num_experts=8, num_experts_per_tok=2,
            n_shared_experts=0, tie_word_embeddings=True,
        ),
        **BIASED, norms=one, pattern=every(4), rope=rope_in_windows, layers=prefix_sizes,
        sparse=Sparse("intermediate_size", shared=shared_like_one, layers=sparse_after_first),
        harmless=("shared_expert_combination_strategy", "expert_selection_fn"),
        only={"prefix_dense_sliding_window_pattern": (1,)},
    ),
    "dots1": Family(
        "Dots1Config",
        dims(152064, 10944, 32, moe_intermediate_size=1408, first_k_dense_replace=0, sliding_window=4096),
        **BIASED, qk_norm="head", pattern=late_windows_if_any,
        sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "ernie4_5_moe": Family(
        "Ernie4_5_MoeConfig",
        dims(
            103424, 12288, 20, 4, num_experts=64, num_experts_per_tok=6, n_shared_experts=2, moe_intermediate_size=1536,
            moe_layer_start_index=1, moe_layer_end_index=-1, moe_layer_interval=1, tie_word_embeddings=True,
        ),
        qkv_bias="use_bias", out_bias="use_bias", ffn_bias="use_bias", head_bias="use_bias",
        sparse=Sparse(shared=shared_by_count, router_bias=True, layers=sparse_between), harmless=("moe_norm_min",),
    ),
    "exaone_moe": Family(
        "ExaoneMoeConfig",
        dims(
            102400, 16384, 32, 32, sliding_window=4096, sliding_window_pattern=4, num_experts=64,
            num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=1024, first_k_dense_replace=1,
        ),
        qk_norm="head", pattern=every(4, optional=True), rope=rope_in_windows_if_any,
        sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "flex_olmo": Family(
        "FlexOlmoConfig", dims(100352, 11008, 32, num_experts=7, num_experts_per_tok=5), **BIASED, qk_norm="width",
        sparse=Sparse("intermediate_size"),
    ),
    "flint": Family(
        "FlintConfig",
        dims(
            150144, 6144, 32, 4, head_dim=128, sliding_window=513, num_experts=256, num_experts_per_tok=6,
            moe_intermediate_size=512, shared_expert_intermediate_size=1024, decoder_sparse_step=1,
            mlp_only_layers=(0, 1),
        ),
        **BIASED, qk_norm="head", sinks=True, pattern=must_list, rope=rope_in_windows,
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), layers=sparse_by_step),
    ),
    "glm4_moe": Family(
        "Glm4MoeConfig",
        dims(
            151552, 10944, 96, 8, num_experts=128, num_experts_per_tok=8, n_shared_experts=1,
            moe_intermediate_size=1408, first_k_dense_replace=1,
        ),
        qkv_bias="attention_bias", qk_norm="head", qk_norm_if="use_qk_norm", rotary_share=0.5, rounds_heads=True,
        sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "granitemoe_swa": Family(
        "GraniteMoeSWAConfig", dims(**LLAMA, **_GRANITE_MOE, sliding_window=128), sinks=True,
        pattern=every(4, first=True), harmless=("layer_rope_theta",), fused_gate=True,
        sparse=Sparse("intermediate_size", shared=shared("shared_intermediate_size")), **_GRANITE,
    ),
    "hunyuan_v1_moe": Family(
        "HunYuanMoEV1Config", dims(290943, 11008, 32, num_experts=1, num_experts_per_tok=1), **BIASED,
        qk_norm="head", sparse=Sparse("intermediate_size", shared=inner_size),
    ),
    "hy_v3": Family(
        "HYV3Config",
        dims(
            120832, 13312, 64, 8, head_dim=128, num_experts=192, num_experts_per_tok=8, n_shared_experts=1,
            moe_intermediate_size=1536, first_k_dense_replace=1,
        ),
        **BIASED, qk_norm="head", ffn_bias="mlp_bias", sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
        harmless=("router_scaling_factor", "enable_moe_fp32_combine"),
    ),
    "kolibri1": Family(
        "Kolibri1Config",
        dims(
            128000, None, 48, 4, head_dim=128, sliding_window=513, num_experts=384, num_experts_per_tok=6,
            moe_intermediate_size=512, shared_expert_intermediate_size=512,
        ),
        qk_norm="head", norms=four, pattern=every(5), sparse=Sparse(shared=shared("shared_expert_intermediate_size")),
    ),
    "llama4_text": Family(
        "Llama4TextConfig",
        dims(
            202048, 8192, 40, 8, head_dim=128, intermediate_size_mlp=16384, num_experts=16, num_experts_per_tok=1,
            interleave_moe_layer_step=1, attention_chunk_size=8192, use_qk_norm=True, no_rope_layer_interval=4,
        ),
        **BIASED, qk_norm="head", qk_norm_vectors=0.0, qk_norm_if="use_qk_norm", pattern=chunks_with_rope,
        rope=rope_by_interval, layers=llama4_sizes,
        sparse=Sparse("intermediate_size", shared=inner_size, layers=sparse_interleaved, all_run=True),
        harmless=("attn_temperature_tuning", "floor_scale", "attn_scale"),
    ),
    "mellum": Family(
        "MellumConfig",
        dims(
            98304, 7168, 32, 4, head_dim=128, num_experts=64, num_experts_per_tok=8, moe_intermediate_size=896,
            sliding_window=1024,
        ),
        **BIASED, qk_norm="head", sparse=Sparse(layers=sparse_after_first),
        harmless=("mtp_layer_types", "mtp_mlp_layer_types"),
    ),
    "minimax_m2": Family(
        "MiniMaxM2Config", dims(200064, 1536, 48, 8, head_dim=128, num_experts=256, num_experts_per_tok=8),
        qk_norm="width", sparse=Sparse("intermediate_size"), rotary_share=0.5, only={"use_qk_norm": (True,)},
        harmless=("attn_type_list", "shared_intermediate_size", "shared_moe_mode", "use_routing_bias"),
    ),
    "olmoe": Family(
        "OlmoeConfig", dims(50304, 2048, 16, 16, num_experts=64, num_experts_per_tok=8), **BIASED, qk_norm="width",
        sparse=Sparse("intermediate_size"),
    ),
    "phimoe": Family(
        "PhimoeConfig", dims(32064, 6400, 32, 8, num_experts=16, num_experts_per_tok=2), norm=LAYER_NORM, **BIASED,
        head_bias="lm_head_bias", pattern=all_sliding, sparse=Sparse("intermediate_size"),
        harmless=("input_jitter_noise",),
    ),
    "solar_open": Family(
        "SolarOpenConfig",
        dims(
            196608, None, 64, 8, head_dim=128, num_experts=128, num_experts_per_tok=8, n_shared_experts=1,
            moe_intermediate_size=1280,
        ),
        qkv_bias="attention_bias", sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "laguna": Family(
        "LagunaConfig",
        dims(
            100352, 8192, 48, 8, head_dim=128, sliding_window=512, num_experts=256, num_experts_per_tok=8,
            moe_intermediate_size=512, shared_expert_intermediate_size=512, gating=True, first_k_dense_replace=1,
        ),
        **BIASED, qk_norm="head", rotary_share=0.5, layers=heads_by_layer, adapt=laguna_gate,
        sparse=Sparse(
            shared=shared("shared_expert_intermediate_size"), router_bias=True, layers=sparse_after_first,
        ),
        harmless=("moe_apply_router_weight_on_input",),
    ),
    "mimo_v2_flash": Family(
        "MiMoV2FlashConfig",
        dims(
            152576, 16384, 64, 4, head_dim=192, v_head_dim=128, sliding_window=128, num_experts=256,
            num_experts_per_tok=8, moe_intermediate_size=2048, first_k_dense_replace=1,
        ),
        qkv_bias="attention_bias", rotary_share=0.334, pattern=mimo_windows, layers=doubled_keys, adapt=narrow_values,
        sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
        harmless=("sliding_window_size", "attention_chunk_size", "layernorm_epsilon", "hybrid_block_size"),
        only={"swa_num_attention_heads": (64,), "swa_head_dim": (192,), "swa_v_head_dim": (128,)},
    ),
    "minimax_m3_vl_text": Family(
        "MiniMaxM3VLTextConfig",
        dims(
            200064, 3072, 64, 4, head_dim=128, num_experts=128, num_experts_per_tok=4, dense_intermediate_size=12288,
            shared_intermediate_size=3072, index_n_heads=4, index_head_dim=128, index_block_size=128,
            index_topk_blocks=16,
        ),
        qk_norm="head", rotary_share=0.5, layers=dense_sizes, adapt=indexed_blocks, fused_gate=True,
        convert=minimax_m3, sparse=Sparse(
            "intermediate_size", shared=shared("shared_intermediate_size"), layers=sparse_after_first,
        ),
        only={"use_qk_norm": (True,), "qk_norm_type": ("per_head",), "attention_output_gate": (False,)},
        harmless=("index_local_blocks", "use_routing_bias", "use_gemma_norm", "moe_intermediate_size",
                  "n_shared_experts"),
    ),
}  # fmt: skip
