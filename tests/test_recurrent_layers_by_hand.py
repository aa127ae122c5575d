"""Recurrent layers and residual streams by hand, as tensor operators and in kernels of their own.

Weights of three bytes, activations of two, recurrent states of four; a stream of 100, six tokens, two sequences. What a
runtime's operators cost a scan is taken from its table (`tests/test_recurrent.py` counts that of most anew).
"""

from dataclasses import replace
from typing import Any

import pytest
from toy_runtime import COUNTED, HIDDEN, JOINED, ROWS, TOKEN, N, by_name, moved, sizes

from latmodel.model.layers.alternating_updates import AlternatingUpdates, StreamProjections
from latmodel.model.layers.gated_delta import GATED_DELTA_TENSORS, GatedDelta, delta_rule
from latmodel.model.layers.gated_recurrence import GatedRecurrence
from latmodel.model.layers.hyper_connections import HyperConnections
from latmodel.model.layers.kimi_delta import KIMI_DELTA_TENSORS, KimiDelta
from latmodel.model.layers.lightning_attention import LightningAttention
from latmodel.model.layers.mamba import MAMBA_TENSORS, Mamba
from latmodel.model.layers.mamba2 import MAMBA2_TENSORS, Mamba2
from latmodel.model.layers.per_layer_input import PerLayerEmbedding
from latmodel.model.layers.recurrent import FUSED, Scan, chunked, scan_ops, step_op
from latmodel.model.layers.short_convolution import ShortConvolution
from latmodel.model.ops import OpCost, OpKind
from latmodel.model.step import Step

SCAN = Scan(100.0, 7.0, 9.0, 3.0, 5.0, 11.0, 13.0)
DELTA = GatedDelta(2.0, 4.0, 2.0, 3.0, chunk=8.0)  # 4 heads of 2 × 3: 24 numbers in the state, 12 values
TEN = Step(10.0, batch_size=2.0)

# --- What recurrences share -----------------------------------------------------------------------


def test_kernels_of_their_own_read_and_write_everything_once() -> None:
    """Five launches for a prompt, one for a token; rows in and out, the state in and out."""
    assert Scan(5.0, 0.0, 1.0, 0.0, 1.0, 2.0, 2.0) == FUSED


def test_a_chunk_is_cut_by_a_kernel_and_padded_by_tensor_operators() -> None:
    assert chunked(4.0, TEN, JOINED) == (4.0, 10.0) and chunked(64.0, TEN, JOINED) == (10.0, 10.0)
    assert chunked(4.0, TEN, COUNTED) == (4.0, 12.0) and chunked(64.0, TEN, COUNTED) == (64.0, 64.0)


def test_a_step_moves_the_state() -> None:
    for runtime, launches, moves in ((COUNTED, 9, 13), (JOINED, 1, 2)):
        op = step_op(DELTA, 20.0, TOKEN, SCAN, runtime)
        assert (op.kind, moved(op), op.passes) == (OpKind.SCAN, (0, 0, 0, (24 * moves + 20) * 2 * 4, launches), moves)


def test_a_scan_moves_rows_and_a_state_for_each_chunk() -> None:
    scan, products = scan_ops(DELTA, 60.0, 17.0, (4.0, 12.0), TEN, SCAN)
    assert (scan.kind, scan.passes) == (OpKind.SCAN, 5)
    assert moved(scan) == (0, 0, 0, (17 * 2 * 12 + 24 * 2 * 3 * 11) * 4, 100 + 7 * 3)
    assert (products.kind, moved(products)) == (OpKind.GEMM, (60 * 24, 0, 0, 0, 0))
    assert (products.m, products.n, products.k) == (24, 12, 60 / (2 * 12))


def test_state_and_live_values() -> None:
    # Queries, keys and values are 2 · 4 + 12 wide, with four inputs kept of each; twice that and twice the values live.
    assert DELTA.state_bytes(N) == 20 * 4 * 2 + 24 * 4
    assert DELTA.live_width == 40 + 24
    conv, norm = DELTA.around(ROWS, COUNTED, N)
    assert (conv.kind, moved(conv), conv.passes) == (OpKind.CONV, (0, 0, 0, 20 * 6 * 4 * 2, 1), 4)
    assert moved(norm) == (0, 0, 0, 12 * 6 * (13 + 3) * 2, 0)


def parts(ops: list[OpCost]) -> dict[str, tuple[Any, ...]]:
    return {name: moved(op) for name, op in by_name(ops).items()}


def planned(
    layer: Any, flops: float, moved_each: float, length: tuple[float, float], step: Step, scan: Scan
) -> dict[str, tuple[Any, ...]]:
    """A scan whose FLOPs and values moved a token are given."""
    return parts(scan_ops(layer, flops, moved_each, length, step, scan))


