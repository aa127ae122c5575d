"""Whole models by hand: parameters, bytes of weights in every kind of format, and each thing that can be the peak.

A stream of 100 and ten words; blocks of 8 query heads on 2 of keys and values, 64 wide, and 30 inner values. Weights of
three bytes, activations of two, a cache of five.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy_runtime import COUNTED, JOINED, N

from latmodel.model.architecture import (
    Architecture,
    Attention,
    Block,
    FeedForward,
    Group,
    Norm,
    uniform,
)
from latmodel.model.formats import ENGINE_FORMATS, FORMATS, Numbers, WeightFormat
from latmodel.model.gguf import GGUF_FORMATS, GGUF_PARTS
from latmodel.model.implementation import Implementation
from latmodel.model.layers.experts import Experts
from latmodel.model.layers.joined_input import JoinedInput
from latmodel.model.layers.mamba2 import Mamba2
from latmodel.model.memory import Memory, cache_bytes, peak_memory
from latmodel.model.ops import OpCost, OpKind, gemm, pointwise
from latmodel.model.totals import (
    Workspace,
    block_parameters,
    embedding_parameters,
    largest_linear,
    num_parameters,
    weight_bytes,
    workspace,
)

MIXER, FFN = Attention(8.0, 2.0, 64.0), FeedForward(30.0)
BLOCK = Block(MIXER, FFN)
MATRICES = 100 * 512 + 2 * 100 * 128 + 512 * 100 + 3 * 100 * 30  # of a block; two norms of 100 beside
WRITES = COUNTED.with_attention("writes")


def model(block: Block = BLOCK, **changes: Any) -> Architecture:
    return replace(Architecture((Group(4.0, block),), 100.0, 10.0), **changes)


# --- Parameters -----------------------------------------------------------------------------------


def test_parameters_of_blocks_and_of_what_lies_around() -> None:
    assert block_parameters(BLOCK, 100.0) == MATRICES + 200
    assert block_parameters(replace(BLOCK, norms=4, scalars=7.0), 100.0) == MATRICES + 400 + 7
    assert block_parameters(replace(BLOCK, scalars=np.array([0.0, 7.0])), 100.0).tolist() == [
        MATRICES + 200,
        MATRICES + 207,
    ]
    assert block_parameters(Block(None, FFN, 1, Norm("layer", 2.0)), 100.0) == 9000 + 200
    assert num_parameters(model()) == 4 * (MATRICES + 200) + 2000 + 100 == model().num_parameters
    assert num_parameters(model(tie_word_embeddings=1.0, final_norm=None)) == 4 * (MATRICES + 200) + 1000
    shared = model(groups=(Group(4.0, BLOCK, 1.0), Group(2.0, BLOCK)))  # four blocks share one's weights
    assert num_parameters(shared) == 3 * (MATRICES + 200) + 2100
    around = model(embedding_norm=Norm("layer", 2.0), stem=(JoinedInput(),))
    assert embedding_parameters(around) == 2000 + 200 + (200 * 100 + 200)
    assert embedding_parameters(model(positions=7.0, embedding_size=40.0, head_bias=True)) == 800 + 8000 + 10 + 700


def test_what_a_model_says_of_its_blocks() -> None:
    windowed = replace(BLOCK, attention=replace(MIXER, window=20.0), aligned=True)
    assert (BLOCK.fills_at, windowed.fills_at, BLOCK.layers, Block(None, FFN).layers) == (
        None,
        20.0,
        (MIXER, FFN),
        (FFN,),
    )
    assert BLOCK.dimensions() == {
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "intermediate_size": 30,
    }
    part = replace(BLOCK, continues=True)
    assert model(groups=(Group(4.0, part),)).num_hidden_layers == 4.0
    assert model(groups=(Group(4.0, part), Group(2.0, BLOCK), Group(3.0, windowed))).num_hidden_layers == 5.0
    assert [
        model(groups=groups).aligned
        for groups in ((Group(1.0, windowed),), (Group(1.0, windowed), Group(1.0, BLOCK)), ())
    ] == [True, False, False]
    special = Block(Mamba2(4.0, 3.0, 2.0, 5.0), Experts(8.0, 2.0, 12.0))
    assert model(groups=(Group(1.0, BLOCK), Group(1.0, special))).special_layers == {"Mamba2", "Experts"}
    wide = Block(Attention(8.0, 2.0, 96.0), FeedForward(20.0))
    assert model(groups=(Group(1.0, BLOCK), Group(1.0, wide))).extents == {
        "head_dim": (64.0, 96.0),
        "intermediate_size": (20.0, 30.0),
    }
    assert model().extents == {"head_dim": (64.0, 64.0), "intermediate_size": (30.0, 30.0)}
    given = uniform(
        num_hidden_layers=4.0, hidden_size=100.0, intermediate_size=30.0, num_attention_heads=8.0, num_key_value_heads=2.0,
        head_dim=64.0, vocab_size=10.0,
    )  # fmt: skip
    assert given == model()


def test_which_format_the_logits_are_shipped_in() -> None:
    head, table = FORMATS["int8"], FORMATS["nf4"]
    both = model(head_format=head, embedding_format=table)
    assert (model().shipped_head, both.shipped_head, replace(both, tie_word_embeddings=1.0).shipped_head) == (
        None,
        head,
        table,
    )
    assert model(embedding_format=table, tie_word_embeddings=1.0).shipped_head == table
    assert model(embedding_format=table).shipped_head is None and model(head_format=head).shipped_head == head
    assert replace(both, tie_word_embeddings=np.array([1.0])).shipped_head == head


# --- Bytes of weights -----------------------------------------------------------------------------

FORM = WeightFormat("f", 8.0, None, None, 5.0)  # a byte a weight and five a matrix
NUMBERS = Numbers(1.0, 2.0, 5.0, FORM)
MATRICES_OF_ALL, COUNT = 4 * MATRICES, 4 * 7  # seven matrices a block: queries, keys, values, output, gate, up, down


def test_weights_in_the_dtype_and_products_in_a_format() -> None:
    parameters = 4 * (MATRICES + 200) + 2100
    assert weight_bytes(model(), N) == 3 * parameters
    assert weight_bytes(model(), N, 7.0) == 21.0
    assert weight_bytes(model(), NUMBERS) == 2 * (parameters - MATRICES_OF_ALL) + MATRICES_OF_ALL + 5 * COUNT
    shared = model(groups=(Group(4.0, BLOCK, 1.0),))
    assert weight_bytes(shared, NUMBERS) == 2 * (200 + 2100) + MATRICES + 5 * 7


def test_weights_as_they_are_shipped() -> None:
    """Blocks say which product is in another format or in none; the table and the head may be quantised too."""
    shipped, other = NUMBERS._replace(format=FORM._replace(shipped=True)), WeightFormat("o", 4.0, None, None, 0.0)
    mixed = replace(BLOCK, formats=(("q_proj", other), ("o_proj", None)))
    products = 51200 / 2 + 51200 * 2 + (MATRICES - 2 * 51200) + 5 * 5
    assert weight_bytes(model(mixed), shipped) == 4 * (products + 400) + 2 * 2100
    assert weight_bytes(model(mixed), NUMBERS) == weight_bytes(model(), NUMBERS)  # not as shipped: all in one
    tables = {(None, None): 4000, (other, None): 500 + 2000, (None, other): 2000 + 500, (other, FORM): 500 + 1005}
    for (table, head), expected in tables.items():
        whole = model(embedding_format=table, head_format=head)
        plain = 4 * (MATRICES + 35 + 400) + 200
        assert weight_bytes(whole, shipped) == plain + expected
        tied = replace(whole, tie_word_embeddings=1.0)
        assert weight_bytes(tied, shipped) == plain + (2000 if table is None else 500)
        assert weight_bytes(whole, NUMBERS) == plain + 4000
    # Norms in float32: two bytes more for each of them.
    wide = NUMBERS._replace(format=FORM._replace(shipped=True, vector_bytes=4.0))
    assert weight_bytes(model(), wide) == weight_bytes(model(), shipped) + 2 * (4 * 200 + 100)
    assert (
        weight_bytes(model(tie_word_embeddings=1.0), wide)
        == weight_bytes(model(tie_word_embeddings=1.0), shipped) + 2 * 900
    )


def test_weights_in_files_of_llama_cpp_and_onnx_runtime() -> None:
    whole = GGUF_FORMATS["q4_0"]  # 18 bytes for 32 weights; the head in q6_k, 210 for 256; vectors in float32
    # 32 divides the 512 inputs of the output projections alone: llama.cpp keeps the other matrices in 16 bits.
    outputs = 4 * 512 * 100
    stored = outputs * 18 / 32 + (MATRICES_OF_ALL - outputs) * 2 + 4 * (4 * 200 + 100) + 1000 * 4
    assert weight_bytes(model(), Numbers(18 / 32, 2.0, 2.0, whole, GGUF_PARTS["q4_0"])) == pytest.approx(stored)
    q4 = whole._replace(misfits=(), head_misfits=())
    numbers = Numbers(18 / 32, 2.0, 2.0, q4)
    blocks = MATRICES_OF_ALL * 18 / 32 + 4 * (4 * 200 + 100)
    assert weight_bytes(model(), numbers) == pytest.approx(blocks + 1000 * (210 / 256 + 18 / 32))
    assert weight_bytes(model(tie_word_embeddings=1.0), numbers) == pytest.approx(blocks + 1000 * 210 / 256)
    more = numbers._replace(parts=(("down_proj", q4._replace(bits=8.0)),))
    assert weight_bytes(model(), more) - weight_bytes(model(), numbers) == pytest.approx(4 * 3000 * (1 - 18 / 32))
    # ONNX Runtime keeps a table of float32 beside the head, tied or not.
    int4 = Numbers(0.625, 2.0, 2.0, ENGINE_FORMATS["int4"])
    for tied in (0.0, 1.0):
        expected = MATRICES_OF_ALL * 0.625 + 1000 * (5 / 8 + 4)
        vectors = 4 * 200 + 100
        assert weight_bytes(model(tie_word_embeddings=tied), int4) == pytest.approx(expected + 4 * vectors)
    plain = Numbers(4.0, 2.0, 2.0, ENGINE_FORMATS["float32"])
    assert weight_bytes(model(), plain) == 4 * MATRICES_OF_ALL + 4 * 2000 + 2 * 900


# --- Memory at the peak ---------------------------------------------------------------------------


def peak(whole: Architecture, runtime: Implementation = JOINED, numbers: Numbers = N, **changes: Any) -> Memory:
    asked = {"batch": 2.0, "prompt": 3.0, "new": 5.0, "logits_all": False, **changes}
    return peak_memory(whole, numbers=numbers, implementation=runtime, **asked)


RESIDUAL = 2 * 100 * 6 * 2  # twice, of two sequences of three tokens
LIVE = 2 * (512 + 128) * 6 * 2  # queries, keys, values and output


def test_what_is_held_beside_the_transient() -> None:
    found = peak(model(), overhead_bytes=7.0)
    assert found == Memory(3 * num_parameters(model()), 4 * 256 * 8 * 5 * 2, RESIDUAL + LIVE, 7.0)
    assert found.peak_bytes == sum(found)
    assert peak(model(), parameters=10.0).weight_bytes == 30.0
    assert peak(model(), cache_copies=3.0, retained=4.0).cache_bytes == 3 * found.cache_bytes + found.cache_bytes / 2
    for cached in (8.0, np.array([8.0])):
        assert peak(model(), cached=cached).cache_bytes == 2 * found.cache_bytes
    assert peak(model(), retained=np.array([8.0])).cache_bytes == 2 * found.cache_bytes
    mixed = model(groups=(Group(1.0, BLOCK), Group(2.0, Block(replace(MIXER, window=3.0), None))))
    assert cache_bytes(mixed, 8.0, JOINED, N) == 256 * 5 * (8 + 2 * 3)


def transient(whole: Architecture, runtime: Implementation = JOINED, numbers: Numbers = N, **changes: Any) -> float:
    return float(peak(whole, runtime, numbers, **changes).transient_bytes) - RESIDUAL


def test_each_transient_can_be_the_largest() -> None:
    wide = model(vocab_size=1e5)
    assert transient(model()) == LIVE
    assert transient(model(Block(MIXER, FeedForward(1000.0)))) == 3 * 1000 * 6 * 2
    # Logits of the last token, or of all; where they are copied to float32, of all.
    assert transient(wide) == 1e5 * 2 * 2 and transient(wide, logits_all=True) == 1e5 * 6 * 2
    copied = JOINED._replace(attentions=(JOINED.attention._replace(float32_logits=True),))
    assert transient(wide, copied) == 1e5 * 6 * (2 + 4)
    # A cache that grows, block by block: all positions once; with a window all but one of it.
    assert transient(model(), COUNTED, new=997.0) == 256 * 1000 * 2 * 5
    assert transient(model(), COUNTED, new=497.0, cached=500.0) == 256 * 1000 * 2 * 5
    assert (
        transient(model(replace(BLOCK, attention=replace(MIXER, window=101.0))), COUNTED, new=997.0)
        == 256 * 100 * 2 * 5
    )
    assert transient(model(), COUNTED._replace(cache_copies=2.0), new=997.0) == 2 * 256 * 1000 * 2 * 5
    # What attention writes out.
    written = 2 * 2 * 512 * 100 * 5 + 8 * 2 * 3 * 3 * 6
    assert transient(model(), WRITES._replace(cache_copies=0.0), new=97.0) == written
    # The largest matrix, unpacked: 100 × 512; the head.
    unpacked = Numbers(0.5, 2.0, 5.0, FORMATS["nf4"])
    assert transient(model(), JOINED, unpacked) == 100 * 512 * 2
    headed = replace(wide, head_format=FORMATS["nf4"])
    assert transient(headed, JOINED, unpacked) == 1e5 * 100 * 2
    assert transient(replace(headed, embedding_size=40.0), JOINED, unpacked) == 1e5 * 40 * 2
    fused = JOINED._replace(kernels=(), other_kernel=JOINED.kernel(FORMATS["int4-gptq"])._replace(beyond=None))
    assert transient(model(), fused, unpacked) == LIVE


def test_recurrent_layers_copy_no_cache() -> None:
    state = Mamba2(4.0, 3.0, 2.0, 5.0)
    found = peak(model(Block(state, FFN)), COUNTED, new=1e6)
    assert found.cache_bytes == 4 * 2 * (32 * 4 * 2 + 60 * 4)
    assert found.transient_bytes == RESIDUAL + max(2 * 32 + 2 * 12, 90) * 6 * 2


MICRO = JOINED._replace(micro_batch=16.0)


def test_a_runtime_of_micro_batches_holds_buffers_for_the_largest() -> None:
    """16 rows of float32: four streams and the mixer's values, or five and the FFN's; a mask of 16 bits a position."""
    assert peak(model(), MICRO).transient_bytes == 16 * 4 * (4 * 100 + 2 * 640) + 16 * 8 * 2
    wide = model(Block(MIXER, FeedForward(1000.0)))
    assert peak(wide, MICRO, cached=10.0).transient_bytes == 16 * 4 * (5 * 100 + 3 * 1000) + 16 * 18 * 2
    # Scores that are written out: of every head and position, and the mask, in 32 bits.
    scores = WRITES._replace(micro_batch=16.0)
    assert peak(model(), scores, new=1000.0).transient_bytes == 16 * 4 * (400 + 1280 + 8 * 1003) + 16 * 1003 * 4
    assert peak(model(Block(None, FFN)), scores).transient_bytes == 16 * 4 * (500 + 90) + 16 * 8 * 4
    state = Block(Mamba2(4.0, 3.0, 2.0, 5.0), None)  # no heads that scores are of
    assert peak(model(state), scores, new=1000.0).transient_bytes == 16 * 4 * (400 + 2 * 32 + 2 * 12) + 16 * 1003 * 4
    found = peak(model(), MICRO, overhead_bytes=3.0)
    assert (found.weight_bytes, found.overhead_bytes) == (3 * num_parameters(model()), 3.0)


def test_workspaces_of_kernels() -> None:
    """An output of 65536 bytes for each of the widest layer's, and the largest matrix unpacked."""
    gptq = Numbers(0.5, 2.0, 5.0, FORMATS["int4-gptq"])
    assert largest_linear(BLOCK, 100.0) == 51200
    narrow = Block(None, FeedForward(1000.0))
    two = model(groups=(Group(1.0, narrow), Group(1.0, BLOCK)))
    assert workspace(two, gptq) == Workspace(1000 * 65536.0, 100_000 * 2.0)
    assert workspace(model(), gptq) == Workspace(512 * 65536.0, 51200 * 2.0)
    assert workspace(model(), N) == workspace(model(), Numbers(0.5, 2.0, 5.0, FORMATS["nf4"])) == Workspace()
    assert (Workspace().total_bytes, Workspace(3.0, 4.0).total_bytes) == (0.0, 7.0)
    assert Workspace(3.0, 4.0).joined(Workspace(2.0, 5.0)) == Workspace(3.0, 5.0)
    held = peak(model(), JOINED, gptq, overhead_bytes=1.0).overhead_bytes
    assert held == 1 + 512 * 65536 + 51200 * 2
    assert peak(model(), JOINED._replace(kernels=()), gptq).overhead_bytes == 0.0
    assert peak(model(), JOINED).overhead_bytes == 0.0


