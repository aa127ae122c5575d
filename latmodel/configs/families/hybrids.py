"""Decoders with recurrent layers."""

from typing import Any

from .family import BIASED, LLAMA, Family, Sparse, dims
from .mixers import gated_delta, granite_mamba, nemotron_mamba, plain_mamba
from .patterns import all_linear, full_where, linear_but_every, must_list
from .positions import rope_if_any, rope_if_named, rope_nowhere
from .rules import nemotron_shared, shared
from .sparsity import sparse_by_step

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
    "rotary_share": 0.25, "pattern": linear_but_every(4), "linear": gated_delta,
}  # fmt: skip

HYBRIDS: dict[str, Family] = {
    "qwen3_next": Family(
        "Qwen3NextConfig",
        dims(
            151936, 5632, 16, 2, head_dim=256, num_experts=512, num_experts_per_tok=10,
            moe_intermediate_size=512, shared_expert_intermediate_size=512, decoder_sparse_step=1, **_DELTA,
        ),
        **BIASED, qk_norm="head", output_gate=True, rotary_share=0.25,
        pattern=linear_but_every(4), linear=gated_delta,
        sparse=Sparse(shared=shared("shared_expert_intermediate_size"), shared_gate=True, layers=sparse_by_step),
    ),
    "granitemoehybrid": Family(
        "GraniteMoeHybridConfig",
        dims(**LLAMA, **_GRANITE_MOE, shared_intermediate_size=1024, **_MAMBA_GRANITE),
        sparse=Sparse("intermediate_size", shared=shared("shared_intermediate_size")),
        pattern=all_linear, linear=granite_mamba, rope=rope_if_named, **_GRANITE,
        fused_gate=True,
    ),
    "nemotron_h": Family(
        "NemotronHConfig",
        dims(
            131072, 21504, 32, 8, head_dim=128, num_experts=8, num_experts_per_tok=2,
            moe_intermediate_size=7688, n_shared_experts=1, moe_shared_expert_intermediate_size=7688, **_MAMBA_NEMOTRON,
        ),
        gated=False, ffn_bias="mlp_bias", single=True, linear=nemotron_mamba, pattern=must_list, rope=rope_nowhere,
        ties=False, sparse=Sparse(gated=False, shared=nemotron_shared), harmless=("mamba_proj_bias",),
    ),
    "bamba": Family(
        "BambaConfig", dims(128000, 14336, 32, 8, **_MAMBA_GRANITE), **BIASED, ffn_bias="mlp_bias",
        pattern=full_where("attn_layer_indices"), linear=granite_mamba, rotary_share=0.5, harmless=("z_loss_coefficient",),
    ),
    "mamba2": Family(
        "Mamba2Config",
        dims(
            32768, None, 1, head_dim=64, num_heads=128, state_size=128, conv_kernel=4, n_groups=8, use_bias=False,
            use_conv_bias=True, chunk_size=256, expand=2,
        ),
        single=True, linear=plain_mamba, pattern=all_linear, no_heads=True,
    ),
    "olmo_hybrid": Family(
        "OlmoHybridConfig",
        dims(100352, 11008, 30, 30, linear_conv_kernel_dim=4),
        **BIASED, qk_norm="width", pattern=linear_but_every(4, must=True),
        linear=gated_delta, rope=rope_if_any, stand_ins={},
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
}  # fmt: skip
