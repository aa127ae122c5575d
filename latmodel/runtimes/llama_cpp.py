"""llama.cpp: a graph of ggml's operators, handed to the device as a whole.

`laws.ggml` counts launches by matrix product and charges what lies between products to them, so that pointwise
operators move nothing of their own here. The KV cache is written in place; quantised weights are unpacked in registers.
In the last block of a prompt, what follows the attention is computed for the rows whose output is wanted
(`llm_build_llama`, "skip computing output for unused tokens"): of the arithmetic of a Llama's block that leaves out
0.75 (every head its own keys, FFN ratio 2.7) to 0.89 (four queries a key, 3.5).
"""

from ..model.implementation import AttentionPath, Implementation
from ..model.kernels import Way, WeightKernel

# One for every type of tensor; `laws.ggml` holds what each costs.
GGML = WeightKernel(name="ggml", way=Way.FUSED, source="published runs, `device/llama_cpp.json`")


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
    attentions=(AttentionPath(name="flash"),),
    padding_kernels=0,
    routing_kernels=6,
    expert_kernels=0,  # one product over all experts (ggml_mul_mat_id)
    absorbs_latents=True,
    fuses_scans=True,
    other_kernel=GGML,
    micro_batch=512,  # `--ubatch-size`
    cut_of_last_block=0.8,
)