# --- Gated delta rules ----------------------------------------------------------------------------


def test_gated_delta() -> None:
    assert sizes(DELTA) == {"qkvz_proj": (100, 32, 1), "ba_proj": (100, 8, 1), "out_proj": (12, 100, 1)}
    assert DELTA.vectors(HIDDEN) == [80.0, 8.0, 3.0]
    assert GatedDelta(2.0, 4.0, 2.0, 3.0).chunk == 64.0
    assert replace(DELTA, key_heads=4.0, value_heads=12.0).fewer_heads(0.5) == replace(
        DELTA, key_heads=2.0, value_heads=6.0
    )
    assert set(by_name(DELTA.dense_ops(HIDDEN, ROWS, COUNTED, N))) == {*sizes(DELTA), "conv", "gated_norm"}
    # A token and head: scores against keys twice and values within a chunk, six for the state.
    for runtime, chunk, positions, scan in ((COUNTED, 8.0, 16.0, GATED_DELTA_TENSORS), (JOINED, 8.0, 10.0, FUSED)):
        flops = 2 * chunk * 4 * (2 * 2 + 3) + 6 * 24
        values = 4 * chunk * scan.square_moves + 4 * (2 + 3) * scan.row_moves
        found = parts(DELTA.context_ops(TEN, runtime, N))
        solve = found.pop("scan_solve", None)
        assert found == planned(DELTA, flops, values, (chunk, positions), TEN, scan)
        assert solve == (None if runtime is JOINED else (20 * 32 * 8, 0, 0, 0, 0))
        token = DELTA.context_ops(TOKEN, runtime, N)
        assert token == [step_op(DELTA, 20.0, TOKEN, GATED_DELTA_TENSORS, runtime)]
    solve_op = by_name(DELTA.context_ops(TEN, COUNTED, N))["scan_solve"]
    assert (solve_op.kind, solve_op.m, solve_op.n, solve_op.k) == (OpKind.SOLVE, 32, 20, 4)
    assert delta_rule(DELTA, (4.0, 2.0, 3.0, 8.0), TEN, JOINED) == DELTA.context_ops(TEN, JOINED, N)


KIMI = KimiDelta(2.0, 4.0, 3.0, None, chunk=8.0)  # two heads of 4 × 4: 32 numbers in the state, 8 values


def test_kimi_delta() -> None:
    found = {
        "qkv_proj": (100, 8, 3),
        "b_proj": (100, 2, 1),
        "f_proj_down": (100, 3, 1),
        "f_proj_up": (3, 8, 1),
        "g_proj": (100, 8, 1),
        "o_proj": (8, 100, 1),
    }
    assert sizes(KIMI) == found
    assert sizes(replace(KIMI, decay_rank=None, gate_rank=5.0))["g_proj_up"] == (5, 8, 1)
    assert KIMI.vectors(HIDDEN) == [24 * 4, 8, 2, 4]
    assert (KIMI.conv_width, KIMI.state_elements, KimiDelta(2.0, 4.0, None, None).chunk) == (24, 32, 64)
    # As tensor operators three float32 values, of two of 16 bits each, for every channel and pair of a chunk.
    assert KIMI.live_width_in(JOINED) == KIMI.live_width == 2 * 24 + 2 * 8
    assert KIMI.live_width_in(COUNTED) == 64 + 8 * 3 * 8 * 2
    assert set(by_name(KIMI.dense_ops(HIDDEN, ROWS, COUNTED, N))) == {*found, "conv", "gated_norm"}
    assert KIMI.context_ops(TEN, JOINED, N) == delta_rule(KIMI, (2.0, 4.0, 4.0, 8.0), TEN, JOINED)
    scan = KIMI_DELTA_TENSORS
    values = 2 * 8 * (scan.square_moves + 15 * 4) + 2 * 8 * scan.row_moves
    assert parts(KIMI.context_ops(TEN, COUNTED, N)) == planned(KIMI, 6 * 8 * 8 + 6 * 32, values, (8.0, 16.0), TEN, scan)
    assert KIMI.context_ops(TOKEN, COUNTED, N) == [step_op(KIMI, 16.0, TOKEN, scan, COUNTED)]


# --- State spaces ---------------------------------------------------------------------------------

MAMBA2 = Mamba2(4.0, 3.0, 2.0, 5.0, chunk=8.0)  # four heads of 3, in two groups, with five numbers each: 60 in all


