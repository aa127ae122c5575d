"""What quantised weights cost beyond their bytes: unpacking them, or products of 8-bit floats instead."""

from collections.abc import Collection, Sequence

from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind, pointwise


def multiplies_float8(implementation: Implementation, numbers: Numbers) -> bool:
    """Whether products are of 8-bit floats: weights stored so, inputs quantised on the way."""
    return implementation.multiplies_float8 and numbers.format is not None and numbers.format.name == "fp8"


def float8_product(op: OpCost, launches: float = 0.0) -> OpCost:
    """A product of a 16-bit input with a stored 8-bit weight as one of 8-bit floats with a 16-bit output.

    It reads the input in half of the bytes; quantising it is part of the operator's law and of the runtime's launches.
    """
    moved = op.activation_bytes * ((op.k * 0.5 + op.n) / (op.k + op.n))
    return op._replace(kind=OpKind.GEMM8, activation_bytes=moved, kernels=op.kernels * (1.0 + launches))


def with_unpacking(
    name: str, ops: Sequence[OpCost], quantised: Collection[str], implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """The same operators of one layer, and one by this name that unpacks the weights of the `quantised` ones.

    Where fp8 weights are multiplied as such nothing is unpacked: the products are of 8-bit floats.
    `unpack_moves` values of the dtype are moved for each weight: 2 where a runtime writes the unpacked matrix out and
    the product reads it back, 0 where it unpacks in registers; `unpack_kernels` launches a product.
    """
    if multiplies_float8(implementation, numbers):
        return [float8_product(op, implementation.unpack_kernels) if op.name in quantised else op for op in ops]
    products = [op for op in ops if op.name in quantised]
    if not products or not (implementation.unpack_moves or implementation.unpack_kernels):
        return list(ops)
    weights = sum(op.weight_bytes for op in products) * (1.0 / numbers.weight_bytes)
    launches = implementation.unpack_kernels * sum(op.kernels for op in products)
    unpack = pointwise(
        name, weights, moves=implementation.unpack_moves, kernels=launches, bytes_each=numbers.activation_bytes
    )
    return [*ops, unpack]
