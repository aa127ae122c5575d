"""What a runtime does between the matrix products: the record that each file of `latmodel.runtimes` fills in.

Kernels are launches of one operator; `moves` are the values read and written per element, in units of the model's
own dtype (a float32 intermediate counts twice).
"""

from typing import NamedTuple

from ..arrays import Array
from .ops import OpCost, pointwise


class Implementation(NamedTuple):
    """Kernels and traffic of the operators between the matrix products of one block; always built by keyword."""

    name: str
    # Norms: RMSNorm (LayerNorm is one kernel everywhere).
    norm_kernels: float
    norm_moves: float
    # Rotary embedding, of queries and keys together.
    rope_kernels: float
    rope_moves: float
    # SiLU and the product with the gate.
    activation_kernels: float
    activation_moves: float
    residual_kernels: float  # one residual sum
    # KV cache.
    cache_kernels: float  # append keys and values
    cache_copies: float  # times the whole cache is read and written to grow it by a token
    # Attention.
    attention_kernels: float
    attention_passes: float  # times the score matrix is moved to or from memory; 0 if it never leaves the chip
    padding_kernels: float  # more launches where head_dim is no multiple of 8
    # Mixtures of experts.
    routing_kernels: float  # from the router's logits to rows sorted by expert, and back
    expert_kernels: float  # launches for each touched expert beside its products; 0: experts are grouped in one
    # Latent attention and recurrent layers.
    absorbs_latents: bool  # latent attention decodes on the latents themselves, without expanding them
    fuses_scans: bool  # recurrent layers have kernels of their own
    # Quantised weights.
    unpack_moves: float  # values moved to unpack a quantised weight: 2 if written out and read, 0 in registers
    unpack_kernels: float  # launches for that, a linear layer
    # What most runtimes do not do.
    strided_rope: bool = False  # rotary embedding on transposed views of queries and keys
    fuses_projections: bool = False  # queries, keys and values in one product, gate and up in another
    multiplies_float8: bool = False  # fp8 weights are multiplied as such: the device has products of 8-bit floats
    micro_batch: float | None = None  # tokens that one pass computes at once; None: all of them
    group_kernels: float = 0.0  # launches an expert of a grouped product that loops over all; 0: it is one

    def rope(self, values: Array, bytes_each: float) -> OpCost:
        """Rotary embedding of so many values of queries and keys."""
        return pointwise(
            "rope", values, moves=self.rope_moves, kernels=self.rope_kernels, bytes_each=bytes_each,
            strided=self.strided_rope,
        )  # fmt: skip