# --- Operators ------------------------------------------------------------------------------------


def test_operators_are_built_with_what_is_not_said_left_out() -> None:
    bare = OpCost("x", OpKind.SCAN)
    assert (bare.flops, bare.weight_bytes, bare.cache_bytes, bare.activation_bytes, bare.kernels) == (
        0.0,
        0.0,
        0.0,
        0.0,
        1.0,
    )
    assert (bare.m, bare.n, bare.k, bare.repeat, bare.passes, bare.row_step) == (0.0, 0.0, 0.0, 1.0, 1.0, 16.0)
    product = gemm("g", 3.0, 5.0, 7.0, 0.5, 2.0, 4.0)
    assert product == OpCost("g", OpKind.GEMM, 4 * 2 * 105.0, 4 * 17.5, 0.0, 4 * 3 * 12 * 2.0, 4.0, 3.0, 5.0, 7.0, 4.0)
    assert gemm("g", 3.0, 5.0, 7.0, 0.5, 2.0) == OpCost("g", OpKind.GEMM, 210.0, 17.5, 0.0, 72.0, 1.0, 3.0, 5.0, 7.0)
    chain = pointwise("p", 10.0, moves=3.0, kernels=4.0, bytes_each=2.0)
    assert chain == OpCost("p", OpKind.POINTWISE, activation_bytes=60.0, kernels=4.0, passes=3.0)
    rows = pointwise("p", 10.0, moves=3.0, kernels=4.0, bytes_each=2.0, summed=5.0)
    assert rows == chain._replace(k=5.0)
    assert replace(product, weight_bytes=1.0, cache_bytes=2.0, activation_bytes=4.0).bytes == 7.0
    with pytest.raises(TypeError, match="colour"):
        chain._replace(colour=1.0)
