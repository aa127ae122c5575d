"""Kimi Delta Attention: the gated delta rule with a decay for each channel of a key (Kimi Linear, arXiv 2510.26692)."""

from dataclasses import dataclass

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost
from ..step import Step
from .gated_delta import delta_rule
from .layer import Linear
from .recurrent import Recurrent, Scan, chunked, scan_ops, step_op

# Written as plain tensor operators: counted as those of Mamba-2. Most launches invert a chunk's system row by row.
KIMI_DELTA_TENSORS = Scan(462.0, 19.0, 59.0, 124.0, 56.0, 11.0, 17.0)
PAIR_MOVES = 15.0  # float32 values for each channel and pair of a chunk: twice three products and sums under a decay


@dataclass(frozen=True, slots=True)
class KimiDelta(Recurrent):
    """`heads` of `head_dim`; decay and output gate come from `rank` values, or straight from the stream if None."""

    heads: Array
    head_dim: Array
    decay_rank: Array | None
    gate_rank: Array | None
    conv_kernel: float = 4.0
    chunk: float = 64.0

    @property
    def inner_width(self) -> Array:
        """Values of all heads."""
        return self.heads * self.head_dim

    @property
    def conv_width(self) -> Array:
        """Queries, keys and values."""
        return 3.0 * self.inner_width

    @property
    def conv_inputs(self) -> float:
        """As many as the kernel is long."""
        return self.conv_kernel

    @property
    def state_elements(self) -> Array:
        """A matrix of keys by values for each head."""
        return self.heads * self.head_dim * self.head_dim

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries, keys and values; decay, rate and gate; output."""
        inner = self.inner_width
        found = [Linear("qkv_proj", hidden, inner, 3.0), Linear("b_proj", hidden, self.heads)]
        for name, rank in (("f_proj", self.decay_rank), ("g_proj", self.gate_rank)):
            if rank is None:
                found.append(Linear(name, hidden, inner))
            else:
                found += [Linear(f"{name}_down", hidden, rank), Linear(f"{name}_up", rank, inner)]
        return [*found, Linear("o_proj", inner, hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        """Convolution, bias of the decay, a decay a head, the gated norm of a head."""
        return [self.conv_width * self.conv_kernel, self.inner_width, self.heads, self.head_dim]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The products, convolution and norm; the decay's function is counted with the scan."""
        *into, out = (one.op(rows, numbers) for one in self.linears(hidden))
        return [*into, *self.around(rows, implementation, numbers), out]

    def live_width_in(self, implementation: Implementation) -> Array:
        """As tensor operators also three float32 values (two of 16 bits each) for each channel and pair of a chunk."""
        pairs = 0.0 if implementation.fuses_scans else 3.0 * self.chunk * 2.0
        return self.live_width + self.inner_width * pairs

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """As the gated delta rule where a kernel has it.

        As tensor operators the decay of each channel makes the scores a pointwise chain over chunk² · channels values
        (`PAIR_MOVES`), and the triangular system is inverted row by row. FLOPs a head and a token: 2·c·(K + 2V) for
        what the inverse and the scores weigh, 6·K·V with the state.
        """
        heads, width = self.heads, self.head_dim
        if implementation.fuses_scans:
            return delta_rule(self, (heads, width, width, self.chunk), step, implementation)
        values = 2.0 * self.inner_width
        if step.phase == "decode":
            return [step_op(self, values, step, KIMI_DELTA_TENSORS, implementation)]
        chunk, positions = chunked(self.chunk, step, implementation)
        flops = 6.0 * chunk * self.inner_width + 6.0 * self.state_elements
        each = KIMI_DELTA_TENSORS.square_moves + PAIR_MOVES * width
        moved = heads * (chunk * each) + values * KIMI_DELTA_TENSORS.row_moves
        return scan_ops(self, flops, moved, (chunk, positions), step, KIMI_DELTA_TENSORS)
