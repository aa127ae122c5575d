"""A serving engine such as vLLM: fused kernels, joined projections, and a paged cache.

Counts are by design of vLLM's Llama model, not measured: the kernels' own times come from tables of operators that
were timed one by one (`calibration.published`).
"""

from ..model.implementation import AttentionPath, Implementation
from .kernels import MARLIN_FORMATS

SERVING = Implementation(
    name="serving",
    norm_kernels=1,  # fused_add_rms_norm
    norm_moves=1,  # the residual's traffic, which the same kernel moves, is counted there
    rope_kernels=1,
    rope_moves=2,
    activation_kernels=1,  # silu_and_mul reads gate and up, writes their product
    activation_moves=3,
    residual_kernels=0,  # in the norm's kernel
    cache_kernels=0,  # written by a kernel that the measured rows of attention include
    cache_copies=0,
    attentions=(
        AttentionPath(name="flash"),
        # Before vLLM 0.8, engine 0: `flash_attn_with_kvcache`, which splits the context of any heads where few tiles
        # would leave multiprocessors idle; later versions leave it whole where no heads share keys and values.
        AttentionPath(name="flash-0", splits=True),
    ),
    padding_kernels=0,
    routing_kernels=4,  # softmax with top-k, alignment of rows to tiles, gather, sum
    expert_kernels=0,
    absorbs_latents=True,
    fuses_scans=True,
    kernels=MARLIN_FORMATS,
    mixes_requests=True,  # chunked prefill
    fuses_projections=True,  # QKVParallelLinear, MergedColumnParallelLinear
)
