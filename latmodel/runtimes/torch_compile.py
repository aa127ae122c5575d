"""A block whose operators a compiler has fused: a kernel a norm with its residual, one for rotary, one for the gate.

Counts are by design, not measured: what a fusing compiler can join, no reductions across kernels.
"""

from ..model.implementation import AttentionPath, Implementation
from .kernels import FUSED_FORMATS

COMPILED = Implementation(
    name="compiled",
    norm_kernels=1,  # with its residual
    norm_moves=2,
    rope_kernels=1,  # queries and keys read and written once
    rope_moves=2,
    activation_kernels=1,  # reads gate and up, writes their product
    activation_moves=3,
    residual_kernels=0,  # in the norm's kernel
    cache_kernels=1,  # keys and values written together, in place
    cache_copies=0,
    attentions=(AttentionPath(name="sdpa"),),
    padding_kernels=0,
    routing_kernels=4,  # softmax with top-k, sort, gather, scatter
    expert_kernels=0,
    absorbs_latents=True,
    fuses_scans=True,
    kernels=FUSED_FORMATS,  # torchao's, which a compiler calls or makes
)
# A whole step as gpt-fast and litgpt write it for the compiler: queries, keys and values in one product, gate and up
# read by one kernel.
COMPILED_STEP = COMPILED._replace(name="compiled-step", fuses_projections=True)
