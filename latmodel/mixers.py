"""Token mixers other than plain attention: latent attention, state spaces, linear attention with a gated delta rule.

One table, `MIXERS`, holds for each kind the four formulas that `transformer` asks for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .architecture import Block, GatedDelta, LatentAttention, Mamba2
from .arrays import Array, ceil, minimum
from .config import Numbers
from .implementation import Implementation
from .kv_cache import RECURRENT_BYTES, append_op, conv_width, recurrent_elements
from .ops import OpCost, elementwise, gemm
from .step import Step, attended_pairs


class Formulas(NamedTuple):
    """What a kind of mixer runs: operators by rows, operators by context, parameters."""

    dense: Callable[[Any, Array, Array, Implementation, Numbers], list[OpCost]]
    context: Callable[[Block, Step, Implementation, Numbers], list[OpCost]]
    parameters: Callable[[Any, Array], Array]


class Scan(NamedTuple):
    """A recurrent layer written as plain tensor operators: launches, and float32 values moved per value held.

    Counted as in `implementation`: operators and operands that PyTorch's dispatcher sees (transformers 5.23,
    torch 2.13), sizes varied one at a time; `tests/test_mixers.py` counts them anew.
    """

    prefill_kernels: float  # launches of a pass over many tokens
    chunk_kernels: float  # more for each chunk, where chunks are looped over
    step_kernels: float  # launches of one token's step
    square_moves: float  # per head, token and chunk position
    row_moves: float  # per value entering or leaving, a token
    state_moves: float  # per value of the state, a chunk
    step_moves: float  # per value of the state, a step


MAMBA2_TENSORS = Scan(82.0, 0.0, 34.0, 10.0, 30.0, 15.0, 15.0)
GATED_DELTA_TENSORS = Scan(80.0, 9.0, 62.0, 20.0, 42.0, 16.0, 17.0)
# One kernel for the convolution and a few for the scan, as in the published fused kernels: the state and the rows
# once in, once out (Dao & Gu 2024, section 6; five kernels for a chunked scan, one for a step).
FUSED = Scan(6.0, 0.0, 2.0, 0.0, 1.0, 2.0, 2.0)


# Latent attention -----------------------------------------------------------------------------------------------------


def _latent_dense(
    m: LatentAttention, hidden: Array, rows: Array, how: Implementation, numbers: Numbers
) -> list[OpCost]:
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    queries = m.heads * (m.nope_dim + m.rope_dim)
    normed = m.latent_rank if m.query_rank is None else m.latent_rank + m.query_rank
    norms = 1.0 if m.query_rank is None else 2.0
    if m.query_rank is None:
        query = [gemm("q_proj", rows, queries, hidden, **sizes)]
    else:
        query = [
            gemm("q_a_proj", rows, m.query_rank, hidden, **sizes),
            gemm("q_b_proj", rows, queries, m.query_rank, **sizes),
        ]
    return [
        *query,
        gemm("kv_a_proj", rows, m.latent_rank + m.rope_dim, hidden, **sizes),
        elementwise("latent_norm", normed * rows, moves=how.norm_moves, kernels=how.norm_kernels * norms,
                    bytes_each=numbers.activation_bytes),
        elementwise("rope", (m.heads + 1.0) * m.rope_dim * rows, moves=how.rope_moves, kernels=how.rope_kernels,
                    bytes_each=numbers.activation_bytes),
        gemm("o_proj", rows, hidden, m.heads * m.value_dim, **sizes),
    ]  # fmt: skip


def _latent_context(block: Block, step: Step, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """Expand every latent in the context, then attend; or, where the runtime absorbs the expansion, in the latents."""
    m: LatentAttention = block.attention  # type: ignore[assignment]  # MIXERS calls it with this kind only
    attend = _attend_latents if how.absorbs_latents and step.tokens == 1.0 else _attend_expanded
    return [*attend(m, step, how, numbers), append_op(block, step, how, numbers)]


def _attend_expanded(m: LatentAttention, step: Step, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """Keys and values of all heads from each latent: one GEMM over the whole context, then multi-head attention."""
    positions, pairs = step.batch * step.context, step.batch * attended_pairs(step, None)
    key, value = m.nope_dim + m.rope_dim, m.value_dim
    expand = gemm(
        "kv_b_proj", positions, m.heads * (m.nope_dim + value), m.latent_rank,
        weight_bytes=numbers.weight_bytes, activation_bytes=numbers.activation_bytes,
    )  # fmt: skip
    # keys are put together from two parts: read and written once more
    joined = elementwise(
        "join_keys", positions * m.heads * key, moves=2.0, kernels=3.0, bytes_each=numbers.activation_bytes
    )
    flops = (2.0 * pairs) * (m.heads * (key + value))
    rows = (positions + step.rows) * (m.heads * (key + value)) * numbers.activation_bytes
    scores = m.heads * (how.attention_passes * pairs * numbers.activation_bytes)
    return [expand, joined, OpCost("attention", "attention", flops, 0.0, 0.0, rows + scores, how.attention_kernels)]


def _attend_latents(m: LatentAttention, step: Step, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """One query head group over one shared latent (DeepSeek-V2, appendix C): the expansion moves to queries and output."""
    pairs = step.batch * attended_pairs(step, None)
    width = m.latent_rank + m.rope_dim
    weights = m.heads * m.latent_rank * (m.nope_dim + m.value_dim)
    absorbed = OpCost(
        "absorb", "gemm", 2.0 * step.rows * weights, weights * numbers.weight_bytes, 0.0,
        step.rows * (m.heads * (2.0 * m.latent_rank + m.nope_dim + m.value_dim)) * numbers.activation_bytes, 2.0,
        step.rows, m.heads * (m.nope_dim + m.value_dim), m.latent_rank, 1.0,
    )  # fmt: skip
    flops = (2.0 * pairs) * (m.heads * (width + m.latent_rank))
    cache = step.batch * step.context * width * numbers.cache_bytes
    rows = step.rows * (m.heads * (width + m.latent_rank)) * numbers.activation_bytes
    return [absorbed, OpCost("attention", "attention", flops, 0.0, cache, rows, how.attention_kernels)]


def _latent_parameters(m: LatentAttention, hidden: Array) -> Array:
    queries = m.heads * (m.nope_dim + m.rope_dim)
    if m.query_rank is None:
        query = hidden * queries
    else:
        query = m.query_rank * (hidden + 1.0 + queries) + (m.query_rank if m.bias else 0.0)
    latent = (hidden + (1.0 if m.bias else 0.0)) * (m.latent_rank + m.rope_dim) + m.latent_rank
    expand = m.latent_rank * (m.heads * (m.nope_dim + m.value_dim))
    return query + latent + expand + hidden * (m.heads * m.value_dim) + (hidden if m.bias else 0.0)


# Recurrent layers -----------------------------------------------------------------------------------------------------


def _mamba2_dense(m: Mamba2, hidden: Array, rows: Array, how: Implementation, numbers: Numbers) -> list[OpCost]:
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    inner = m.heads * m.head_dim
    return [
        gemm("in_proj", rows, inner + conv_width(m) + m.heads, hidden, **sizes),
        _conv(m, rows, numbers),
        elementwise(
            "gated_norm", inner * rows, moves=how.norm_moves + 3.0, kernels=0.0, bytes_each=numbers.activation_bytes
        ),
        gemm("out_proj", rows, hidden, inner, **sizes),
    ]


def _mamba2_context(block: Block, step: Step, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """The chunked scan: attention within a chunk, one state a head between them; a step updates the state alone.

    FLOPs a token (Dao & Gu 2024, section 6.3): 2·c·N for the scores of each group, 2·c·P·H against them, and
    2·P·N·H into the state and as many out of it; c is the chunk, or the tokens there are.
    """
    m: Mamba2 = block.attention  # type: ignore[assignment]
    chunk = minimum(step.tokens, m.chunk)
    inner = m.heads * m.head_dim
    square = chunk * (m.groups * m.state_size + inner)
    flops = step.rows * (2.0 * square + 4.0 * inner * m.state_size)
    values = inner + m.heads * m.state_size
    return [_scan_op(m, flops, values, m.heads, chunk, step, MAMBA2_TENSORS, how, numbers)]


def _mamba2_parameters(m: Mamba2, hidden: Array) -> Array:
    inner, conv = m.heads * m.head_dim, conv_width(m)
    projected = inner + conv + m.heads
    total = hidden * projected + conv * (m.conv_kernel + (1.0 if m.conv_bias else 0.0)) + 3.0 * m.heads + inner
    return total + inner * hidden + ((projected + hidden) if m.bias else 0.0)


def _delta_dense(m: GatedDelta, hidden: Array, rows: Array, how: Implementation, numbers: Numbers) -> list[OpCost]:
    sizes = {"weight_bytes": numbers.weight_bytes, "activation_bytes": numbers.activation_bytes}
    values = m.value_heads * m.value_dim
    return [
        gemm("qkvz_proj", rows, conv_width(m) + values, hidden, **sizes),
        gemm("ba_proj", rows, 2.0 * m.value_heads, hidden, **sizes),
        _conv(m, rows, numbers),
        elementwise(
            "gated_norm", values * rows, moves=how.norm_moves + 3.0, kernels=0.0, bytes_each=numbers.activation_bytes
        ),
        gemm("out_proj", rows, hidden, values, **sizes),
    ]


def _delta_context(block: Block, step: Step, how: Implementation, numbers: Numbers) -> list[OpCost]:
    """The chunked delta rule (Yang et al. 2024, section 3.3), a head and a token: scores and their triangular solve
    against keys and values in the chunk, 2·c·(3K + 2V) FLOPs, and 6·K·V with the state.
    """
    m: GatedDelta = block.attention  # type: ignore[assignment]
    chunk = minimum(step.tokens, m.chunk)
    square = chunk * m.value_heads * (3.0 * m.key_dim + 2.0 * m.value_dim)
    flops = step.rows * (2.0 * square + 6.0 * recurrent_elements(m))
    values = m.value_heads * (m.key_dim + m.value_dim)
    return [_scan_op(m, flops, values, m.value_heads, chunk, step, GATED_DELTA_TENSORS, how, numbers)]


def _delta_parameters(m: GatedDelta, hidden: Array) -> Array:
    values, conv = m.value_heads * m.value_dim, conv_width(m)
    projected = conv + values + 2.0 * m.value_heads
    return hidden * (projected + values) + conv * m.conv_kernel + 2.0 * m.value_heads + m.value_dim


def _conv(m: Mamba2 | GatedDelta, rows: Array, numbers: Numbers) -> OpCost:
    """The short causal convolution and its SiLU; launches are counted with the scan."""
    return elementwise("conv", conv_width(m) * rows, moves=4.0, kernels=0.0, bytes_each=numbers.activation_bytes)


def _scan_op(
    m: Mamba2 | GatedDelta, flops: Array, values: Array, heads: Array, chunk: Array, step: Step, tensors: Scan,
    how: Implementation, numbers: Numbers,
) -> OpCost:  # fmt: skip
    """The scan with its launches and traffic; the state is read and written once a pass at least."""
    scan = FUSED if how.fuses_scans else tensors
    state = recurrent_elements(m)
    if isinstance(step.tokens, float) and step.tokens == 1.0:
        moved = step.batch * (state * (scan.step_moves - 2.0) + values) * RECURRENT_BYTES
        kernels: Array = scan.step_kernels
    else:
        chunks = ceil(step.tokens / chunk)
        kernels = scan.prefill_kernels + scan.chunk_kernels * chunks
        rows = heads * chunk * scan.square_moves + values * scan.row_moves
        moved = (step.rows * rows + step.batch * chunks * state * scan.state_moves) * RECURRENT_BYTES
    held = 2.0 * step.batch * state * RECURRENT_BYTES
    return OpCost("scan", "attention", flops, 0.0, held, moved, kernels)


MIXERS: dict[type, Formulas] = {
    LatentAttention: Formulas(_latent_dense, _latent_context, _latent_parameters),
    Mamba2: Formulas(_mamba2_dense, _mamba2_context, _mamba2_parameters),
    GatedDelta: Formulas(_delta_dense, _delta_context, _delta_parameters),
}
