"""What layers share that keep a state of fixed size instead of a cache: Mamba-2 and the gated delta rule."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from ...arrays import Array, ceil, minimum
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind, pointwise
from ..step import Step
from .layer import Layer

RECURRENT_BYTES = 4.0  # recurrent states stay in float32 whatever the model's dtype (transformers 5)


class Scan(NamedTuple):
    """How a runtime carries out a recurrence: launches, and float32 values moved per value that the formula has."""

    prefill_kernels: float  # of a pass over many tokens
    chunk_kernels: float  # more for each chunk, where chunks are looped over
    step_kernels: float  # of one token's step
    square_moves: float  # per head, token and position of its chunk
    row_moves: float  # per value that enters or leaves, a token
    state_moves: float  # per value of the state, a chunk
    step_moves: float  # per value of the state, a step


# Kernels of their own: five for a chunked scan, one for a step (Dao & Gu 2024, section 6); rows once in and out, the
# state once in and out.
FUSED = Scan(5.0, 0.0, 1.0, 0.0, 1.0, 2.0, 2.0)


@dataclass(frozen=True, slots=True)
class Recurrent(Layer):
    """A layer with a short causal convolution and a recurrent state."""

    @property
    @abstractmethod
    def conv_width(self) -> Array:
        """Channels of the convolution."""

    @property
    @abstractmethod
    def conv_inputs(self) -> float:
        """Last inputs of each channel that are kept."""

    @property
    @abstractmethod
    def state_elements(self) -> Array:
        """Numbers in the recurrent state of one sequence."""

    @property
    @abstractmethod
    def inner_width(self) -> Array:
        """Values a token that the recurrence gives."""

    @property
    def live_width(self) -> Array:
        """The convolution's input and output, the gate and the output."""
        return 2.0 * self.conv_width + 2.0 * self.inner_width

    def state_bytes(self, numbers: Numbers) -> Array:
        """The convolution's last inputs and the state itself."""
        conv = self.conv_width * (self.conv_inputs * numbers.activation_bytes)
        return conv + self.state_elements * RECURRENT_BYTES

    def around(self, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Traffic of the convolution with its SiLU, and of the gated norm, whose launches are counted with the scan."""
        each, moves = numbers.activation_bytes, implementation.norm_moves + 3.0
        return [
            OpCost(
                "conv", OpKind.CONV, activation_bytes=self.conv_width * rows * (4.0 * each), kernels=1.0, passes=4.0
            ),
            pointwise("gated_norm", self.inner_width * rows, moves=moves, kernels=0.0, bytes_each=each),
        ]


def chunked(chunk: float, step: Step, implementation: Implementation) -> tuple[Array, Array]:
    """Positions of a chunk, and of all chunks: kernels stop at the last token, tensor operators pad the last chunk."""
    if implementation.fuses_scans:
        return minimum(step.new_tokens, chunk), step.new_tokens
    return chunk, ceil(step.new_tokens / chunk) * chunk


def step_op(layer: Recurrent, values: Array, step: Step, tensors: Scan, implementation: Implementation) -> OpCost:
    """One token: the state is read and written, by one kernel or by each tensor operator anew."""
    scan = FUSED if implementation.fuses_scans else tensors
    moved = (layer.state_elements * scan.step_moves + values) * (step.batch_size * RECURRENT_BYTES)
    return OpCost("scan", OpKind.SCAN, activation_bytes=moved, kernels=scan.step_kernels, passes=scan.step_moves)


def scan_ops(
    layer: Recurrent, flops_each: Array, moved_each: Array, length: tuple[Array, Array], step: Step, scan: Scan
) -> list[OpCost]:
    """A scan over the prompt, `length` (chunk, positions): its traffic and launches, and its products as one GEMM."""
    chunk, positions = length
    chunks = ceil(positions / chunk)
    moved = moved_each * (step.batch_size * positions) + layer.state_elements * (
        step.batch_size * chunks * scan.state_moves
    )
    kernels = scan.prefill_kernels + scan.chunk_kernels * chunks
    inner = layer.inner_width
    rows, depth = step.batch_size * positions, flops_each / (2.0 * inner)
    return [
        OpCost("scan", OpKind.SCAN, activation_bytes=moved * RECURRENT_BYTES, kernels=kernels, passes=scan.row_moves),
        OpCost("scan_products", OpKind.GEMM, flops_each * rows, 0.0, 0.0, 0.0, 0.0, rows, inner, depth),
    ]
