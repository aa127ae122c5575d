"""Fields that change neither parameters nor cost worth counting. One that is set, not read and not here is refused."""

import re
from typing import Any


def _words(text: str) -> list[str]:
    return text.split()


# Names, tokens, training, generation and numerics.
_BOOKKEEPING = _words("""
model_type architectures name_or_path transformers_version auto_map is_decoder use_cache tokenizer_class chat_template
id2label label2id problem_type return_dict finetuning_task task_specific_params seq_aux aux_loss_alpha ep_size n_ctx
seq_length pretraining_tp num_logits_to_keep keys_to_ignore_at_inference generation_config min_length max_length
temperature top_k top_p typical_p do_sample num_beams num_beam_groups num_return_sequences repetition_penalty
pruned_heads bad_words_ids prefix diversity_penalty length_penalty early_stopping no_repeat_ngram_size
encoder_no_repeat_ngram_size remove_invalid_values exponential_decay_length_penalty suppress_tokens
begin_suppress_tokens model_name data_type device_type device_ids multinode_mode engine_config convert_config
model_max_length max_sequence_length max_seq_len max_batch_size quantization_config quantization torchscript
use_bfloat16 tf_legacy_loss tie_encoder_decoder chunk_size_feed_forward gradient_checkpointing verbose init_device
init_config tokenizer_name onnx safe_serialization trust_remote_code language languages license base_model
special_tokens text_config_dict vision_config_dict adapter_config draft_config eod_token img_processor
attention_backend inference_runner validate_runner_input pre_allocate_kv_cache pad_key_length layer_rope_theta
flash_attention use_flash_attn use_flash_attention use_flash_attention_2 use_flash_attn_2 flash_attn use_fused_rope
use_fused_rms_norm use_fused_head_and_loss_fn fuse_attention_qkv fused_mlp fused_dropout_add_ln use_kernel
use_cache_quantization use_cache_kernel softmax_in_fp32 attention_softmax_in_fp32 fp16 bf16 fp32
scale_attention_softmax_in_fp32 masked_softmax_fusion bias_dropout_fusion apply_query_key_layer_scaling
fp32_residual_connection skip_bias_add skip_bias_add_qkv slow_but_exact offset_alibi sequence_parallel
tensor_parallel_degree pre_seq_len prefix_projection interleaved_qkv use_dynamic_ntk use_logn_attn logn_list
use_mem_rope rope_ratio original_rope residual_in_fp32 mamba_ssm_cache_dtype mamba_ssm_dtype moe_router_dtype
expert_dtype use_mamba_kernels use_mamba_padding moe_shared_expert_overlap moe_renormalize norm_expert_weight
enable_moe_fp32_combine use_mambapy use_associative_scan rescale_prenorm_residual layers_to_transform unsloth_fixed
unsloth_version emb_pdrop
""")
# Which function, not how much of it: the kernels and the traffic are those of any other.
_FUNCTIONS = _words("""
hidden_act hidden_activation activation activation_function activation_type mlp_hidden_act mamba_hidden_act act_fn afn
hidden_mamba_act initial_context_length original_max_position_embeddings max_position_embeddings scoring_func
topk_method topk_group n_group norm_topk_prob norm_topk_prob_scaling num_expert_group use_grouped_topk
routed_scaling_factor router_scaling_factor moe_routed_scaling_factor moe_router_scaling_factor route_scale
moe_router_activation_func moe_router_score_function swiglu_limit swiglu_alpha scale_attn_weights
scale_attn_by_inverse_layer_idx reorder_and_upcast_attn attention_multiplier query_pre_attn_scalar
partial_rotary_factor attn_temperature_tuning floor_scale attn_scale attention_value_scale use_gemma_norm
scale_embedding scale_emb scale_depth dim_model_base mup_enabled use_mrope mlp_multipliers activation_situ_beta
activation_situ_linear_beta qk_norm_type output_gate_type is_causal causal use_position_ids position_ids
""")
# One pointwise pass over scores, logits or embeddings at most.
_POINTWISE = _words("""
attn_logit_softcapping final_logit_softcapping logit_scale logits_scaling embedding_multiplier residual_multiplier
clip_qkv logits_soft_cap output_logit_soft_cap gate_soft_cap moe_router_logit_softcapping attn_soft_cap logit_softcap
logits_softcap qkv_clip lm_head_multiplier key_multiplier
""")
# Follow from fields that are read, or decide about something that is read already.
_IMPLIED = _words("""
qk_head_dim head_dim expand max_window_layers _sliding_window_pattern no_rope_layer_interval mtp_layers_block_type
num_ln_in_parallel_attn full_attention_interval vocab_size_per_layer_input
""")
# Layers that predict further tokens: not run in ordinary decoding, and not built by Transformers.
_NOT_RUN = _words("""
num_nextn_predict_layers num_mtp_layers mtp_hybrid_override_pattern num_mtp_modules mtp_transformer_layers use_mtp
mtp_num_hidden_layers mtp_use_dedicated_embeddings mtp_layer_types mtp_mlp_layer_types index_share_for_mtp_iteration
num_mtp_layer mtp_loss_scaling_factor
""")

# Fields that say what is assumed anyway, with the values that do.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "moe_layer_freq": (1,),
    "normalization_function": ("rmsnorm",),
    "rms_norm": (True,),
    "decoder_sparse_step": (1,),
    "embedding_fraction": (1.0,),
    "attn_output_gate": (True,),
    "use_gated_attention": (True,),
}

HARMLESS = frozenset(_BOOKKEEPING + _FUNCTIONS + _POINTWISE + _IMPLIED + _NOT_RUN)
# Names whose ending or middle says that they are of the same kinds.
_PATTERN = re.compile(
    r"^_|_token(_id|_index|_ids|s)?$|^(token|eo|bo|pad|image|video|audio|boi|eoi|boa|eoa|bot|eot|eod|fim)_?\w*_id$"
    r"|dropout|drop_rate|pdrop|layerdrop|(^|_)eps(ilon)?$|epsilon$|_std$|std_dev$|^init(ializer)?_|_init(_|$)|initializ"
    r"|_loss(_|$)|_coefs?$|_coefficient$|jitter|z_loss|aux_loss|^output_(hidden_states|attentions|router_logits|scores)$"
    r"|^rope_|_rope_theta$|_theta$|rotary_emb|mrope|^yarn|_rope_scaling$|rope_interleave$|^rope$|^time_step_"
    r"|^attn_implementation$|^transformers\.|^summary_|^classifier_|_processor$|_template$|^vision_|^image_|^video_"
    r"|^audio_|^mm_|^projector_|_checkpoint_path$|^use_cache|^cross_attention_hidden_size$|^forced_|^return_"
)


def is_harmless(name: str, value: Any) -> bool:
    """Whether a field that nobody read may be left out without a word: it is off, or of a kind that costs nothing."""
    if not _is_set(value) or name in HARMLESS or value in NEUTRAL.get(name, ()):
        return True
    return _PATTERN.search(name[:200]) is not None


def _is_set(value: Any) -> bool:
    """False for null, false, zero and empty values: a feature that is off."""
    return value is not None and value is not False and value != 0 and value not in ("", [], {})
