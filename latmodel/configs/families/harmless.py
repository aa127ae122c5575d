"""Fields that are known and change neither parameters nor cost worth counting; all others are reported if not read."""


def _words(text: str) -> list[str]:
    return text.split()


# Names, tokens, training, generation and numerics.
_BOOKKEEPING = _words("""
model_type architectures _name_or_path name_or_path transformers_version auto_map is_decoder use_cache
bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
image_token_id video_token_id audio_token_id tokenizer_class chat_template id2label label2id problem_type
return_dict output_hidden_states output_attentions output_router_logits finetuning_task task_specific_params
initializer_range init_std initializer_factor init_method attention_dropout hidden_dropout resid_pdrop embd_pdrop
attn_pdrop dropout layerdrop classifier_dropout residual_dropout embedding_dropout activation_dropout summary_type
summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout gradient_checkpointing
router_aux_loss_coef router_jitter_noise router_z_loss_coef seq_aux aux_loss_alpha ep_size n_ctx seq_length
rms_norm_eps layer_norm_eps layer_norm_epsilon norm_epsilon norm_eps pretraining_tp attn_implementation
_attn_implementation _attn_implementation_autoset _experts_implementation unsloth_fixed unsloth_version
rescale_prenorm_residual time_step_min time_step_max time_step_limit time_step_floor time_step_rank
num_logits_to_keep keys_to_ignore_at_inference generation_config min_length max_length temperature top_k top_p
do_sample num_beams repetition_penalty pruned_heads bad_words_ids prefix diversity_penalty length_penalty
""")
# Which function, not how much of it: the kernels and the traffic are those of any other.
_FUNCTIONS = _words("""
hidden_act hidden_activation activation activation_function mlp_hidden_act mamba_hidden_act act_fn
rope_theta rope_scaling rope_parameters rope_interleave rope_local_base_freq rope_type original_max_position_embeddings
initial_context_length
scoring_func topk_method topk_group n_group norm_topk_prob routed_scaling_factor swiglu_limit swiglu_alpha
scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn attention_multiplier
query_pre_attn_scalar moe_shared_expert_overlap use_mamba_kernels residual_in_fp32 mamba_ssm_cache_dtype
max_position_embeddings partial_rotary_factor
""")
# One pointwise pass over scores, logits or embeddings at most.
_POINTWISE = _words("""
attn_logit_softcapping final_logit_softcapping logit_scale logits_scaling embedding_multiplier residual_multiplier
clip_qkv
""")
# Follow from fields that are read, or decide about something that is read already.
_IMPLIED = _words("""
qk_head_dim head_dim expand max_window_layers
_sliding_window_pattern no_rope_layer_interval mtp_layers_block_type num_ln_in_parallel_attn
""")
# Layers that predict further tokens: not run in ordinary decoding, and not built by Transformers.
_NOT_RUN = _words("num_nextn_predict_layers num_mtp_layers mtp_hybrid_override_pattern")

# Fields that say what is assumed anyway, with the value that does.
NEUTRAL = {"moe_layer_freq": 1, "normalization_function": "rmsnorm"}

HARMLESS = frozenset(_BOOKKEEPING + _FUNCTIONS + _POINTWISE + _IMPLIED + _NOT_RUN)
