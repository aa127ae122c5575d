"""Which operators a block and a model run: sums over their layers."""

from ..arrays import Array
from .architecture import Architecture, Block
from .formats import Numbers, WeightFormat
from .implementation import Implementation
from .layers.layer import Layer
from .layers.unpacking import with_unpacking
from .ops import FLOAT32_BYTES, OpCost, pointwise
from .step import Step


def dense_ops(
    block: Block, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """The operators of a block whose cost does not depend on the context: all but attention and its cache.

    Norms and residuals count passes over the same values, so that a block costs what its two layers cost.
    """
    if block.formats:
        numbers = numbers.within(block.formats)
    stream, count = hidden * rows, len(block.layers)
    ops = [block.norm.op("norm", stream, hidden, implementation, numbers, count=block.norms)]
    for layer in block.layers:
        own = layer.dense_ops(hidden, rows, implementation, numbers)
        ops += own if numbers.format is None else _unpacked(block, layer, own, hidden, implementation, numbers)
    moves, kernels = (5.0, 1.0) if block.residual_scale else (3.0, 0.0)
    residual = pointwise(
        "residual", stream, moves=moves * count,
        kernels=(implementation.residual_kernels + kernels) * count, bytes_each=numbers.activation_bytes,
    )  # fmt: skip
    ops.append(residual)
    return ops


def _unpacked(
    block: Block, layer: Layer, ops: list[OpCost], hidden: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """A layer's operators, and one for each format that unpacks the quantised weights of its linear products."""
    name = "unpack_mixer" if layer is block.attention else "unpack_ffn"
    products = [one.name for one in layer.linears(hidden, fused=implementation.fuses_projections)]
    if not numbers.parts:
        return with_unpacking(name, ops, set(products), implementation, numbers)
    by_format: dict[WeightFormat | None, set[str]] = {}
    for product in products:
        by_format.setdefault(numbers.format_of(product), set()).add(product)
    for form, names in by_format.items():
        if form is not None:
            ops = with_unpacking(name, ops, names, implementation, numbers.of(form))
    return ops


def context_ops(block: Block, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """The operators of a block that depend on the context: attention, scans, and the upkeep of caches and states."""
    if block.formats:
        numbers = numbers.within(block.formats)
    ops: list[OpCost] = []
    for layer in block.layers:
        ops += layer.context_ops(step, implementation, numbers)
    return ops


def head_ops(
    model: Architecture, rows: Array, logit_rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Embedding lookup, LM head (`logit_rows` positions get logits), final norm, and projections between widths."""
    lookup, *rest = stem_ops(model, rows, implementation, numbers)
    return [lookup, *logits_ops(model, logit_rows, implementation, numbers), *rest]


def logits_ops(model: Architecture, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """The LM head at `rows` positions, by the runtime's kernel where a checkpoint ships it quantised."""
    op = model.embedding.logits_op(rows, numbers)
    form = model.shipped_head
    widened = [_float32_copy(model, rows, numbers)] if implementation.attention.float32_logits else []
    if form is None or numbers.format is None or not numbers.format.shipped:
        return [op, *widened]
    within = numbers.of(form)
    quantised = [op._replace(weight_bytes=op.n * op.k * within.weight_bytes)]
    return [*with_unpacking("unpack_head", quantised, {op.name}, implementation, within), *widened]


def _float32_copy(model: Architecture, rows: Array, numbers: Numbers) -> OpCost:
    """Logits read in the dtype and written in float32."""
    moves = 1.0 + FLOAT32_BYTES / numbers.activation_bytes
    each = numbers.activation_bytes
    return pointwise("logits_float32", model.vocab_size * rows, moves=moves, kernels=1.0, bytes_each=each)


def stem_ops(model: Architecture, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """What lies around the blocks but for the LM head."""
    ops, hidden = [model.embedding.lookup_op(rows, numbers)], model.hidden_size
    if model.embedding_norm is not None:
        ops.append(model.embedding_norm.op("embedding_norm", hidden * rows, hidden, implementation, numbers))
    for layer in model.stem:
        ops += layer.dense_ops(hidden, rows, implementation, numbers)
    if model.final_norm is not None:
        ops.append(model.final_norm.op("final_norm", hidden * rows, hidden, implementation, numbers))
    return ops + model.embedding.extra_ops(rows, numbers)
