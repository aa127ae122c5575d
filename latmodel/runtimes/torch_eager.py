"""A Llama block in plain PyTorch with the fused kernels that it offers (`rms_norm`) and a cache written in place.

Counts are of the operators that PyTorch's dispatcher sees in `calibration.engines.block` (torch 2.13;
`tests/test_implementation.py` counts them anew).
"""

from ..model.implementation import AttentionPath, Implementation
from .kernels import FLOAT8_BLOCKS_MODULE, FLOAT8_MODULE, FUSED_FORMATS

TORCH = Implementation(
    name="torch",
    norm_kernels=1,  # torch.nn.functional.rms_norm reads and writes
    norm_moves=2,
    # As Transformers writes it: x·cos, negate, concatenate, ·sin, sum, for queries and for keys.
    rope_kernels=10,
    rope_moves=10,
    strided=True,
    activation_kernels=2,  # SiLU reads and writes, the product reads two and writes
    activation_moves=5,
    residual_kernels=1,
    cache_kernels=2,  # keys and values are copied to their place
    cache_copies=0,
    attentions=(AttentionPath(name="sdpa"),),  # scaled_dot_product_attention, which shares grouped keys and values
    padding_kernels=4,  # queries, keys and values padded, the output cut (not counted: a CPU does not pad)
    # A loop over experts adds mask, gather, activation, weighting, index_add and reads of indices by the host: 13
    # launches for each (counted in `tests/test_recurrent.py`).
    routing_kernels=12,
    expert_kernels=13,
    absorbs_latents=False,
    fuses_scans=False,
    # As linear layers that hold one fused kernel (torchao, ExLlamaV2, AWQ's fused modules).
    kernels=(("fp8", FLOAT8_MODULE), ("fp8-block", FLOAT8_BLOCKS_MODULE), *FUSED_FORMATS),
)