def test_mamba_2() -> None:
    assert sizes(MAMBA2) == {"in_proj": (100, 12 + 32 + 4, 1), "out_proj": (12, 100, 1)}
    assert MAMBA2.vectors(HIDDEN) == [32 * 5, 12, 12]
    bare = replace(MAMBA2, conv_bias=False, gated_norm=False)
    assert bare.vectors(HIDDEN) == [32 * 4, 12]
    assert replace(bare, bias=True).vectors(HIDDEN) == [128, 12, 48, 100]
    assert replace(bare, bias=True, out_bias=False).vectors(HIDDEN) == [128, 12, 48]
    assert replace(bare, out_bias=True).vectors(HIDDEN) == [128, 12, 100]
    assert (Mamba2(1.0, 1.0, 1.0, 1.0).chunk, Mamba2(1.0, 1.0, 1.0, 1.0).conv_inputs) == (256, 4)
    assert MAMBA2.state_bytes(N) == 32 * 4 * 2 + 60 * 4
    assert replace(MAMBA2, groups=4.0, heads=12.0).fewer_heads(0.5) == replace(MAMBA2, groups=2.0, heads=6.0)
    assert [op.name for op in MAMBA2.dense_ops(HIDDEN, ROWS, COUNTED, N)] == [
        "in_proj",
        "conv",
        "gated_norm",
        "out_proj",
    ]
    # Scores of each group (of each head, as tensor operators) and against the inputs; in and out of the state.
    fused = 2 * 8 * (2 * 5 + 12) + 4 * 60
    values = 4 * 8 * FUSED.square_moves + 4 * (3 + 5) * FUSED.row_moves
    assert parts(MAMBA2.context_ops(TEN, JOINED, N)) == planned(MAMBA2, fused, values, (8.0, 10.0), TEN, FUSED)
    # Two chunks of eight: states between three of them by a product.
    tensors = 2 * 8 * (4 * 5 + 12) + 4 * 60 + 60 * 2 * 3**2 / 16
    values = 4 * 8 * MAMBA2_TENSORS.square_moves + 32 * MAMBA2_TENSORS.row_moves
    assert parts(MAMBA2.context_ops(TEN, COUNTED, N)) == planned(
        MAMBA2, tensors, values, (8.0, 16.0), TEN, MAMBA2_TENSORS
    )
    (step,) = MAMBA2.context_ops(TOKEN, COUNTED, N)
    assert step == step_op(MAMBA2, 32.0, TOKEN, MAMBA2_TENSORS, COUNTED)._replace(flops=60 * 2 * 2)


MAMBA = Mamba(8.0, 2.0, 3.0)  # 8 channels of two numbers, steps from three values


def test_mamba() -> None:
    split = replace(MAMBA, heads=2.0)
    assert sizes(split) == {
        "in_proj": (100, 16, 1),
        "x_proj": (4, 3 + 4, 2),
        "dt_proj": (3, 4, 2),
        "out_proj": (8, 100, 1),
    }
    assert sizes(MAMBA)["x_proj"] == (8, 7, 1)
    assert MAMBA.vectors(HIDDEN) == [8 * 5, 8 * 4]
    assert replace(MAMBA, conv_bias=False).vectors(HIDDEN) == [8 * 4, 8 * 4]
    assert replace(MAMBA, normed=True, bias=True).vectors(HIDDEN) == [40, 32, 3 + 4, 16, 100]
    assert [op.name for op in MAMBA.dense_ops(HIDDEN, ROWS, COUNTED, N)] == [
        "in_proj",
        "conv",
        "x_proj",
        "dt_proj",
        "out_proj",
    ]
    t = MAMBA_TENSORS
    (fused,), (tensors,), (token,) = (
        MAMBA.context_ops(*args, N) for args in ((TEN, JOINED), (TEN, COUNTED), (TOKEN, COUNTED))
    )
    assert moved(fused) == (16 * 2 * 20, 0, 0, (8 * 4 * 10 + 16 * 2) * 2 * 4, 5)  # the state is read and written once
    values = 8 * 4 * 10 * t.row_moves + 16 * 10 * t.state_moves
    assert moved(tensors) == (16 * 2 * 20, 0, 0, values * 2 * 4, t.prefill_kernels + 10 * t.chunk_kernels)
    values = 8 * 4 * t.row_moves + 16 * t.state_moves
    assert moved(token) == (16 * 2 * 2, 0, 0, values * 2 * 4, t.step_kernels)
    assert (fused.passes, tensors.passes, tensors.kind) == (1, t.row_moves, OpKind.SCAN)


