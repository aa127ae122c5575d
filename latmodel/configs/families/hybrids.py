"""Decoders with recurrent layers."""

from typing import Any

from .composed import (
    bailing_delta,
    beside_mamba,
    gate_a_head,
    gated_recurrence,
    half_sizes,
    jamba_mamba,
    kimi_delta,
    kimi_gate,
    lfm2_sizes,
    lfm3_gate,
    lightning,
    mamba,
    short_convolution,
)
from .conversions import kimi_linear
from .family import BIASED, LLAMA, Family, Sparse, dims
from .mixers import gated_delta, granite_mamba, nemotron_mamba, plain_mamba
from .patterns import (
    CONV,
    LINEAR,
    all_full,
    all_linear,
    full_by_period,
    full_first,
    full_or_conv,
    full_where,
    linear_but_every,
    must_list,
    repeated_types,
)
from .positions import rope_if_any, rope_if_named, rope_nowhere
from .rules import four_if, nemotron_shared, shared, shared_by_count
from .sparsity import sparse_after, sparse_after_first, sparse_by_period_if_many, sparse_by_step

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
_QWEN_3_5: dict[str, Any] = {
    "qkv_bias": "attention_bias", "out_bias": "attention_bias", "qk_norm": "head", "output_gate": True,
    "rotary_share": 0.25, "pattern": linear_but_every(4), "mixers": {LINEAR: gated_delta},
}  # fmt: skip

_MAMBA: dict[str, Any] = {
    "state_size": 16,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": "auto",
}
_MAMBA_ALONE: dict[str, Any] = {
    "single": True, "no_heads": True, "pattern": all_linear, "mixers": {LINEAR: mamba},
    "harmless": ("time_step_scale", "time_step_init_scheme", "mixer_rms_eps"),
}  # fmt: skip
_LFM2: dict[str, Any] = {
    "conv_L_cache": 3, "conv_bias": False, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True, "tie_word_embeddings": True,
}  # fmt: skip
_CONVOLUTIONS: dict[str, Any] = {
    "qk_norm": "head", "mixers": {CONV: short_convolution}, "pattern": full_or_conv,
    "harmless": ("conv_dim", "conv_dim_out", "conv_use_xavier_init", "use_pos_enc", "use_expert_bias", "theta",
                 "block_dim", "block_mlp_init_scale", "block_out_init_scale", "block_use_swiglu",
                 "block_use_xavier_init", "tie_embedding"),
}  # fmt: skip

