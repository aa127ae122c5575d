"""Mamba-2: a state-space layer with one scalar decay a head."""

from dataclasses import dataclass, replace

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost
from ..step import Step
from .layer import Linear, part_of
from .recurrent import FUSED, Recurrent, Scan, chunked, scan_ops, step_op

# Written as plain tensor operators: operators and operands that PyTorch's dispatcher sees in one layer, sizes varied
# one at a time (transformers 5.23, torch 2.13); `tests/test_recurrent.py` counts them anew.
MAMBA2_TENSORS = Scan(81.0, 0.0, 33.0, 10.0, 30.0, 15.0, 15.0)


@dataclass(frozen=True, slots=True)
class Mamba2(Recurrent):
    """A state-space layer with one scalar decay a head (Dao & Gu 2024, "Transformers are SSMs")."""

    heads: Array
    head_dim: Array
    groups: Array
    state_size: Array
    conv_kernel: float = 4.0
    conv_bias: bool = True
    bias: bool = False
    chunk: float = 256.0
    gated_norm: bool = True  # False: the gate alone
    out_bias: bool | None = None  # None: as `bias`

    @property
    def inner_width(self) -> Array:
        """Of all heads."""
        return self.heads * self.head_dim

    @property
    def conv_width(self) -> Array:
        """The heads' inputs, and both projections of each group to the state."""
        return self.inner_width + 2.0 * (self.groups * self.state_size)

    @property
    def conv_inputs(self) -> float:
        """As many as the kernel is long."""
        return self.conv_kernel

    @property
    def state_elements(self) -> Array:
        """A state for each value of a head."""
        return self.heads * self.head_dim * self.state_size

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Gate, convolution's input and step of each head in one product; output."""
        inner = self.inner_width
        return [
            Linear("in_proj", hidden, inner + self.conv_width + self.heads),
            Linear("out_proj", inner, hidden),
        ]

    def vectors(self, hidden: Array) -> list[Array]:
        """Convolution; one decay, step bias and skip a head; the gated norm; biases."""
        conv, inner = self.conv_width, self.inner_width
        sizes = [conv * (self.conv_kernel + (1.0 if self.conv_bias else 0.0)), 3.0 * self.heads]
        if self.gated_norm:
            sizes.append(inner)
        into, out = self.linears(hidden)
        if self.bias:
            sizes.append(into.outputs)
        if self.bias if self.out_bias is None else self.out_bias:
            sizes.append(out.outputs)
        return sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Both projections, the convolution and the gated norm."""
        into, out = self.linears(hidden)
        return [into.op(rows, numbers), *self.around(rows, implementation, numbers), out.op(rows, numbers)]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The chunked scan: attention within a chunk, one state a head between them; a step updates the state alone.

        FLOPs a token (Dao & Gu 2024, section 6.3): 2·c·N for the scores of each group, 2·c·P·H against them, and
        2·P·N·H into the state and as many out of it; c is the chunk. Tensor operators repeat the groups' scores for
        each head, pad the prompt to whole chunks, and pass states between chunks by a product of (chunks + 1)².
        """
        inner, values = self.inner_width, self.heads * (self.head_dim + self.state_size)
        if step.phase == "decode":
            op = step_op(self, values, step, MAMBA2_TENSORS, implementation)
            return [op._replace(flops=self.state_elements * (2.0 * step.batch_size))]  # a product reads the state
        chunk, positions = chunked(self.chunk, step, implementation)
        scored = self.groups if implementation.fuses_scans else self.heads
        flops = 2.0 * chunk * (scored * self.state_size + inner) + 4.0 * self.state_elements
        if not implementation.fuses_scans:
            flops = flops + self.state_elements * (2.0 * (positions / chunk + 1.0) ** 2 / positions)
        scan = FUSED if implementation.fuses_scans else MAMBA2_TENSORS
        moved = self.heads * chunk * scan.square_moves + values * scan.row_moves
        return scan_ops(self, flops, moved, (chunk, positions), step, scan)

    def fewer_heads(self, share: float) -> "Mamba2":
        """Heads go with the group whose projections they share."""
        kept = part_of(self.groups, share)
        return replace(self, groups=kept, heads=self.heads / self.groups * kept)