def test_lightning_attention() -> None:
    layer = LightningAttention(2.0, 4.0, block=6.0)
    assert LightningAttention(2.0, 4.0).block == 256.0
    for runtime, turns in ((JOINED, 1), (COUNTED, 10 / 6)):
        ops = by_name(layer.context_ops(TEN, runtime, N))
        # Four FLOPs a value for six positions of the block and the state of four; states in and out a turn, eight values a row.
        assert moved(ops["scan"]) == pytest.approx((0, 0, 0, (32 * 4 * 2 * turns + 8 * 8 * 20) * 4, 12 * turns))
        assert moved(ops["scan_products"]) == (4 * 8 * (6 + 4) * 20, 0, 0, 0, 0)
        assert (ops["scan_products"].m, ops["scan_products"].n, ops["scan_products"].k) == (20, 8, 40)
        assert (ops["scan"].passes, ops["scan"].kind) == (8, OpKind.SCAN)
    assert by_name(layer.context_ops(TOKEN, COUNTED, N))["scan_products"].flops == 4 * 8 * 4 * 2
    around = by_name(layer.dense_ops(HIDDEN, ROWS, COUNTED, N))["gated_norm"]
    assert moved(around) == (0, 0, 0, 8 * 6 * (6 + 13 + 5) * 2, 6)
    assert (layer.live_width, layer.state_bytes(N)) == (40, 32 * 2)


def test_gated_recurrences_and_short_convolutions() -> None:
    layer = GatedRecurrence(8.0, 2.0)
    for runtime, turns in ((JOINED, 1), (COUNTED, 10)):
        (scan,) = layer.context_ops(TEN, runtime, N)
        assert (scan.kind, moved(scan), scan.passes) == (OpKind.SCAN, (0, 0, 0, 8 * 20 * 6 * 4, 3 * turns), 6)
    ops = by_name(layer.dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert (moved(ops["conv"]), ops["conv"].passes) == ((0, 0, 0, 8 * 6 * 4 * 2, 1), 4)
    assert moved(ops["gate"]) == (0, 0, 0, 8 * 6 * 30 * 2, 15)
    assert sizes(layer)["recurrence_gates"] == (4, 4, 4)
    short = ShortConvolution(8.0)
    assert (short.vectors(HIDDEN), short.state_bytes(N), short.live_width) == ([24], 48, 32)
    ops = by_name(short.dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert (moved(ops["conv"]), ops["conv"].passes, moved(ops["gate"])) == ((0, 0, 0, 384, 1), 4, (0, 0, 0, 768, 3))


# --- Residual streams -----------------------------------------------------------------------------


def test_alternating_updates() -> None:
    """Three streams: 3 × 3 coefficients to predict, three to correct, from a router of three, all twice."""
    layer = AlternatingUpdates(3.0)
    assert (layer.linears(HIDDEN), layer.live_width) == ([], 9)
    assert (sum(layer.vectors(HIDDEN)), sum(replace(layer, scaled=False).vectors(HIDDEN))) == (
        300 + 100 + 36 + 100,
        436,
    )
    found = parts(layer.dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert found == {
        "altup_router": (2 * 2 * 6 * 300, 2 * 3 * 300, 0, 2 * 6 * 103 * 2, 2), "altup_predict": (2 * 6 * 27, 81, 0, 6 * 12 * 2, 1),
        "altup_correct": (2 * 6 * 9, 27, 0, 6 * 6 * 2, 1), "altup": (600 * 2 * 9, 0, 0, 600 * (24 + 26) * 2, 20 + 6),
    }  # fmt: skip
    around = StreamProjections(3.0)
    assert (sizes(around), around.live_width) == ({"altup_proj": (100, 100, 4)}, 0)
    assert parts(around.dense_ops(HIDDEN, ROWS, COUNTED, N))["altup_scale"] == (0, 0, 0, 600 * 36 * 2, 48)


def test_hyper_connections() -> None:
    layer = HyperConnections(2.0, 5.0, 3.0)
    assert layer.vectors(HIDDEN) == [2 * (5 * 200 + 5 + 3)]
    # Twice: five numbers from two streams in float32; two streams read and written both ways, and mixed.
    expected = {
        "stream_mixes": (2 * 2 * 6 * 1000, 2 * 4 * 1000, 0, 2 * 6 * 205 * 2, 2),
        "streams": (1200 * 2 * 2 * 2, 0, 0, 1200 * 8 * 2, 100),
    }
    assert parts(layer.dense_ops(HIDDEN, ROWS, COUNTED, N)) == expected
    summed = parts(replace(layer, between=False, count=1.0).dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert summed["streams"] == (0, 0, 0, 1200 * 4 * 2, 50)


def test_embeddings_of_every_layer() -> None:
    layer = PerLayerEmbedding(10.0, 4.0, 3.0)
    assert parts(layer.dense_ops(HIDDEN, ROWS, COUNTED, N))["per_layer_inputs"] == (
        0,
        0,
        0,
        12 * 6 * (2 + 13 + 7) * 2,
        5 + 3,
    )
    assert (layer.vectors(HIDDEN), layer.live_width) == ([120, 4], 24)
