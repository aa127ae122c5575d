"""Linear attention with a gated delta rule."""

from dataclasses import dataclass, replace

from ...arrays import Array
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind
from ..step import Step
from .layer import Linear, part_of
from .recurrent import FUSED, Recurrent, Scan, chunked, scan_ops, step_op

# Counted as those of Mamba-2.
GATED_DELTA_TENSORS = Scan(80.0, 9.0, 61.0, 20.0, 42.0, 16.0, 17.0)


@dataclass(frozen=True, slots=True)
class GatedDelta(Recurrent):
    """Linear attention with a gated delta rule (Yang et al. 2024, "Gated Delta Networks")."""

    key_heads: Array
    value_heads: Array
    key_dim: Array
    value_dim: Array
    conv_kernel: float = 4.0
    chunk: float = 64.0

    @property
    def inner_width(self) -> Array:
        """Values of all heads."""
        return self.value_heads * self.value_dim

    @property
    def conv_width(self) -> Array:
        """Queries, keys and values."""
        return 2.0 * (self.key_heads * self.key_dim) + self.inner_width

    @property
    def conv_inputs(self) -> float:
        """As many as the kernel is long."""
        return self.conv_kernel

    @property
    def state_elements(self) -> Array:
        """A matrix of keys by values for each head."""
        return self.value_heads * self.key_dim * self.value_dim

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries, keys, values and gate in one product; the two rates of each head; output."""
        return [
            Linear("qkvz_proj", hidden, self.conv_width + self.inner_width),
            Linear("ba_proj", hidden, 2.0 * self.value_heads),
            Linear("out_proj", self.inner_width, hidden),
        ]

    def vectors(self, hidden: Array) -> list[Array]:
        """Convolution, one decay and one step bias a head, and the gated norm of a head."""
        return [self.conv_width * self.conv_kernel, 2.0 * self.value_heads, self.value_dim]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Projections to queries, keys, values, gate, and the two rates a head; convolution, norm, output."""
        *into, out = (one.op(rows, numbers) for one in self.linears(hidden))
        return [*into, *self.around(rows, implementation, numbers), out]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """The delta rule over chunks."""
        return delta_rule(self, (self.value_heads, self.key_dim, self.value_dim, self.chunk), step, implementation)

    def fewer_heads(self, share: float) -> "GatedDelta":
        """Values go with the keys that they share."""
        kept = part_of(self.key_heads, share)
        return replace(self, key_heads=kept, value_heads=self.value_heads / self.key_heads * kept)


def delta_rule(
    layer: Recurrent, sizes: tuple[Array, Array, Array, float], step: Step, implementation: Implementation
) -> list[OpCost]:
    """The chunked delta rule (Yang et al. 2024, section 3.3) for `sizes` (heads, key width, value width, chunk).

    FLOPs a head and a token: 2·c·(2K + V) for scores and what they weigh, 6·K·V with the state, and c·(K + V) for the
    triangular solve of each chunk, which a kernel of its own does in passing. Tensor operators pad the prompt to whole
    chunks.
    """
    heads, key, value, length = sizes
    values = heads * (key + value)
    if step.phase == "decode":
        return [step_op(layer, values, step, GATED_DELTA_TENSORS, implementation)]
    chunk, positions = chunked(length, step, implementation)
    flops = 2.0 * chunk * heads * (2.0 * key + value) + 6.0 * layer.state_elements
    scan = FUSED if implementation.fuses_scans else GATED_DELTA_TENSORS
    moved = heads * chunk * scan.square_moves + values * scan.row_moves
    ops = scan_ops(layer, flops, moved, (chunk, positions), step, scan)
    return ops if implementation.fuses_scans else [*ops, _solve_op(values, chunk, step.batch_size * positions)]


def _solve_op(columns: Array, chunk: float, rows: Array) -> OpCost:
    """A unit triangular system of `chunk` unknowns for each of `columns` right-hand sides in every chunk of `rows`:
    half of the chunk's square is multiplied. Its launches are counted with the scan."""
    return OpCost("scan_solve", OpKind.SOLVE, columns * rows * chunk, 0.0, 0.0, 0.0, 0.0, rows, columns, 0.5 * chunk)
