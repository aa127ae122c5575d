"""Mamba: a selective state space whose decay differs for each channel and state (Gu & Dao 2023, arXiv 2312.00752)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind
from ..step import Step
from .layer import Linear
from .recurrent import FUSED, RECURRENT_BYTES, Recurrent, Scan

# As plain tensor operators: a loop over the tokens whose turn is product, sum and read-out of the state, and a copy
# (transformers 5.23, torch 2.13; `tests/test_recurrent.py` counts them anew).
MAMBA_TENSORS = Scan(27.0, 4.0, 27.0, 0.0, 12.0, 12.0, 12.0)


@dataclass(frozen=True, slots=True)
class Mamba(Recurrent):
    """`inner` channels with `state_size` numbers each; the step comes from `rank` values. `heads` split projections."""

    inner: Array
    state_size: Array
    rank: Array
    conv_kernel: float = 4.0
    conv_bias: bool = True
    bias: bool = False
    normed: bool = False  # step and both projections to the state are normalised (Jamba)
    heads: float = 1.0  # (Zamba)

    @property
    def inner_width(self) -> Array:
        """Channels."""
        return self.inner

    @property
    def conv_width(self) -> Array:
        """Channels."""
        return self.inner

    @property
    def conv_inputs(self) -> float:
        """As many as the kernel is long."""
        return self.conv_kernel

    @property
    def state_elements(self) -> Array:
        """A state for each channel."""
        return self.inner * self.state_size

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Input and gate; step and both projections to the state; the step of each channel; output."""
        channels = self.inner / self.heads
        return [
            Linear("in_proj", hidden, 2.0 * self.inner),
            Linear("x_proj", channels, self.rank + 2.0 * self.state_size, self.heads),
            Linear("dt_proj", self.rank, channels, self.heads),
            Linear("out_proj", self.inner, hidden),
        ]

    def vectors(self, hidden: Array) -> list[Array]:
        """Convolution, bias of the step, decays, skip; norms; biases."""
        sizes = [
            self.inner * (self.conv_kernel + (1.0 if self.conv_bias else 0.0)),
            self.inner * (self.state_size + 2.0),
        ]
        if self.normed:
            sizes.append(self.rank + 2.0 * self.state_size)
        return [*sizes, 2.0 * self.inner, hidden] if self.bias else sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The products and the convolution; gate and skip are counted with the scan."""
        into, *inside, out = (one.op(rows, numbers) for one in self.linears(hidden))
        conv, _ = self.around(rows, implementation, numbers)
        return [into, conv, *inside, out]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The scan, token by token: traffic and launches, and the FLOPs of reading the state, the one product in it."""
        fused = implementation.fuses_scans
        scan = FUSED if fused else MAMBA_TENSORS
        tokens = step.new_tokens
        turns = 1.0 if fused else tokens  # a kernel holds the state on the chip
        moved = self.inner * (4.0 * scan.row_moves * tokens) + self.state_elements * (scan.state_moves * turns)
        kernels = scan.step_kernels if step.phase == "decode" else scan.prefill_kernels + scan.chunk_kernels * tokens
        bytes_moved, flops = moved * (step.batch_size * RECURRENT_BYTES), self.state_elements * (2.0 * step.rows)
        return [
            OpCost("scan", OpKind.SCAN, flops, activation_bytes=bytes_moved, kernels=kernels, passes=scan.row_moves)
        ]
