"""llama.cpp: a graph of ggml's operators, handed to the device as a whole.

`laws.ggml` counts launches by matrix product and charges what lies between products to them, so that pointwise
operators move nothing of their own here. The KV cache is written in place; quantised weights are unpacked in registers.
"""

from ..model.implementation import Implementation

LLAMA_CPP = Implementation(
    name="llama.cpp",
    norm_kernels=1,
    norm_moves=2,
    rope_kernels=2,
    rope_moves=2,
    activation_kernels=1,  # SwiGLU in one operator
    activation_moves=3,
    residual_kernels=1,
    cache_kernels=2,
    cache_copies=0,
    attention_kernels=1,
    attention_passes=0,
    padding_kernels=0,
    routing_kernels=6,
    expert_kernels=0,  # one product over all experts (ggml_mul_mat_id)
    absorbs_latents=True,
    fuses_scans=True,
    unpack_moves=0,
    unpack_kernels=0,
    micro_batch=512,  # `--ubatch-size`
)
