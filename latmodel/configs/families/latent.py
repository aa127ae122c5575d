"""Decoders with multi-head latent attention."""

from .composed import indexed_latent, shared_choices
from .family import Family, Sparse, dims
from .patterns import all_indexed
from .rules import one_more_norm_if_sparse, shared_by_count
from .sparsity import sparse_after_first

_LATENT = {"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}

_INDEX = {"index_topk": 2048, "index_head_dim": 128}

LATENT: dict[str, Family] = {
    "deepseek_v2": Family(
        "DeepseekV2Config",
        dims(
            102400, 11008, 32, num_experts=64, n_shared_experts=2, moe_intermediate_size=1407,
            first_k_dense_replace=0, **_LATENT,
        ),
        latent=True, ffn_bias="mlp_bias", sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
        stand_ins={"num_experts_per_tok": 6},  # null in the class; 6 in DeepSeek-V2 and V2-Lite as published
    ),
    "deepseek_v3": Family(
        "DeepseekV3Config",
        dims(
            129280, 18432, 128, num_experts=256, num_experts_per_tok=8, n_shared_experts=1,
            moe_intermediate_size=2048, first_k_dense_replace=3, **_LATENT,
        ),
        latent=True, sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "axk1": Family(
        "AXK1Config",
        dims(
            163840, 18432, 64, num_experts=192, num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=2048,
            first_k_dense_replace=1, **_LATENT,
        ),
        latent=True, sparse=Sparse(shared=shared_by_count, layers=sparse_after_first), blocks=one_more_norm_if_sparse,
    ),
    "glm4_moe_lite": Family(
        "Glm4MoeLiteConfig",
        dims(
            154880, 10240, 20, num_experts=64, num_experts_per_tok=4, n_shared_experts=1, moe_intermediate_size=1536,
            first_k_dense_replace=1, kv_lora_rank=512, q_lora_rank=768, qk_rope_head_dim=64, qk_nope_head_dim=192,
            v_head_dim=256,
        ),
        latent=True, sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
    ),
    "minicpm3": Family(
        "MiniCPM3Config",
        dims(
            73448, 6400, 40, kv_lora_rank=256, q_lora_rank=768, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64,
            tie_word_embeddings=True,
        ),
        latent=True, ffn_bias="mlp_bias", residual_scale=True, harmless=("scale_emb", "scale_depth", "dim_model_base"),
    ),
    "youtu": Family(
        "YoutuConfig", dims(128256, 6144, 16, tie_word_embeddings=True, **_LATENT), latent=True,
        harmless=("embedding_initializer_range",),
    ),
    "deepseek_v32": Family(
        "DeepseekV32Config",
        dims(
            129280, 18432, 128, num_experts=256, num_experts_per_tok=8, n_shared_experts=1,
            moe_intermediate_size=2048, first_k_dense_replace=3, **_LATENT, **_INDEX, index_n_heads=64,
        ),
        latent=True, sparse=Sparse(shared=shared_by_count, layers=sparse_after_first), pattern=all_indexed,
        adapt=indexed_latent, harmless=("mlp_bias", "num_key_value_heads"),
    ),
    "glm_moe_dsa": Family(
        "GlmMoeDsaConfig",
        dims(
            154880, 12288, 64, num_experts=256, num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=2048,
            first_k_dense_replace=3, kv_lora_rank=512, q_lora_rank=2048, qk_rope_head_dim=64, qk_nope_head_dim=192,
            v_head_dim=256, **_INDEX, index_n_heads=32,
        ),
        latent=True, sparse=Sparse(shared=shared_by_count, layers=sparse_after_first), pattern=all_indexed,
        layers=shared_choices, adapt=indexed_latent, harmless=("mlp_bias", "indexer_rope_interleave"),
    ),
}  # fmt: skip
