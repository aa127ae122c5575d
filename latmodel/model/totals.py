"""Parameters of a model, and what its weights take in a format, to the byte: sums over its layers."""

from typing import NamedTuple

from ..arrays import Array, largest, maximum
from .architecture import Architecture, Block
from .formats import Numbers
from .layers.layer import Linear


def block_parameters(block: Block, hidden: Array) -> Array:
    """Parameters of one block, exactly."""
    return block.parameters(hidden)


def embedding_parameters(model: Architecture) -> Array:
    """Parameters of what lies around the blocks but for the final norm: embedding, LM head unless tied, projections."""
    return model.outer_parameters()


def num_parameters(model: Architecture) -> Array:
    """All parameters of the model, exactly: blocks, final norm, embedding, LM head."""
    return model.parameters()


def linears(block: Block, hidden: Array) -> list[Linear]:
    """The linear products of a block that a format applies to."""
    return [one for layer in block.layers for one in layer.linears(hidden)]


def products(model: Architecture) -> list[tuple[Array, Array]]:
    """(input dimension, weights of the whole model) of the products that a format applies to, the LM head's first."""
    width = model.embedding.embedded_width
    inside = [
        (one.inputs, group.kept * one.count * one.inputs * one.outputs)
        for group in model.groups
        for one in linears(group.block, model.hidden_size)
    ]
    return [(width, width * model.vocab_size), *inside]


def weight_bytes(model: Architecture, numbers: Numbers, parameters: Array | None = None) -> Array:
    """Bytes of all weights: in the format of the linear products of the blocks, in the dtype everywhere else.

    Routers, embeddings and the LM head keep the dtype, as GPTQ, AWQ and fp8 checkpoints do. `parameters` are all the
    model's, where they are at hand.
    """
    every = num_parameters(model) if parameters is None else parameters
    if numbers.format is None:
        return every * numbers.weight_bytes
    if numbers.format.head_bits is not None:
        return _gguf_bytes(model, numbers, every)
    plain = every * numbers.activation_bytes
    saved = sum(group.kept * _saved(group.block, model.hidden_size, numbers) for group in model.groups)
    if not numbers.format.shipped:
        return plain - saved
    return plain - saved - _saved_around(model, numbers) + _wider_vectors(model, numbers, every)


def _wider_vectors(model: Architecture, numbers: Numbers, parameters: Array) -> Array:
    """Bytes that norms, biases and routers take beyond the dtype: GGUF files keep them in float32."""
    form = numbers.format
    if form is None or form.vector_bytes is None:
        return 0.0
    inside = sum(
        group.kept * one.count * one.inputs * one.outputs
        for group in model.groups
        for one in linears(group.block, model.hidden_size)
    )
    tables = (2.0 - model.tie_word_embeddings) * model.vocab_size * model.embedding.embedded_width
    return (parameters - inside - tables) * (form.vector_bytes - numbers.activation_bytes)


def _gguf_bytes(model: Architecture, numbers: Numbers, parameters: Array) -> Array:
    """Bytes of the tensors in a GGUF file: the embedding in the type of most matrices, vectors in their own.

    Where the LM head is the embedding, the one matrix has the head's type.
    """
    total_bytes, rest = 0.0, parameters
    for group in model.groups:
        for one in linears(group.block, model.hidden_size):
            weights = one.inputs * one.outputs * (one.count * group.kept)
            total_bytes = total_bytes + weights * numbers.product_bytes(one.name, one.inputs)
            rest = rest - weights
    width, tied, form = model.embedding.embedded_width, model.tie_word_embeddings, numbers.format
    table, embedding = model.vocab_size * width, numbers.weight_bytes if form is None else form.bytes_at(width)
    if form is not None and form.table_bytes is not None:  # a table of its own, whatever the head is
        embedding, tied = form.table_bytes, 0.0 * tied
    total_bytes = total_bytes + table * (numbers.head_bytes_at(width) + (1.0 - tied) * embedding)
    each = None if form is None else form.vector_bytes
    vectors = rest - table * (2.0 - model.tie_word_embeddings)
    return total_bytes + vectors * (numbers.activation_bytes if each is None else each)


def _saved(block: Block, hidden: Array, numbers: Numbers) -> Array:
    """Bytes that the format of each product takes less than the dtype."""
    within, each = numbers.within(block.formats), numbers.activation_bytes
    return sum(
        one.count * (one.inputs * one.outputs * each - form.linear_bytes(one.inputs, one.outputs))
        for one in linears(block, hidden)
        if (form := within.format_of(one.name)) is not None
    )


def _saved_around(model: Architecture, numbers: Numbers) -> Array:
    """The same for an embedding or an LM head that a checkpoint ships quantised; a tied head is the embedding."""
    untied = 1.0 - model.tie_word_embeddings
    width, vocab = model.embedding.embedded_width, model.vocab_size
    plain = width * vocab * numbers.activation_bytes
    return sum(
        share * (plain - form.linear_bytes(width, vocab))
        for form, share in ((model.embedding_format, 1.0), (model.head_format, untied))
        if form is not None
    )


def largest_linear(block: Block, hidden: Array) -> Array:
    """Weights of the largest matrix of a block."""
    return largest([one.inputs * one.outputs for one in linears(block, hidden)])


class Workspace(NamedTuple):
    """Bytes that the kernels of a quantised format hold as long as the model lives: an output, an unpacked matrix.

    Each is as large as the widest layer needs: of two parts of a model it is the maximum.
    """

    output_bytes: Array = 0.0
    unpacked_bytes: Array = 0.0

    @property
    def total_bytes(self) -> Array:
        """Both."""
        return self.output_bytes + self.unpacked_bytes

    def joined(self, other: "Workspace") -> "Workspace":
        """What both parts of a model need."""
        return Workspace(
            maximum(self.output_bytes, other.output_bytes), maximum(self.unpacked_bytes, other.unpacked_bytes)
        )


def workspace(model: Architecture, numbers: Numbers) -> Workspace:
    """What the kernels of the weights' format hold; nothing without a format."""
    form, held = numbers.format, Workspace()
    if form is None or not form.workspace_bytes:
        return held
    for group in model.groups:
        widest = largest([one.outputs for one in linears(group.block, model.hidden_size)])
        unpacked = largest_linear(group.block, model.hidden_size) * numbers.activation_bytes
        held = held.joined(Workspace(widest * form.workspace_bytes, unpacked))
    return held
