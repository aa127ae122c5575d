"""Layers with a state of fixed size instead of a cache: Mamba-2 and linear attention with a gated delta rule."""

from typing import NamedTuple

from ...arrays import Array, ceil, minimum
from ..architecture import Block, GatedDelta, Mamba2
from ..config import Numbers
from ..implementation import Implementation
from ..ops import OpCost, OpKind, gemm, pointwise
from ..step import Step
from .kv_cache import RECURRENT_BYTES, conv_width, recurrent_elements


class Scan(NamedTuple):
    """How a runtime carries out a recurrence: launches, and float32 values moved per value that the formula has."""

    prefill_kernels: float  # of a pass over many tokens
    chunk_kernels: float  # more for each chunk, where chunks are looped over
    step_kernels: float  # of one token's step
    square_moves: float  # per head, token and position of its chunk
    row_moves: float  # per value that enters or leaves, a token
    state_moves: float  # per value of the state, a chunk
    step_moves: float  # per value of the state, a step


# Written as plain tensor operators: operators and operands that PyTorch's dispatcher sees in one layer, sizes varied
# one at a time (transformers 5.23, torch 2.13); `tests/test_recurrent.py` counts them anew.
MAMBA2_TENSORS = Scan(81.0, 0.0, 33.0, 10.0, 30.0, 15.0, 15.0)
GATED_DELTA_TENSORS = Scan(80.0, 9.0, 61.0, 20.0, 42.0, 16.0, 17.0)
# Kernels of their own: five for a chunked scan, one for a step (Dao & Gu 2024, section 6); rows once in and out, the
# state once in and out.
FUSED = Scan(5.0, 0.0, 1.0, 0.0, 1.0, 2.0, 2.0)


