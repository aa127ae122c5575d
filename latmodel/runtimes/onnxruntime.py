"""ONNX Runtime GenAI on a CPU: the graph that its model builder writes for a Llama.

Counts are of that graph (onnxruntime-genai 0.18, `models/builder.py`, int4 for the CPU): queries, keys and values in
one product, gate and up in two, SkipSimplifiedLayerNormalization for norm and residual, GroupQueryAttention with rotary
embedding and cache inside. `laws.ggml` prices it as it prices llama.cpp, by what a product of few or many rows costs.
The graph computes logits of the last position alone where it was built with `prune_lm_head=true`, which is what
`--logits last` means here; the builder's default computes all (`--logits all`). It has no micro-batches.
"""

from ..model.implementation import AttentionPath, Implementation
from ..model.kernels import Way, WeightKernel

# MatMulNBits of accuracy level 4, the builder's default on a CPU: activations in 8 bits, weights packed at load.
MATMUL_NBITS = WeightKernel(name="MatMulNBits", way=Way.FUSED, source="measured where the profile was calibrated")

ONNXRUNTIME = Implementation(
    name="onnxruntime",
    norm_kernels=1,
    norm_moves=3,  # the residual sum is in the same kernel
    rope_kernels=0,  # in GroupQueryAttention
    rope_moves=2,
    activation_kernels=3,  # Sigmoid, Mul, Mul
    activation_moves=8,
    residual_kernels=0,
    cache_kernels=0,  # written in place by GroupQueryAttention (`past_present_share_buffer`)
    cache_copies=0,
    attentions=(AttentionPath(name="flash"),),
    padding_kernels=0,
    routing_kernels=6,
    expert_kernels=0,
    absorbs_latents=False,
    fuses_scans=True,
    other_kernel=MATMUL_NBITS,
)
