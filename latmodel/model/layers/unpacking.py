"""What quantised weights cost beyond their bytes: more launches, arithmetic to dequantise, or a matrix written out."""

from collections.abc import Collection, Sequence

from ...arrays import Array, indicator, is_array
from ..formats import Numbers
from ..implementation import Implementation
from ..kernels import Way, WeightKernel
from ..ops import MMA_ROWS, OpCost, OpKind, pointwise


def float8_product(op: OpCost, launches: float = 0.0) -> OpCost:
    """A product of a 16-bit input with a stored 8-bit weight as one of 8-bit floats with a 16-bit output.

    It reads the input in half of the bytes; quantising it is part of the operator's law and of the runtime's launches.
    """
    moved = op.activation_bytes * ((op.k * 0.5 + op.n) / (op.k + op.n))
    return op._replace(kind=OpKind.GEMM8, activation_bytes=moved, kernels=op.kernels * (1.0 + launches))


def with_unpacking(
    name: str, ops: Sequence[OpCost], quantised: Collection[str], implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """The same operators of one layer, its `quantised` products as the runtime's kernel makes them.

    A fused kernel reads the stored bytes, in as many launches as it takes; what its floors and instructions cost beyond
    is one operator of kind DEQUANTIZE. Unpacking is one pointwise operator by this `name`: `unpack_moves` values of the
    dtype moved for each weight. A kernel that hands over to another from some rows on is the one or the other.
    """
    assert numbers.format is not None, "weights in the dtype are not unpacked"
    kernel = implementation.kernel(numbers.format)
    if kernel.way is Way.FLOAT8:
        return [float8_product(op, kernel.launches - 1.0) if op.name in quantised else op for op in ops]
    products = [op for op in ops if op.name in quantised]
    if not products:
        return list(ops)
    rows = products[0].m
    if kernel.beyond is not None and is_array(rows):
        many = indicator(rows >= kernel.rows, rows)
        launches = _product_launches(kernel) * (1.0 - many) + _product_launches(kernel.beyond) * many
        few_ops = _side_ops(name, products, kernel, implementation, numbers)
        many_ops = _side_ops(name, products, kernel.beyond, implementation, numbers)
        side = [*(_part(op, 1.0 - many) for op in few_ops), *(_part(op, many) for op in many_ops)]
        return [*_launched(ops, quantised, launches, MMA_ROWS), *side]
    if kernel.beyond is not None and rows >= kernel.rows:
        kernel = kernel.beyond
    side = _side_ops(name, products, kernel, implementation, numbers)
    return [*_launched(ops, quantised, _product_launches(kernel), kernel.row_step), *side]


def _product_launches(kernel: WeightKernel) -> float:
    """Launches of the product itself; unpacking is launched by an operator of its own."""
    return 1.0 if kernel.way is Way.UNPACKED else kernel.launches


def _launched(ops: Sequence[OpCost], quantised: Collection[str], launches: Array, row_step: float) -> Sequence[OpCost]:
    """The operators, those by quantised weights in so many launches each."""
    if type(launches) is float and launches == 1.0 and row_step == MMA_ROWS:
        return ops
    return [op._replace(kernels=op.kernels * launches, row_step=row_step) if op.name in quantised else op for op in ops]


def _side_ops(
    name: str, products: Sequence[OpCost], kernel: WeightKernel, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """What a kernel runs beside the products themselves."""
    weights = sum(op.weight_bytes for op in products) * (1.0 / numbers.weight_bytes)
    count = sum(op.kernels for op in products)
    if kernel.way is Way.UNPACKED:
        moves, launches = implementation.unpack_moves, (kernel.launches - 1.0) * count
        return [pointwise(name, weights, moves=moves, kernels=launches, bytes_each=numbers.activation_bytes)]
    if not (kernel.floors or kernel.instructions):
        return []
    flops, floors = kernel.instructions * weights, kernel.floors * count
    return [OpCost(name, OpKind.DEQUANTIZE, flops, kernels=0.0, repeat=floors)]


def _part(op: OpCost, share: Array) -> OpCost:
    """The operator where `share` is 1, nothing where it is 0."""
    return op._replace(
        flops=op.flops * share, activation_bytes=op.activation_bytes * share, kernels=op.kernels * share,
        repeat=op.repeat * share,
    )  # fmt: skip
