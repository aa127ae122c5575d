"""How a runtime carries out what lies between the matrix products: how many kernels, how much traffic.

`kernels` are launches of one operator; `moves` the values read and written per element, in units of the model's
own dtype (a float32 intermediate counts twice). The counts of `transformers` are those of the operators that
PyTorch's dispatcher sees in one `LlamaDecoderLayer` (transformers 5, torch 2.13; `tests/test_implementation.py`
counts them anew); traffic follows from the operands of each.
"""

from typing import NamedTuple

from ..arrays import Array
from .ops import OpCost, pointwise


class Implementation(NamedTuple):
    """Kernels and traffic of the operators between the matrix products of one block."""

    name: str
    norm_kernels: float
    norm_moves: float
    rope_kernels: float  # for queries and keys together
    rope_moves: float
    activation_kernels: float  # SiLU and product with the gate
    activation_moves: float
    residual_kernels: float  # one residual sum
    cache_kernels: float  # append keys and values
    cache_copies: float  # times the whole cache is read and written to grow it by a token
    attention_kernels: float
    attention_passes: float  # times the score matrix is moved to or from memory; 0 if it never leaves the chip
    padding_kernels: float  # more launches where head_dim is no multiple of 8
    routing_kernels: float  # from the router's logits to rows sorted by expert, and back
    expert_kernels: float  # launches for each touched expert beside its products; 0: experts are grouped in one
    absorbs_latents: bool  # latent attention decodes on the latents themselves, without expanding them
    fuses_scans: bool  # recurrent layers have kernels of their own
    unpack_moves: float  # values moved to unpack a quantised weight: 2 if written out and read, 0 in registers
    unpack_kernels: float  # launches for that, a linear layer
    strided_rope: bool = False  # rotary embedding on transposed views of queries and keys
    fuses_projections: bool = False  # queries, keys and values in one product, gate and up in another
    multiplies_float8: bool = False  # fp8 weights are multiplied as such: the device has products of 8-bit floats
    group_kernels: float = 0.0  # launches an expert of a grouped product that loops over all; 0: it is one

    def rope(self, values: Array, bytes_each: float) -> OpCost:
        """Rotary embedding of so many values of queries and keys."""
        return pointwise(
            "rope", values, moves=self.rope_moves, kernels=self.rope_kernels, bytes_each=bytes_each,
            strided=self.strided_rope,
        )  # fmt: skip


# RMSNorm in float32: to float32, square, mean, + eps, rsqrt, scale, back, weight. One value is 2 bytes in bf16:
# 3 + 4 + 2 + 4 + 3 + 3 values, the per-row steps moving nothing to speak of.
# Rotary: x·cos, rotate_half (negate, concatenate), ·sin, sum, for queries and for keys: 2 + 1 + 2 + 2 + 3 values.
TRANSFORMERS = Implementation("transformers", 8, 19, 10, 10, 2, 5, 1, 2, 1, 1, 0, 4, 18, 0, False, False, 2, 1, True)
# Routing: softmax, top-k, sort, histogram, offsets, gather, scatter: 18 launches around two grouped products.
# A loop over experts adds mask, gather, activation, weighting, index_add and reads of indices by the host: 13 for each.
# PyTorch's grouped product on a CPU is a loop over all experts, of views and a product; where no token was sent to an
# expert its turn takes a third of a launch (1 against 3.5 us).
TRANSFORMERS_CPU = TRANSFORMERS._replace(name="transformers-cpu", group_kernels=0.3)
# The same block with the fused kernels that plain PyTorch offers (rms_norm) and a cache written in place.
TORCH = Implementation("torch", 1, 2, 10, 10, 2, 5, 1, 2, 0, 1, 0, 4, 12, 13, False, False, 2, 1, True)
# Kernels fused by a compiler: one for a norm with its residual, one for rotary, one for the activation.
COMPILED = Implementation("compiled", 1, 2, 1, 2, 1, 3, 0, 1, 0, 1, 0, 0, 4, 0, True, True, 0, 0)
# A serving framework: residual sum fused into the norm (its traffic is still the residual's), projections fused, keys
# and values written to a paged cache by what its attention rows include.
SERVING = Implementation("serving", 1, 1, 1, 2, 1, 3, 0, 0, 0, 1, 0, 0, 4, 0, True, True, 0, 0, False, True)

IMPLEMENTATIONS = {item.name: item for item in (TRANSFORMERS, TRANSFORMERS_CPU, TORCH, COMPILED, SERVING)}