def mamba2_dense(
    m: Mamba2, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Both projections, the convolution and the gated norm, whose launches are counted with the scan."""
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    inner = m.heads * m.head_dim
    return [
        gemm("in_proj", rows, inner + conv_width(m) + m.heads, hidden, **sizes),
        *_around(m, inner, rows, implementation, numbers),
        gemm("out_proj", rows, hidden, inner, **sizes),
    ]


def mamba2_context(block: Block, step: Step, implementation: Implementation, _numbers: Numbers) -> list[OpCost]:
    """The chunked scan: attention within a chunk, one state a head between them; a step updates the state alone.

    FLOPs a token (Dao & Gu 2024, section 6.3): 2·c·N for the scores of each group, 2·c·P·H against them, and
    2·P·N·H into the state and as many out of it; c is the chunk. Tensor operators repeat the groups' scores for each
    head, pad the prompt to whole chunks, and pass states between chunks by a product of (chunks + 1)².
    """
    m = block.attention
    assert isinstance(m, Mamba2), "the table of mixers calls it with this kind alone"
    inner, values = m.heads * m.head_dim, m.heads * (m.head_dim + m.state_size)
    if step.phase == "decode":
        return [_step_op(m, values, step, MAMBA2_TENSORS, implementation)]
    chunk, positions = _chunked(m.chunk, step, implementation)
    scored = m.groups if implementation.fuses_scans else m.heads
    flops = 2.0 * chunk * (scored * m.state_size + inner) + 4.0 * recurrent_elements(m)
    if not implementation.fuses_scans:
        flops = flops + recurrent_elements(m) * (2.0 * (positions / chunk + 1.0) ** 2 / positions)
    scan = FUSED if implementation.fuses_scans else MAMBA2_TENSORS
    moved = m.heads * chunk * scan.square_moves + values * scan.row_moves
    return _scan_ops(m, flops, moved, (chunk, positions), step, scan)


def mamba2_parameters(m: Mamba2, hidden: Array) -> Array:
    """Projections, convolution, one decay, step bias and skip a head, and the gated norm."""
    inner, conv = m.heads * m.head_dim, conv_width(m)
    projected = inner + conv + m.heads
    total = hidden * (projected + inner) + conv * (m.conv_kernel + (1.0 if m.conv_bias else 0.0))
    return total + 3.0 * m.heads + inner + ((projected + hidden) if m.bias else 0.0)


def delta_dense(
    m: GatedDelta, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Projections to queries, keys, values, gate, and the two rates a head; convolution, norm, output."""
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    values = m.value_heads * m.value_dim
    return [
        gemm("qkvz_proj", rows, conv_width(m) + values, hidden, **sizes),
        gemm("ba_proj", rows, 2.0 * m.value_heads, hidden, **sizes),
        *_around(m, values, rows, implementation, numbers),
        gemm("out_proj", rows, hidden, values, **sizes),
    ]


def delta_context(block: Block, step: Step, implementation: Implementation, _numbers: Numbers) -> list[OpCost]:
    """The chunked delta rule (Yang et al. 2024, section 3.3). FLOPs a head and a token: 2·c·(2K + V) for scores and
    what they weigh, 6·K·V with the state, and c·(K + V) for the triangular solve of each chunk, which a kernel of its
    own does in passing. Tensor operators pad the prompt to whole chunks.
    """
    m = block.attention
    assert isinstance(m, GatedDelta), "the table of mixers calls it with this kind alone"
    values = m.value_heads * (m.key_dim + m.value_dim)
    if step.phase == "decode":
        return [_step_op(m, values, step, GATED_DELTA_TENSORS, implementation)]
    chunk, positions = _chunked(m.chunk, step, implementation)
    flops = 2.0 * chunk * m.value_heads * (2.0 * m.key_dim + m.value_dim) + 6.0 * recurrent_elements(m)
    scan = FUSED if implementation.fuses_scans else GATED_DELTA_TENSORS
    moved = m.value_heads * chunk * scan.square_moves + values * scan.row_moves
    ops = _scan_ops(m, flops, moved, (chunk, positions), step, scan)
    return ops if implementation.fuses_scans else [*ops, _solve_op(values, chunk, step.batch * positions)]


def _solve_op(columns: Array, chunk: float, rows: Array) -> OpCost:
    """A unit triangular system of `chunk` unknowns for each of `columns` right-hand sides in every chunk of `rows`:
    half of the chunk's square is multiplied. Its launches are counted with the scan."""
    return OpCost("scan_solve", OpKind.SOLVE, columns * rows * chunk, 0.0, 0.0, 0.0, 0.0, rows, columns, 0.5 * chunk)


def _chunked(chunk: float, step: Step, implementation: Implementation) -> tuple[Array, Array]:
    """Positions of a chunk, and of all chunks: kernels stop at the last token, tensor operators pad the last chunk."""
    if implementation.fuses_scans:
        return minimum(step.tokens, chunk), step.tokens
    return chunk, ceil(step.tokens / chunk) * chunk


def delta_parameters(m: GatedDelta, hidden: Array) -> Array:
    """Projections, convolution, one decay and one step bias a head, and the gated norm of a head."""
    values, conv = m.value_heads * m.value_dim, conv_width(m)
    projected = conv + values + 2.0 * m.value_heads
    return hidden * (projected + values) + conv * m.conv_kernel + 2.0 * m.value_heads + m.value_dim


def _around(
    m: Mamba2 | GatedDelta, inner: Array, rows: Array, implementation: Implementation, numbers: Numbers
) -> list[OpCost]:
    """Traffic of the short causal convolution with its SiLU, and of the gated norm."""
    each = numbers.activation_bytes
    return [
        OpCost("conv", OpKind.CONV, activation_bytes=conv_width(m) * rows * (4.0 * each), kernels=1.0, passes=4.0),
        pointwise("gated_norm", inner * rows, moves=implementation.norm_moves + 3.0, kernels=0.0, bytes_each=each),
    ]


def _step_op(
    m: Mamba2 | GatedDelta, values: Array, step: Step, tensors: Scan, implementation: Implementation
) -> OpCost:
    """One token: the state is read and written, by one kernel or by each tensor operator anew."""
    scan = FUSED if implementation.fuses_scans else tensors
    moved = (recurrent_elements(m) * scan.step_moves + values) * (step.batch * RECURRENT_BYTES)
    return OpCost("scan", OpKind.SCAN, activation_bytes=moved, kernels=scan.step_kernels, passes=scan.step_moves)


def _scan_ops(
    m: Mamba2 | GatedDelta, flops_each: Array, moved_each: Array, length: tuple[Array, Array], step: Step, scan: Scan
) -> list[OpCost]:
    """A scan over the prompt, `length` (chunk, positions): its traffic and launches, and its products as one GEMM."""
    chunk, positions = length
    chunks = ceil(positions / chunk)
    state = recurrent_elements(m)
    moved = moved_each * (step.batch * positions) + state * (step.batch * chunks * scan.state_moves)
    kernels = scan.prefill_kernels + scan.chunk_kernels * chunks
    inner = state / (m.state_size if isinstance(m, Mamba2) else m.key_dim)
    rows, depth = step.batch * positions, flops_each / (2.0 * inner)
    return [
        OpCost("scan", OpKind.SCAN, activation_bytes=moved * RECURRENT_BYTES, kernels=kernels, passes=scan.row_moves),
        OpCost("scan_products", OpKind.GEMM, flops_each * rows, 0.0, 0.0, 0.0, 0.0, rows, inner, depth),
    ]
