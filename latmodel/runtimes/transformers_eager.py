"""Hugging Face Transformers without compilation: a Python module, and kernels of its own, for each small operator.

Counts are of the operators that PyTorch's dispatcher sees in one `LlamaDecoderLayer` (transformers 5, torch 2.13;
`tests/test_implementation.py` counts them anew); traffic follows from the operands of each.
"""

from ..model.implementation import Implementation

TRANSFORMERS = Implementation(
    name="transformers",
    # In float32: to float32, square, mean, + eps, rsqrt, scale, back, weight. A value is 2 bytes in bf16:
    # 3 + 4 + 2 + 4 + 3 + 3 values, the per-row steps moving nothing to speak of.
    norm_kernels=8,
    norm_moves=19,
    # x·cos, rotate_half (negate, concatenate), ·sin, sum, for queries and for keys: 2 + 1 + 2 + 2 + 3 values.
    rope_kernels=10,
    rope_moves=10,
    strided_rope=True,  # on the transposed views that attention takes
    activation_kernels=2,  # SiLU reads and writes, the product reads two and writes
    activation_moves=5,
    residual_kernels=1,
    cache_kernels=2,  # `DynamicCache.update` concatenates keys, and values
    cache_copies=1,
    attention_kernels=1,  # scaled_dot_product_attention
    attention_passes=0,  # flash attention keeps the scores on the chip
    padding_kernels=4,  # queries, keys and values padded, the output cut (not counted: a CPU does not pad)
    # Softmax, top-k, sort, histogram, offsets, gather, scatter: launches around two grouped products (counted in
    # `tests/test_recurrent.py`).
    routing_kernels=18,
    expert_kernels=0,
    absorbs_latents=False,  # `DeepseekV3Attention` expands the latents
    fuses_scans=False,  # kernels of their own need packages that Transformers does not install
    # The unpacked matrix is written and read back (an assumption: no kernel of a quantised format is counted here).
    unpack_moves=2,
    unpack_kernels=1,
)
# PyTorch's grouped product on a CPU is a loop over all experts, of views and a product; where no token was sent to an
# expert its turn takes a third of a launch (1 against 3.5 us, one core of an AMD EPYC).
TRANSFORMERS_CPU = TRANSFORMERS._replace(name="transformers-cpu", group_kernels=0.3)
