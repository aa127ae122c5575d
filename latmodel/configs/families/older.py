"""Decoders from before Llama: layer norms, biases, learned positions, plain feed-forward layers."""

from .family import BIASED, Family, dims
from .patterns import all_sliding, neo_windows
from .positions import rope_nowhere, rope_unless_alibi
from .rules import (
    LAYER_NORM,
    as_many,
    falcon_kv_heads,
    falcon_norms,
    neox_norms,
    one,
    one_if_multi_query,
    opt_final_norm,
    opt_norm,
)

_NO_CROSS = {"add_cross_attention": (False,)}

OLDER: dict[str, Family] = {
    "gpt2": Family(
        "GPT2Config",
        dims(50257, None, 12, max_position_embeddings=1024, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, square_heads=True, positions=0,
        rope=rope_nowhere,
        fused_qkv=True, kv_heads=as_many,
    ),
    "gpt_neox": Family(
        "GPTNeoXConfig",
        dims(50432, 24576, 64, attention_bias=True),
        norm=LAYER_NORM, norms=neox_norms, gated=False, ffn_bias=True, **BIASED, square_heads=True, rotary_share=0.25,
        fused_qkv=True, kv_heads=as_many,
    ),
    "opt": Family(
        "OPTConfig",
        dims(
            50272, 3072, 12, max_position_embeddings=2048, enable_bias=True, do_layer_norm_before=True,
            layer_norm_elementwise_affine=True, tie_word_embeddings=True,
        ),
        norm=opt_norm, final_norm=opt_final_norm, gated=False, ffn_bias="enable_bias", qkv_bias="enable_bias",
        out_bias="enable_bias", square_heads=True, positions=2, rope=rope_nowhere, kv_heads=as_many,
    ),
    "falcon": Family(
        "FalconConfig",
        dims(65024, None, 71, multi_query=True, parallel_attn=True, tie_word_embeddings=True),
        norm=LAYER_NORM, norms=falcon_norms, gated=False, ffn_bias="bias", qkv_bias="bias", out_bias="bias",
        square_heads=True, kv_heads=falcon_kv_heads, rope=rope_unless_alibi,
        fused_qkv=True,
    ),
    "phi": Family(
        "PhiConfig",
        dims(51200, 8192, 32),
        norm=LAYER_NORM, norms=one, gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, head_bias=True,
        qk_norm="head", qk_norm_if="qk_layernorm", qk_norm_vectors=2.0, rotary_share=0.5,
    ),
    "starcoder2": Family(
        "Starcoder2Config",
        dims(49152, 12288, 24, 2, use_bias=True, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias="use_bias", qkv_bias="use_bias", out_bias="use_bias",
        pattern=all_sliding,
    ),
    "bloom": Family(
        "BloomConfig", dims(250880, None, 8, tie_word_embeddings=True), norm=LAYER_NORM, embedding_norm=True,
        gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, square_heads=True, rope=rope_nowhere, fused_qkv=True,
        kv_heads=as_many,
    ),
    "biogpt": Family(
        "BioGptConfig", dims(42384, 4096, 16, max_position_embeddings=1024, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, square_heads=True, positions=2,
        rope=rope_nowhere, kv_heads=as_many,
    ),
    "codegen": Family(
        "CodeGenConfig", dims(50400, None, 16, rotary_dim=64), norm=LAYER_NORM, norms=one, gated=False, ffn_bias=True,
        head_bias=True, square_heads=True, fused_qkv=True, kv_heads=as_many,
    ),
    "ctrl": Family(
        "CTRLConfig", dims(246534, 8192, 16, tie_word_embeddings=True), norm=LAYER_NORM, gated=False,
        ffn_bias=True, qkv_bias=True, out_bias=True, head_bias=True, square_heads=True, rope=rope_nowhere,
        kv_heads=as_many,
    ),
    "gpt_bigcode": Family(
        "GPTBigCodeConfig",
        dims(50257, None, 12, max_position_embeddings=1024, multi_query=True, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias=True, qkv_bias=True, out_bias=True, square_heads=True, positions=0,
        rope=rope_nowhere, kv_heads=one_if_multi_query, fused_qkv=True, only=_NO_CROSS,
    ),
    "gpt_neo": Family(
        "GPTNeoConfig",
        dims(50257, None, 16, sliding_window=256, max_position_embeddings=2048, tie_word_embeddings=True),
        norm=LAYER_NORM, gated=False, ffn_bias=True, out_bias=True, square_heads=True, positions=0, rope=rope_nowhere,
        pattern=neo_windows, kv_heads=as_many,
    ),
    "gptj": Family(
        "GPTJConfig", dims(50400, None, 16, rotary_dim=64), norm=LAYER_NORM, norms=one, gated=False, ffn_bias=True,
        head_bias=True, square_heads=True, kv_heads=as_many,
    ),
    "persimmon": Family(
        "PersimmonConfig", dims(262144, 16384, 64, qk_layernorm=True), norm=LAYER_NORM, gated=False,
        ffn_bias=True, qkv_bias=True, out_bias=True, qk_norm="head", qk_norm_if="qk_layernorm", qk_norm_vectors=2.0,
        square_heads=True, rotary_share=0.5, fused_qkv=True, kv_heads=as_many,
    ),
    "xglm": Family(
        "XGLMConfig", dims(256008, 4096, 16, tie_word_embeddings=True), norm=LAYER_NORM, gated=False, ffn_bias=True,
        qkv_bias=True, out_bias=True, square_heads=True, rope=rope_nowhere, only=_NO_CROSS, kv_heads=as_many,
    ),
}  # fmt: skip
