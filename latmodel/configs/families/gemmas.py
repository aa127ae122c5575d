"""Gemma 3n and Gemma 4: per-layer inputs, keys and values shared between layers, heads that differ by kind."""

from .family import BIASED, Family, dims
from .gemma_rules import gemma_3n_blocks, gemma_3n_stem, gemma_4_blocks, gemma_4_stem, gemma_attention, gemma_layers
from .patterns import every
from .rules import four

_PER_LAYER = {"vocab_size_per_layer_input": 262144, "num_kv_shared_layers": 0}
_HARMLESS = ("activation_sparsity_pattern", "altup_active_idx", "altup_coef_clip", "use_bidirectional_attention")

GEMMAS: dict[str, Family] = {
    "gemma3n_text": Family(
        "Gemma3nTextConfig",
        dims(
            262400, 16384, 8, 2, head_dim=256, sliding_window=512, hidden_size_per_layer_input=256,
            vocab_size_per_layer_input=262144, num_kv_shared_layers=15, altup_num_inputs=4, altup_correct_scale=True,
            laurel_rank=64, tie_word_embeddings=True,
        ),
        **BIASED, norms=four, qk_norm="head", pattern=every(5), layers=gemma_layers, adapt=gemma_attention,
        blocks=gemma_3n_blocks, finish=gemma_3n_stem, harmless=_HARMLESS,
    ),
    "gemma4_text": Family(
        "Gemma4TextConfig",
        dims(
            262144, 9216, 8, 4, head_dim=256, sliding_window=512, hidden_size_per_layer_input=256,
            global_head_dim=512, tie_word_embeddings=True, **_PER_LAYER,
        ),
        **BIASED, norms=four, qk_norm="head", pattern=every(6, last=True), layers=gemma_layers, adapt=gemma_attention,
        blocks=gemma_4_blocks, finish=gemma_4_stem,
        harmless=(*_HARMLESS, "num_experts", "top_k_experts", "moe_intermediate_size"),
    ),
    "gemma4_unified_text": Family(
        "Gemma4UnifiedTextConfig",
        dims(
            262144, 9216, 8, 4, head_dim=256, sliding_window=1024, global_head_dim=512, num_kv_shared_layers=0,
            tie_word_embeddings=True,
        ),
        **BIASED, norms=four, qk_norm="head", pattern=every(6, last=True), layers=gemma_layers, adapt=gemma_attention,
        harmless=_HARMLESS,
    ),
}  # fmt: skip
