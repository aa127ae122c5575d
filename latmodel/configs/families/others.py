"""Families read from their makers' code on Hugging Face, and those whose configurations have nests of their own."""

from .conversions import chatglm, dbrx, deepseek_v4, half_inner, mpt, nemotron_nas, open_elm
from .family import BIASED, Family, Sparse, dims
from .patterns import POOLED, POOLED_SPARSE, SLIDING
from .pooled import attention, by_turns, stream_head, with_streams
from .positions import rope_nowhere
from .rules import WEIGHT_NORM, nas_blocks, nas_variants, shared_by_count

OTHERS: dict[str, Family] = {
    # modeling_baichuan.py of baichuan-inc/Baichuan2-7B-Base (rotary) and -13B-Base (ALiBi): `W_pack` without biases.
    "baichuan": Family(
        "BaichuanConfig", dims(64000, 11008, 32), fused_qkv=True, only={"z_loss_weight": (0,)},
        harmless=("z_loss_weight",),
    ),
    # modeling_chatglm.py of THUDM/chatglm3-6b and glm-4-9b: half of each head is rotated, gate and up in one product.
    "chatglm": Family(
        "ChatGLMConfig",
        dims(65024, 13696, 32, head_dim=128, add_qkv_bias=False, add_bias_linear=False),
        convert=chatglm, qkv_bias="add_qkv_bias", ffn_bias="add_bias_linear", rotary_share=0.5, fused_qkv=True,
        fused_gate=True, only={"add_bias_linear": (False,), "position_encoding_2d": (False,)},
        harmless=("kv_channels",),
    ),
    "dbrx": Family(
        "DbrxConfig", dims(32000, 10752, 16, num_experts=4, num_experts_per_tok=1), convert=dbrx,
        norm=WEIGHT_NORM, fused_qkv=True, sparse=Sparse("intermediate_size"),
    ),
    "deepseek_v4": Family(
        "DeepseekV4Config",
        dims(
            129280, None, 64, 1, head_dim=512, q_lora_rank=1024, o_lora_rank=1024, o_groups=8, sliding_window=128,
            index_n_heads=64, index_head_dim=128, index_topk=512, hc_mult=4, num_experts=256, num_experts_per_tok=6,
            n_shared_experts=1, moe_intermediate_size=2048,
        ),
        convert=deepseek_v4, pattern=by_turns, blocks=with_streams, finish=stream_head,
        mixers={kind: attention(kind) for kind in (SLIDING, POOLED, POOLED_SPARSE)},
        sparse=Sparse(shared=shared_by_count), only={"attention_bias": (False,), "mlp_bias": (False,)},
        harmless=("hc_sinkhorn_iters", "qk_rope_head_dim", "compress_rope_theta", "attention_bias", "mlp_bias"),
    ),
    # modeling_internlm2.py of internlm/internlm2-7b: `wqkv`.
    "internlm2": Family(
        "InternLM2Config", dims(103168, 11008, 32, bias=False), qkv_bias="bias", out_bias="bias", fused_qkv=True,
    ),
    # modeling_molmo.py of allenai/Molmo-7B-D-0924: `ff_proj` holds gate and up; the 128 further rows of the embedding
    # are for images.
    "molmo": Family(
        "MolmoConfig", dims(152064, 18944, 28, 4), convert=half_inner, qkv_bias="qkv_bias", fused_qkv=True,
        fused_gate=True, only={
            "attention_layer_norm": (False,), "norm_after": (False,), "layer_norm_type": ("rms",),
            "weight_tying": (False,),
        },
        harmless=("embedding_size", "additional_vocab_size"), beside="the image encoder and its rows of the embedding",
    ),
    "mpt": Family(
        "MptConfig", dims(50368, None, 16, tie_word_embeddings=True), convert=mpt, norm=WEIGHT_NORM, gated=False,
        square_heads=True, rope=rope_nowhere, fused_qkv=True, only={"no_bias": (True,)},
        harmless=("attn_uses_sequence_id", "alibi", "alibi_bias_max"),
    ),
    "nemotron-nas": Family(
        "DeciLMConfig", dims(128256, None, 64), **BIASED, ffn_bias="mlp_bias", convert=nemotron_nas,
        layers=nas_variants, blocks=nas_blocks,
    ),
    # modeling_openelm.py of apple/OpenELM-1_1B: `qkv_proj`, `proj_1` for gate and up.
    "openelm": Family(
        "OpenELMConfig", dims(32000, None, 16, head_dim=64), convert=open_elm, qk_norm="head",
        qk_norm_if="normalize_qk_projections", fused_qkv=True, fused_gate=True, harmless=("ffn_with_glu",),
    ),
    # modeling_qwen.py of Qwen/Qwen-7B: `c_attn` with a bias, all others without.
    "qwen": Family(
        "QWenConfig", dims(151936, 11008, 32, head_dim=128), convert=half_inner, qkv_bias=True, fused_qkv=True,
        only={"no_bias": (True,)}, harmless=("softmax_in_fp32", "use_cache_quantization", "scale_attn_weights"),
    ),
}  # fmt: skip
