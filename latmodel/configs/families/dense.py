"""Dense decoders of attention and a feed-forward layer: what each class of Transformers 5.23 builds."""

from typing import Any

from .family import BIASED, LLAMA, Family, dims
from .patterns import all_sliding, every, late_windows
from .positions import rope_by_interval, rope_in_windows, rope_in_windows_if_any, windows_without_rope
from .rules import BARE_NORM, LAYER_NORM, PLAIN_NORM, four, four_if, one, one_if_parallel, sub_norms, two_scalars

_QWEN_WINDOWS = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_GRANITE: dict[str, Any] = {"qkv_bias": "attention_bias", "out_bias": "attention_bias", "residual_scale": True}

DENSE: dict[str, Family] = {
    "llama": Family(
        "LlamaConfig",
        dims(**LLAMA),
        **BIASED, ffn_bias="mlp_bias",
    ),
    "mistral": Family("MistralConfig", dims(32000, 14336, 32, 8, sliding_window=4096), pattern=all_sliding),
    "ministral": Family(
        "MinistralConfig", dims(32000, 14336, 32, 8, sliding_window=4096), pattern=all_sliding
    ),
    "ministral3": Family(
        "Ministral3Config", dims(131072, 14336, 32, 8, head_dim=128), pattern=all_sliding
    ),
    "qwen2": Family(
        "Qwen2Config", dims(151936, 22016, 32, 32, **_QWEN_WINDOWS), qkv_bias=True, pattern=late_windows
    ),
    "qwen3": Family(
        "Qwen3Config",
        dims(151936, 22016, 32, 32, head_dim=128, **_QWEN_WINDOWS),
        **BIASED, qk_norm="head", pattern=late_windows,
    ),
    "gemma": Family(
        "GemmaConfig",
        dims(256000, 24576, 16, 16, head_dim=256, tie_word_embeddings=True),
        **BIASED,
    ),
    "gemma2": Family(
        "Gemma2Config",
        dims(256000, 9216, 8, 4, head_dim=256, sliding_window=4096, tie_word_embeddings=True),
        **BIASED, norms=four, pattern=every(2),
    ),
    "gemma3_text": Family(
        "Gemma3TextConfig",
        dims(262208, 9216, 8, 4, head_dim=256, sliding_window=4096, tie_word_embeddings=True),
        **BIASED, norms=four, qk_norm="head", pattern=every(6),
    ),
    "phi3": Family(
        "Phi3Config", dims(32064, 8192, 32), pattern=all_sliding, fused_qkv=True, fused_gate=True
    ),
    "olmo": Family(
        "OlmoConfig",
        dims(50304, 11008, 32),
        norm=PLAIN_NORM, **BIASED,
    ),
    "olmo2": Family(
        "Olmo2Config",
        dims(50304, 11008, 32),
        **BIASED, qk_norm="width",
    ),
    "olmo3": Family(
        "Olmo3Config",
        dims(50304, 11008, 32, sliding_window=4096),
        **BIASED, qk_norm="width", pattern=every(4),
    ),
    "smollm3": Family(
        "SmolLM3Config",
        dims(
            128256, 11008, 16, 4, no_rope_layer_interval=4, use_sliding_window=False, tie_word_embeddings=True
        ),
        **BIASED, ffn_bias="mlp_bias",
        pattern=windows_without_rope, rope=rope_by_interval,
    ),
    "stablelm": Family(
        "StableLmConfig",
        dims(50304, 6912, 32, 32),
        norm=LAYER_NORM, norms=one_if_parallel, qkv_bias="use_qkv_bias", qk_norm="width", qk_norm_if="qk_layernorm",
        square_heads=True, rotary_share=0.25,
    ),
    "cohere": Family(
        "CohereConfig",
        dims(256000, 22528, 64, tie_word_embeddings=True),
        norms=one, **BIASED, qk_norm="width", qk_norm_if="use_qk_norm",
    ),
    "cohere2": Family(
        "Cohere2Config",
        dims(256000, 22528, 64, sliding_window=4096, tie_word_embeddings=True),
        norms=one, **BIASED, square_heads=True, pattern=every(4),
        rope=rope_in_windows,
    ),
    "granite": Family("GraniteConfig", dims(**LLAMA), ffn_bias="mlp_bias", **_GRANITE),
    "glm": Family(
        "GlmConfig",
        dims(151552, 13696, 32, 2, head_dim=128, attention_bias=True),
        qkv_bias="attention_bias", rotary_share=0.5,
        fused_gate=True,
    ),
    "glm4": Family(
        "Glm4Config",
        dims(151552, 13696, 32, 2, head_dim=128, attention_bias=True),
        norms=four, qkv_bias="attention_bias", rotary_share=0.5,
        fused_gate=True,
    ),
    "apertus": Family(
        "ApertusConfig", dims(131072, 14336, 32, 32), **BIASED, qk_norm="head", gated=False,
        scalars=two_scalars,
    ),
    "arcee": Family(
        "ArceeConfig", dims(32000, 18432, 32), **BIASED, gated=False, ffn_bias="mlp_bias",
    ),
    "bitnet": Family(
        "BitNetConfig", dims(128256, 6912, 20, 5), **BIASED, scalars=sub_norms,
    ),
    "cwm": Family(
        "CwmConfig", dims(128256, 21504, 48, 8, head_dim=128, sliding_window=8192), pattern=every(4, first=True),
        ffn_bias="mlp_bias",
    ),
    "emu3_text_model": Family(
        "Emu3TextConfig", dims(184622, 14336, 32, 8), qkv_bias="attention_bias", ffn_bias="mlp_bias",
    ),
    "ernie4_5": Family(
        "Ernie4_5Config",
        dims(103424, 3072, 16, 2, head_dim=128, tie_word_embeddings=True),
        qkv_bias="use_bias", out_bias="use_bias", ffn_bias="use_bias",
    ),
    "exaone4": Family(
        "Exaone4Config",
        dims(102400, 16384, 32, 32, sliding_window=4096, sliding_window_pattern=4),
        qk_norm="head", pattern=every(4, optional=True), rope=rope_in_windows_if_any,
    ),
    "granite_swa": Family(
        "GraniteSWAConfig",
        dims(100352, 8192, 20, 4, sliding_window=128, tie_word_embeddings=True),
        ffn_bias="mlp_bias", sinks=True, pattern=every(4, first=True), harmless=("layer_rope_theta",), **_GRANITE,
    ),
    "helium": Family(
        "HeliumConfig", dims(48000, 7040, 20, 20, head_dim=128), qkv_bias="attention_bias", ffn_bias="mlp_bias",
        square_heads=True,
    ),
    "hunyuan_v1_dense": Family(
        "HunYuanDenseV1Config", dims(290943, 11008, 32), **BIASED, qk_norm="head",
    ),
    "hyperclovax": Family(
        "HyperCLOVAXConfig", dims(**LLAMA, use_post_norm=True), **BIASED, ffn_bias="mlp_bias",
        norms=four_if("use_post_norm"), residual_scale=True,
    ),
    "internlm3": Family(
        "InternLM3Config", dims(128512, 10240, 32, 2, head_dim=128), **BIASED, ffn_bias="mlp_bias",
    ),
    "iquestcoder": Family(
        "IQuestCoderConfig", dims(76800, 27648, 40, 8, head_dim=128), **BIASED, ffn_bias="mlp_bias",
    ),
    "jais2": Family(
        "Jais2Config", dims(150272, 26624, 26, 26, head_dim=128, attention_bias=True, mlp_bias=True),
        norm=LAYER_NORM, gated=False, **BIASED, ffn_bias="mlp_bias",
    ),
    "mimo": Family(
        "MiMoConfig", dims(151680, 11008, 32, 8, **_QWEN_WINDOWS), qkv_bias=True, pattern=late_windows,
        only={"attention_bias": (True,)},  # read on Hugging Face: modeling_mimo.py is Qwen 2 with layers for MTP
    ),
    "nanochat": Family(
        "NanoChatConfig", dims(50304, 8192, 6, 6), norm=BARE_NORM, gated=False, **BIASED,
        qk_norm="head", qk_norm_vectors=0.0,
    ),
    "nemotron": Family(
        "NemotronConfig", dims(256000, 24576, 48), norm=LAYER_NORM, gated=False, **BIASED,
        ffn_bias="mlp_bias", rotary_share=0.5,
    ),
    "seed_oss": Family(
        "SeedOssConfig", dims(155136, 27648, 80, 8, head_dim=128, attention_bias=True, attention_out_bias=False),
        qkv_bias="attention_bias", out_bias="attention_out_bias", ffn_bias="mlp_bias",
    ),
    "vaultgemma": Family(
        "VaultGemmaConfig",
        dims(256000, 9216, 8, 4, head_dim=256, sliding_window=4096, tie_word_embeddings=True),
        **BIASED, pattern=every(2),
    ),
}  # fmt: skip
