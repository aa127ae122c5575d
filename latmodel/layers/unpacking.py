"""What quantised weights cost beyond their bytes: unpacking them to the dtype that the products are done in."""

from collections.abc import Sequence

from ..config import Numbers
from ..ops import OpCost, pointwise
from .implementation import Implementation

KEPT = ("router", "shared_gate")  # products whose weights stay in the dtype


def with_unpacking(name: str, ops: Sequence[OpCost], how: Implementation, numbers: Numbers) -> list[OpCost]:
    """The same operators of one layer, and one by this name that unpacks the weights of their products.

    `how.unpack_moves` values of the dtype are moved for each weight: 2 where a runtime writes the unpacked matrix out
    and the product reads it back, 0 where it unpacks in registers; `how.unpack_kernels` launches a product.
    """
    products = [op for op in ops if op.kind == "gemm" and op.name not in KEPT]
    if not products or not (how.unpack_moves or how.unpack_kernels):
        return list(ops)
    weights = sum(op.weight_bytes for op in products) * (1.0 / numbers.weight_bytes)
    launches = how.unpack_kernels * sum(op.kernels for op in products)
    unpack = pointwise(name, weights, moves=how.unpack_moves, kernels=launches, bytes_each=numbers.activation_bytes)
    return [*ops, unpack]
