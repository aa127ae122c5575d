"""Experts, what lies around the blocks, and blocks as sums of their layers, under a runtime of known counts.

Weights of three bytes, activations of two and a cache of five; a stream of 100, six tokens.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy_runtime import COUNTED, HIDDEN, JOINED, ROWS, TOKEN, N, by_name, moved, sizes

from latmodel.model.architecture import Architecture, Attention, Block, Experts, FeedForward, Group, Norm
from latmodel.model.formats import FORMATS, Numbers
from latmodel.model.layers.embedding import Embedding
from latmodel.model.layers.experts import touched_experts
from latmodel.model.layers.joined_input import JoinedInput
from latmodel.model.ops import OpKind
from latmodel.model.transformer import context_ops, dense_ops, head_ops, logits_ops, stem_ops

SHARED = FeedForward(30.0, bias=True)
EXPERTS = Experts(8.0, 2.0, 12.0)
TOUCHED = 8 * (1 - (1 - 2 / 8) ** 6)  # of eight, by six tokens that go to two each


def test_matrices_and_vectors_of_experts() -> None:
    assert sizes(EXPERTS) == {"experts_up": (100, 12, 16), "experts_down": (12, 100, 8)}
    assert EXPERTS.vectors(HIDDEN) == [800.0]
    plain = replace(EXPERTS, gated=False, bias=True, router_bias=True)
    assert sizes(plain)["experts_up"] == (100, 12, 8)
    assert sum(plain.vectors(HIDDEN)) == 800 + 8 + 8 * (12 + 100)
    latent = replace(EXPERTS, latent_size=20.0, latent_bias=True, bias=True)
    assert sizes(latent) == {
        "experts_up": (20, 12, 16), "experts_down": (12, 20, 8), "latent_in": (100, 20, 1), "latent_out": (20, 100, 1)
    }  # fmt: skip
    assert sum(latent.vectors(HIDDEN)) == 800 + 8 * (24 + 20) + 120
    assert sum(replace(latent, latent_bias=False).vectors(HIDDEN)) == 800 + 8 * 44
    shared = replace(EXPERTS, shared=SHARED, shared_gate=True)
    assert sizes(shared) == {**sizes(EXPERTS), **sizes(SHARED)}
    assert sum(shared.vectors(HIDDEN)) == 800 + 100 + 60 + 100


@pytest.mark.parametrize("gated", [True, False])
def test_experts_in_one_grouped_product_take_whole_tiles_of_16_rows(gated: bool) -> None:
    for rows in (6.0, 200.0):
        touched, sent, matrices = 8 * (1 - 0.75**rows), rows * 2, 2 if gated else 1
        ops = by_name(replace(EXPERTS, gated=gated).dense_ops(HIDDEN, rows, COUNTED, N))
        assert moved(ops["router"]) == (2 * rows * 800, 3 * 800, 0, rows * 108 * 2, 1)
        assert moved(ops["dispatch"]) == (0, 0, 0, 8 * rows * 8 * 4, 29)  # float32
        assert moved(ops["combine"]) == (0, 0, 0, 100 * sent * 6 * 2, 0)
        wide = 12 * matrices
        up, down = ops["experts_up"], ops["experts_down"]
        assert moved(up) == pytest.approx(
            (2 * sent * wide * 100, touched * wide * 100 * 3, 0, sent * (wide + 100) * 2, 1)
        )
        assert moved(down) == pytest.approx((2 * sent * 1200, touched * 1200 * 3, 0, sent * 112 * 2, 1))
        each = 16 if rows == 6.0 else 64  # two rows an expert, or fifty
        assert (up.kind, up.m, up.n, up.k, up.repeat) == (OpKind.GEMM, pytest.approx(touched * each), wide, 100, 1)
        assert (down.m, down.n, down.k) == (pytest.approx(touched * each), 100, 12)
        launches, moves = (2, 11) if gated else (1, 2)
        assert moved(ops["activation"]) == (0, 0, 0, 12 * sent * moves * 2, launches)
        assert set(ops) == {"router", "dispatch", "combine", "experts_up", "experts_down", "activation"}


def test_experts_in_a_loop_are_a_product_each() -> None:
    loop = COUNTED._replace(expert_kernels=4.0)
    ops = by_name(EXPERTS.dense_ops(HIDDEN, ROWS, loop, N))
    up = ops["experts_up"]
    assert (up.m, up.repeat, up.kernels) == pytest.approx((12 / TOUCHED, TOUCHED, TOUCHED))
    assert moved(up)[:4] == pytest.approx((2 * 12 * 2400, TOUCHED * 2400 * 3, 0, 12 * 124 * 2))
    assert (ops["expert_loop"].kernels, ops["expert_loop"].bytes) == (pytest.approx(4 * TOUCHED), 0.0)
    # A grouped product that loops over all: a third of a launch an expert beside.
    over_all = by_name(EXPERTS.dense_ops(HIDDEN, ROWS, COUNTED._replace(group_kernels=0.3), N))
    assert over_all["experts_up"].kernels == pytest.approx(TOUCHED + 0.3 * 8)
    assert (over_all["experts_up"].m, "expert_loop" in over_all) == (pytest.approx(12 / TOUCHED), False)
    one = by_name(replace(EXPERTS, per_token=1.0).dense_ops(HIDDEN, 1.0, loop, N))
    assert (one["experts_up"].m, one["experts_up"].repeat) == (1.0, pytest.approx(1.0))


def test_a_class_that_sends_every_token_to_every_expert() -> None:
    every, classes = replace(EXPERTS, all_run=True), COUNTED._replace(runs_classes=True, group_kernels=0.3)
    assert [every.runs_all(one) for one in (classes, COUNTED)] == [True, False] and not EXPERTS.runs_all(classes)
    up = by_name(every.dense_ops(HIDDEN, ROWS, classes, N))["experts_up"]
    assert (up.flops, up.weight_bytes, up.m, up.repeat, up.kernels) == (2 * 48 * 2400, 8 * 2400 * 3, 6.0, 8.0, 1.0)
    assert (every.live_width_in(classes), every.live_width_in(COUNTED)) == (8 * 3 * 12, 2 * 3 * 12)
    assert replace(every, gated=False).live_width_in(classes) == 8 * 2 * 12


def test_experts_beside_a_shared_layer_and_behind_a_projection() -> None:
    gated = replace(EXPERTS, shared=SHARED, shared_gate=True)
    ops = by_name([op for op in gated.dense_ops(HIDDEN, ROWS, COUNTED, N) if op.name != "activation"])
    assert moved(ops["shared_gate"]) == (2 * 6 * 100, 3 * 100, 0, 6 * 101 * 2, 1)
    assert moved(ops["shared_sum"]) == (0, 0, 0, 600 * 5 * 2, 3)
    assert {"gate_up_proj", "down_proj"} <= set(ops)
    plain = by_name(
        [op for op in replace(gated, shared_gate=False).dense_ops(HIDDEN, ROWS, COUNTED, N) if op.name != "activation"]
    )
    assert moved(plain["shared_sum"]) == (0, 0, 0, 600 * 3 * 2, 1) and "shared_gate" not in plain
    latent = by_name(replace(EXPERTS, latent_size=20.0).dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert moved(latent["latent_in"])[:2] == moved(latent["latent_out"])[:2] == (2 * 6 * 2000, 3 * 2000)
    assert (latent["experts_up"].k, latent["experts_down"].n, latent["combine"].bytes) == (20, 20, 20 * 12 * 6 * 2)


def test_experts_of_formats_of_their_own() -> None:
    numbers = Numbers(0.5, 2.0, 5.0, FORMATS["nf4"], (("experts_up", FORMATS["int8"]),))
    ops = by_name(EXPERTS.dense_ops(HIDDEN, ROWS, COUNTED, numbers))
    assert ops["experts_up"].weight_bytes == pytest.approx(TOUCHED * 2400)
    assert ops["experts_down"].weight_bytes == pytest.approx(TOUCHED * 1200 * FORMATS["nf4"].bytes_each)
    assert ops["router"].weight_bytes == 2 * 800  # routers keep the dtype


def test_what_experts_hold_and_how_they_shrink() -> None:
    assert (EXPERTS.live_width, replace(EXPERTS, gated=False).live_width) == (3 * 12 * 2, 2 * 12 * 2)
    assert replace(EXPERTS, shared=FeedForward(30.0)).live_width == 90.0
    assert replace(EXPERTS, shared=FeedForward(20.0)).live_width == 72.0
    assert (EXPERTS.has_experts, EXPERTS.dimensions()) == (True, {"intermediate_size": 12.0})
    assert EXPERTS.active() == replace(EXPERTS, count=2.0)
    assert replace(EXPERTS, shared=FeedForward(30.0)).narrower(0.5, 2) == replace(
        EXPERTS, intermediate_size=6.0, shared=FeedForward(16.0)
    )
    assert [EXPERTS.fewer_experts(share).count for share in (0.1, 0.5, 1.0)] == [2.0, 4.0, 8.0]
    assert touched_experts(EXPERTS, 1.0) == 2.0
    assert touched_experts(EXPERTS, np.array([1.0, 6.0])) == pytest.approx([2.0, TOUCHED])


# --- Around the blocks ----------------------------------------------------------------------------

# Parameters of a table of ten words; what lies around: projections from and to 40, ten biases, seven positions.
TABLES: dict[str, tuple[Embedding, float]] = {
    "tied": (Embedding(HIDDEN, 10.0, 1.0, 0.0, None, False), 1000),
    "a head of its own": (Embedding(HIDDEN, 10.0, 0.0, 0.0, None, False), 2000),
    "narrow": (Embedding(HIDDEN, 10.0, 0.0, 0.0, 40.0, False), 2 * 400 + 2 * 4000),
    "with biases": (Embedding(HIDDEN, 10.0, 1.0, 0.0, None, True), 1010),
    "with positions": (Embedding(HIDDEN, 10.0, 1.0, 7.0, None, False), 1700),
    "all": (Embedding(HIDDEN, 10.0, 1.0, 7.0, 40.0, True), 400 + 8000 + 10 + 700),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_embeddings(name: str) -> None:
    table, parameters = TABLES[name]
    assert table.parameters() == parameters
    width = 40 if table.width else 100
    assert table.embedded_width == width
    assert moved(table.lookup_op(ROWS, N)) == (0, 0, 0, width * 6 * 2 * 2, 1)
    assert moved(table.logits_op(3.0, N)) == (2 * 3 * 10 * width, 3 * 10 * width, 0, 3 * (10 + width) * 2, 1)
    extra = by_name(table.extra_ops(ROWS, N))
    assert ("positions" in extra, "project_in" in extra, "project_out" in extra) == (
        table.positions > 0,
        width == 40,
        width == 40,
    )
    if table.positions:
        assert moved(extra["positions"]) == (0, 0, 0, 600 * 5 * 2, 2)
    if width == 40:
        assert moved(extra["project_in"]) == moved(extra["project_out"]) == (2 * 6 * 4000, 3 * 4000, 0, 6 * 140 * 2, 1)
        assert (extra["project_in"].n, extra["project_out"].n) == (100, 40)


def test_columns_of_positions_count() -> None:
    many = Embedding(HIDDEN, 10.0, 1.0, np.array([0.0, 7.0]), None, False)
    assert many.parameters().tolist() == [1000.0, 1700.0]


def model(**changes: Any) -> Architecture:
    block = Block(Attention(8.0, 2.0, 64.0), FeedForward(30.0))
    return replace(Architecture((Group(4.0, block),), HIDDEN, 10.0), **changes)


def test_a_pass_around_the_blocks() -> None:
    stem = (JoinedInput(),)
    whole = model(embedding_norm=Norm("layer", 2.0), stem=stem)
    ops = stem_ops(whole, ROWS, COUNTED, N)
    assert [op.name for op in ops] == ["embedding", "embedding_norm", "joined_input", "joined_proj", "final_norm"]
    named = by_name(ops)
    assert moved(named["embedding_norm"]) == (0, 0, 0, 600 * 2 * 2, 1) and named["embedding_norm"].k == 100
    assert moved(named["final_norm"]) == (0, 0, 0, 600 * 13 * 2, 3) and named["final_norm"].k == 100
    assert [op.name for op in stem_ops(model(final_norm=None), ROWS, COUNTED, N)] == ["embedding"]
    both = head_ops(whole, ROWS, 2.0, COUNTED, N)
    assert both == [ops[0], *logits_ops(whole, 2.0, COUNTED, N), *ops[1:]]
    (logits,) = logits_ops(whole, 2.0, COUNTED, N)
    assert moved(logits) == (2 * 2 * 1000, 3000, 0, 2 * 110 * 2, 1)


def test_logits_that_are_copied_to_float32() -> None:
    """Read in two bytes, written in four: three values of the dtype."""
    wide = COUNTED._replace(attentions=(COUNTED.attention._replace(float32_logits=True),))
    _, copy = logits_ops(model(), 2.0, wide, N)
    assert (copy.name, moved(copy)) == ("logits_float32", (0, 0, 0, 10 * 2 * 3 * 2, 1))
    shipped = Numbers(0.5, 2.0, 5.0, FORMATS["nf4"]._replace(shipped=True))
    assert [op.name for op in logits_ops(model(head_format=FORMATS["nf4"]), 2.0, wide, shipped)] == [
        "lm_head",
        "unpack_head",
        "logits_float32",
    ]


def test_a_head_that_is_shipped_quantised_is_read_in_its_format() -> None:
    shipped = Numbers(0.5, 2.0, 5.0, FORMATS["nf4"]._replace(shipped=True))
    head, beside = logits_ops(model(head_format=FORMATS["mxfp4"]), 2.0, COUNTED, shipped)
    assert (head.weight_bytes, beside.name) == (1000 * (0.5 + 1 / 32), "unpack_head")
    assert beside.bytes == pytest.approx(1000 * 2.5 * 2)
    for numbers in (N, Numbers(0.5, 2.0, 5.0, FORMATS["nf4"])):  # nothing quantised, or another format than it came in
        (plain,) = logits_ops(model(head_format=FORMATS["int8"]), 2.0, COUNTED, numbers)
        assert plain.weight_bytes == 1000 * numbers.head_bytes
    (unquantised,) = logits_ops(model(), 2.0, COUNTED, shipped)
    assert unquantised.weight_bytes == 2000


# --- Blocks ---------------------------------------------------------------------------------------


def test_a_block_is_its_layers_with_norms_and_sums() -> None:
    block = model().groups[0].block
    mixer, ffn = block.layers
    ops = dense_ops(block, HIDDEN, ROWS, COUNTED, N)
    assert ops[1:-1] == [*mixer.dense_ops(HIDDEN, ROWS, COUNTED, N), *ffn.dense_ops(HIDDEN, ROWS, COUNTED, N)]
    assert (ops[0].name, moved(ops[0]), ops[0].k) == ("norm", (0, 0, 0, 600 * 26 * 2, 6), 200)
    assert (ops[-1].name, moved(ops[-1])) == ("residual", (0, 0, 0, 600 * 6 * 2, 14))
    scaled = dense_ops(replace(block, residual_scale=True, norms=4), HIDDEN, ROWS, COUNTED, N)
    assert moved(scaled[-1]) == (0, 0, 0, 600 * 10 * 2, 16) and moved(scaled[0]) == (0, 0, 0, 600 * 52 * 2, 12)
    half = dense_ops(Block(None, ffn, norms=1), HIDDEN, ROWS, COUNTED, N)
    assert moved(half[-1]) == (0, 0, 0, 600 * 3 * 2, 7)
    assert context_ops(block, TOKEN, COUNTED, N) == mixer.context_ops(TOKEN, COUNTED, N)


def test_quantised_products_of_a_block_are_unpacked_by_layer_and_by_format() -> None:
    block, nf4, int8 = model().groups[0].block, FORMATS["nf4"], FORMATS["int8"]
    mixer_weights, ffn_weights = 100 * 512 * 2 + 2 * 100 * 128, 3 * 100 * 30
    ops = by_name(dense_ops(block, HIDDEN, ROWS, COUNTED, Numbers(nf4.bytes_each, 2.0, 5.0, nf4)))
    assert ops["unpack_mixer"].bytes == pytest.approx(mixer_weights * 5)
    assert ops["unpack_ffn"].bytes == pytest.approx(ffn_weights * 5)
    joined = by_name(dense_ops(block, HIDDEN, ROWS, JOINED, Numbers(nf4.bytes_each, 2.0, 5.0, nf4)))
    assert joined["unpack_mixer"].bytes == pytest.approx(mixer_weights * 5)
    # As shipped: one product in 8 bits, one left alone, the others in 4.
    shipped = Numbers(nf4.bytes_each, 2.0, 5.0, nf4._replace(shipped=True))
    mixed = replace(block, formats=(("q_proj", int8), ("o_proj", None)))
    found = dense_ops(mixed, HIDDEN, ROWS, COUNTED, shipped)
    unpacked = sorted(op.bytes for op in found if op.name == "unpack_mixer")
    assert unpacked == pytest.approx([2 * 100 * 128 * 5, 100 * 512 * 5])
    named = {op.name: op for op in found}
    assert (named["q_proj"].weight_bytes, named["o_proj"].weight_bytes) == (51200, 51200 * 2)
    # In a format that is asked for, nothing is as shipped.
    assert dense_ops(mixed, HIDDEN, ROWS, COUNTED, Numbers(nf4.bytes_each, 2.0, 5.0, nf4)) == dense_ops(
        block, HIDDEN, ROWS, COUNTED, Numbers(nf4.bytes_each, 2.0, 5.0, nf4)
    )
    assert context_ops(mixed, TOKEN, COUNTED, shipped) == context_ops(block, TOKEN, COUNTED, shipped)
