"""Hugging Face Transformers without compilation: a Python module, and kernels of its own, for each small operator.

Counts are of the operators that PyTorch's dispatcher sees in one `LlamaDecoderLayer` (transformers 5, torch 2.13;
`tests/test_implementation.py` counts them anew); traffic follows from the operands of each.
"""

from ..model.implementation import AttentionPath, Implementation
from .kernels import (
    AWQ_MODULE,
    EXLLAMA_MODULE,
    FLOAT8_BLOCKS_UNPACKED,
    FLOAT8_UNPACKED,
    GPTQ_8BIT_MODULE,
    LLM_INT8,
    MODULE_UNTIMED,
    NF4_MODULE,
)

TRANSFORMERS = Implementation(
    name="transformers",
    # In float32: to float32, square, mean, + eps, rsqrt, scale, back, weight. A value is 2 bytes in bf16:
    # 3 + 4 + 2 + 4 + 3 + 3 values, the per-row steps moving nothing to speak of.
    norm_kernels=8,
    norm_moves=19,
    # x·cos, rotate_half (negate, concatenate), ·sin, sum, for queries and for keys: 2 + 1 + 2 + 2 + 3 values.
    rope_kernels=10,
    rope_moves=10,
    strided=True,  # on the transposed views that attention takes
    activation_kernels=2,  # SiLU reads and writes, the product reads two and writes
    activation_moves=5,
    residual_kernels=1,
    cache_kernels=2,  # `DynamicCache.update` concatenates keys, and values
    cache_copies=1,
    attentions=(
        # Grouped keys and values are shared where no mask is given (`use_gqa_in_sdpa`, transformers 5); several tokens
        # behind a cache come with one.
        AttentionPath(name="sdpa", mask_expand_kernels=2.0),
        # `eager_attention_forward`: `repeat_kv` twice; product, scale, mask, softmax in float32, back, product, and a
        # copy of the output. Moves: scores written; read and written twice; read and written in float32; read and
        # written in 16 bits; read.
        AttentionPath(name="eager", kernels=2.0, expand_kernels=2.0, score_kernels=5.0, score_moves=12.0),
        # The package of that name, version 2, splits the context of any heads.
        AttentionPath(name="flash", splits=True),
        # Versions before 5 repeat keys and values for each query head, whatever attends, and compute logits of a whole
        # prompt, which they copy to float32: 27.6 GB for Qwen2.5-0.5B behind 30k tokens (QwenLM/Qwen3@a912d239, 4.46).
        AttentionPath(name="sdpa-4", expand_kernels=2.0, float32_logits=True),
        AttentionPath(name="flash-4", splits=True, expand_kernels=2.0, float32_logits=True),
    ),
    padding_kernels=4,  # queries, keys and values padded, the output cut (not counted: a CPU does not pad)
    # Softmax, top-k, sort, histogram, offsets, gather, scatter: launches around two grouped products (counted in
    # `tests/test_recurrent.py`).
    routing_kernels=18,
    expert_kernels=0,
    absorbs_latents=False,  # `DeepseekV3Attention` expands the latents
    fuses_scans=False,  # kernels of their own need packages that Transformers does not install
    runs_classes=True,
    kernels=(
        ("int4-gptq", EXLLAMA_MODULE),
        ("int4-awq", AWQ_MODULE),
        ("int8-gptq", GPTQ_8BIT_MODULE),
        ("int8-awq", MODULE_UNTIMED),
        ("int8", LLM_INT8),
        ("nf4", NF4_MODULE),
        ("mxfp4", MODULE_UNTIMED),
        ("nvfp4", MODULE_UNTIMED),
        ("fp8", FLOAT8_UNPACKED),
        ("fp8-block", FLOAT8_BLOCKS_UNPACKED),
    ),
)
# PyTorch's grouped product on a CPU is a loop over all experts, of views and a product; where no token was sent to an
# expert its turn takes a third of a launch (1 against 3.5 us, one core of an AMD EPYC).
TRANSFORMERS_CPU = TRANSFORMERS._replace(name="transformers-cpu", group_kernels=0.3, kernels=())