HYBRIDS: dict[str, Family] = {
    "qwen3_next": Family(
        "Qwen3NextConfig",
        dims(
            151936, 5632, 16, 2, head_dim=256, num_experts=512, num_experts_per_tok=10,
            moe_intermediate_size=512, shared_expert_intermediate_size=512, decoder_sparse_step=1, **_DELTA,
        ),
        **BIASED, qk_norm="head", output_gate=True, rotary_share=0.25,
        pattern=linear_but_every(4), mixers={LINEAR: gated_delta},
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), shared_gate=True, layers=sparse_by_step),
    ),
    "granitemoehybrid": Family(
        "GraniteMoeHybridConfig",
        dims(**LLAMA, **_GRANITE_MOE, shared_intermediate_size=1024, **_MAMBA_GRANITE),
        sparse=Sparse("intermediate_size", shared=shared("shared_intermediate_size")),
        pattern=all_linear, mixers={LINEAR: granite_mamba}, rope=rope_if_named, **_GRANITE,
        fused_gate=True,
    ),
    "nemotron_h": Family(
        "NemotronHConfig",
        dims(
            131072, 21504, 32, 8, head_dim=128, num_experts=8, num_experts_per_tok=2,
            moe_intermediate_size=7688, n_shared_experts=1, moe_shared_expert_intermediate_size=7688, **_MAMBA_NEMOTRON,
        ),
        gated=False, ffn_bias="mlp_bias", single=True, mixers={LINEAR: nemotron_mamba}, pattern=must_list,
        rope=rope_nowhere, ties=False, sparse=Sparse(gated=False, shared=nemotron_shared),
        harmless=("mamba_proj_bias",),
    ),
    "bamba": Family(
        "BambaConfig", dims(128000, 14336, 32, 8, **_MAMBA_GRANITE), **BIASED, ffn_bias="mlp_bias",
        pattern=full_where("attn_layer_indices"), mixers={LINEAR: granite_mamba}, rotary_share=0.5,
        harmless=("z_loss_coefficient",),
    ),
    "mamba2": Family(
        "Mamba2Config",
        dims(
            32768, None, 1, head_dim=64, num_heads=128, state_size=128, conv_kernel=4, n_groups=8, use_bias=False,
            use_conv_bias=True, chunk_size=256, expand=2,
        ),
        single=True, mixers={LINEAR: plain_mamba}, pattern=all_linear, no_heads=True,
    ),
    "olmo_hybrid": Family(
        "OlmoHybridConfig",
        dims(100352, 11008, 30, 30, linear_conv_kernel_dim=4),
        **BIASED, qk_norm="width", pattern=linear_but_every(4, must=True),
        mixers={LINEAR: gated_delta}, rope=rope_if_any, stand_ins={},
        harmless=(
            "linear_a_log_min", "linear_a_log_max", "linear_dt_min", "linear_dt_max", "linear_dt_init_floor",
            "linear_allow_neg_eigval",
        ),
    ),
    "qwen3_5_text": Family(
        "Qwen3_5TextConfig", dims(248320, 12288, 16, 4, head_dim=256, **_DELTA), **_QWEN_3_5,
    ),
    "qwen3_5_moe_text": Family(
        "Qwen3_5MoeTextConfig",
        dims(
            248320, None, 16, 2, head_dim=256, num_experts=256, num_experts_per_tok=8, moe_intermediate_size=512,
            shared_expert_intermediate_size=512, **_DELTA,
        ),
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), shared_gate=True), **_QWEN_3_5,
    ),
    "bailing_hybrid": Family(
        "BailingHybridConfig",
        dims(
            157184, 6144, 32, num_experts=512, num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=768,
            first_k_dense_replace=2, kv_lora_rank=512, q_lora_rank=None, qk_rope_head_dim=64, qk_nope_head_dim=128,
            v_head_dim=128, linear_num_heads=32, linear_head_dim=128, linear_conv_kernel_dim=4,
        ),
        latent=True, ties=False, mixers={LINEAR: bailing_delta}, adapt=gate_a_head, pattern=linear_but_every(6),
        sparse=Sparse(shared=shared_by_count, layers=sparse_after_first),
        harmless=("layer_group_size", "kda_safe_gate", "kda_lower_bound", "short_conv_kernel_size"),
    ),
    "falcon_h1": Family(
        "FalconH1Config",
        dims(
            128000, 14336, 32, 8, **{**_MAMBA_GRANITE, "mamba_d_ssm": 1024}, mamba_rms_norm=False,
            projectors_bias=False,
        ),
        **BIASED, ffn_bias="mlp_bias", blocks=beside_mamba, pattern=all_full,
        harmless=(
            "ssm_multipliers", "ssm_in_multiplier", "ssm_out_multiplier", "attention_in_multiplier",
            "attention_out_multiplier", "mamba_norm_before_gate", "mamba_use_mlp", "attn_layer_indices",
        ),
    ),
    "falcon_mamba": Family(
        "FalconMambaConfig", dims(50280, None, 1, **_MAMBA, tie_word_embeddings=True), **_MAMBA_ALONE,
    ),
    "jamba": Family(
        "JambaConfig",
        dims(
            65536, 14336, 32, 8, num_experts=16, num_experts_per_tok=2, expert_layer_period=2, expert_layer_offset=1,
            attn_layer_period=8, attn_layer_offset=4, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2,
            mamba_dt_rank="auto", mamba_conv_bias=True, mamba_proj_bias=False,
        ),
        mixers={LINEAR: jamba_mamba}, pattern=full_by_period, rope=rope_nowhere,
        sparse=Sparse("intermediate_size", layers=sparse_by_period_if_many),
    ),
    "kimi_linear": Family(
        "KimiLinearConfig",
        dims(
            163840, 9216, 32, num_experts=256, num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=1024,
            first_k_dense_replace=1, kv_lora_rank=512, q_lora_rank=None, qk_rope_head_dim=64, qk_nope_head_dim=128,
            v_head_dim=128, linear_num_heads=32, linear_head_dim=128, linear_conv_kernel_dim=4,
        ),
        latent=True, ties=False, mixers={LINEAR: kimi_delta}, convert=kimi_linear, pattern=must_list,
        sparse=Sparse(shared=shared_by_count, layers=sparse_after_first), adapt=kimi_gate,
        only={"mla_use_nope": (True,)},
    ),
    "lfm2": Family("Lfm2Config", dims(65536, 12288, 32, 8, **_LFM2), layers=lfm2_sizes, **_CONVOLUTIONS),
    "lfm2_moe": Family(
        "Lfm2MoeConfig",
        dims(
            65536, 7168, 32, 8, conv_L_cache=3, conv_bias=False, num_dense_layers=2, num_experts=32,
            num_experts_per_tok=4, moe_intermediate_size=1792, tie_word_embeddings=True,
        ),
        sparse=Sparse(layers=sparse_after("num_dense_layers")), **_CONVOLUTIONS,
    ),
    "lfm3": Family(
        "Lfm3Config",
        dims(
            128000, 7680, 16, 4, head_dim=128, conv_L_cache=7, conv_bias=False, sliding_window=256,
            use_sandwich_norm=True, use_attention_gate=True, tie_word_embeddings=True,
        ),
        **BIASED, norms=four_if("use_sandwich_norm"), adapt=lfm3_gate, **_CONVOLUTIONS,
    ),
    "mamba": Family("MambaConfig", dims(50280, None, 1, **_MAMBA, tie_word_embeddings=True), **_MAMBA_ALONE),
    "minimax": Family(
        "MiniMaxConfig",
        dims(32000, 14336, 32, 8, num_experts=8, num_experts_per_tok=2, block_size=256),
        mixers={LINEAR: lightning}, pattern=full_first, sparse=Sparse("intermediate_size"), residual_scale=True,
        harmless=(
            "full_attn_alpha_factor", "full_attn_beta_factor", "linear_attn_alpha_factor", "linear_attn_beta_factor",
            "mlp_alpha_factor", "mlp_beta_factor",
        ),
    ),
    "recurrent_gemma": Family(
        "RecurrentGemmaConfig",
        dims(
            256000, 7680, 10, head_dim=256, lru_width=None, conv1d_width=4, sliding_window=2048,
            tie_word_embeddings=True,
        ),
        qkv_bias="attention_bias", out_bias=True, ffn_bias=True, mixers={LINEAR: gated_recurrence},
        pattern=repeated_types, layers=half_sizes, rotary_share=0.5,
        harmless=("w_init_variance_scale", "final_w_init_variance_scale"),
    ),
}  # fmt: skip
