"""A Llama block in plain PyTorch with the fused kernels that it offers (`rms_norm`) and a cache written in place.

Counts are of the operators that PyTorch's dispatcher sees in `calibration.engines.block` (torch 2.13;
`tests/test_implementation.py` counts them anew). Also what a CUDA graph replays.
"""

from ..model.implementation import Implementation

TORCH = Implementation(
    name="torch",
    norm_kernels=1,  # torch.nn.functional.rms_norm reads and writes
    norm_moves=2,
    # As Transformers writes it: x·cos, negate, concatenate, ·sin, sum, for queries and for keys.
    rope_kernels=10,
    rope_moves=10,
    strided_rope=True,
    activation_kernels=2,  # SiLU reads and writes, the product reads two and writes
    activation_moves=5,
    residual_kernels=1,
    cache_kernels=2,  # keys and values are copied to their place
    cache_copies=0,
    attention_kernels=1,  # scaled_dot_product_attention
    attention_passes=0,
    padding_kernels=4,  # queries, keys and values padded, the output cut (not counted: a CPU does not pad)
    # A loop over experts adds mask, gather, activation, weighting, index_add and reads of indices by the host: 13
    # launches for each (counted in `tests/test_recurrent.py`).
    routing_kernels=12,
    expert_kernels=13,
    absorbs_latents=False,
    fuses_scans=False,
    unpack_moves=2,  # the unpacked matrix is written and read back: plain operators cannot do otherwise
    unpack_kernels=1,
)
