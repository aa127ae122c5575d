"""Parameters of a model, and what its weights take in a format, to the byte: sums over its layers."""

from typing import NamedTuple

from ..arrays import Array, largest, maximum
from .architecture import Architecture, Block
from .formats import Numbers, WeightFormat
from .layers.layer import Linear


def block_parameters(block: Block, hidden: Array) -> Array:
    """Parameters of one block, exactly."""
    return block.parameters(hidden)


def embedding_parameters(model: Architecture) -> Array:
    """Parameters of the embedding and, unless tied, of the LM head, and of what projects to and from them."""
    return model.embedding.parameters()


def num_parameters(model: Architecture) -> Array:
    """All parameters of the model, exactly: blocks, final norm, embedding, LM head."""
    return model.parameters()


def linears(block: Block, hidden: Array) -> list[Linear]:
    """The linear products of a block that a format applies to."""
    return [one for layer in block.layers for one in layer.linears(hidden)]


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
    saved = sum(
        group.count * _saved(group.block, model.hidden_size, numbers.format, numbers.activation_bytes)
        for group in model.groups
    )
    return plain - saved


FLOAT32_BYTES = 4.0


def _gguf_bytes(model: Architecture, numbers: Numbers, parameters: Array) -> Array:
    """Bytes of the tensors in a GGUF file: vectors in float32, the embedding in the type of most matrices.

    Where the LM head is the embedding, the one matrix has the head's type.
    """
    total_bytes, rest = 0.0, parameters
    for group in model.groups:
        for one in linears(group.block, model.hidden_size):
            weights = one.inputs * one.outputs * (one.count * group.count)
            total_bytes = total_bytes + weights * numbers.bytes_of(one.name)
            rest = rest - weights
    table, tied = model.vocab_size * model.embedding.embedded_width, model.tie_word_embeddings
    total_bytes = total_bytes + table * (numbers.head_bytes + (1.0 - tied) * numbers.weight_bytes)
    return total_bytes + (rest - table * (2.0 - tied)) * FLOAT32_BYTES


def _saved(block: Block, hidden: Array, form: WeightFormat, dtype_bytes: float) -> Array:
    return sum(
        one.count * (one.inputs * one.outputs * dtype_bytes - form.linear_bytes(one.inputs, one.outputs))
        for one in linears(block, hidden)
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
