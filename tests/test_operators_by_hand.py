"""Single operators, bounds and live values by hand: what tests of whole models see only in sums."""

import pytest
from toy import TWO_BYTES

from latmodel.model.architecture import Attention, FeedForward
from latmodel.model.config import ModelConfig, Workload
from latmodel.model.layers.indexed_attention import Indexer, scores_op
from latmodel.model.layers.kv_cache import append_op
from latmodel.model.layers.latent_attention import LatentAttention
from latmodel.model.layers.shared_attention import SharedAttention
from latmodel.model.ops import OpCost, OpKind, gemm
from latmodel.model.step import Step
from latmodel.predict.bounds import binding
from latmodel.predict.breakdown import breakdown
from latmodel.predict.forward import Load
from latmodel.predict.predictor import Predictor
from latmodel.runtimes.serving import SERVING
from latmodel.runtimes.transformers_eager import TRANSFORMERS


def test_repeated_products_are_so_many_times_one() -> None:
    one = gemm("x", 3.0, 5.0, 7.0, weight_bytes=0.5, activation_bytes=2.0)
    assert (one.flops, one.weight_bytes, one.activation_bytes, one.kernels) == (210.0, 17.5, 72.0, 1.0)
    four = gemm("x", 3.0, 5.0, 7.0, weight_bytes=0.5, activation_bytes=2.0, repeat=4.0)
    assert (four.flops, four.weight_bytes, four.activation_bytes, four.kernels) == (840.0, 70.0, 288.0, 4.0)


@pytest.mark.parametrize(
    ("host_s", "block_compute_s", "head_compute_s", "expected"),
    [
        (0.5, 0.5, 0.25, (True, True)),  # 0.75 of 1.5 s are arithmetic: half
        (0.5, 0.5, 0.0, (True, False)),
        (1.0, 0.9, 0.4, (False, False)),  # the host takes as long as the blocks
        (0.99, 0.9, 0.4, (True, True)),
    ],
)
def test_what_binds_a_pass(
    host_s: float, block_compute_s: float, head_compute_s: float, expected: tuple[bool, bool]
) -> None:
    blocks, head = Load(10.0, 1.0, block_compute_s), Load(1.0, 0.5, head_compute_s)
    assert binding(host_s, blocks, head) == expected


def test_a_growing_cache_copies_what_it_holds() -> None:
    layer = Attention(8.0, 2.0, 64.0)  # 256 keys and values a position
    step = Step(1.0, 99.0, 3.0)
    grown = append_op(layer, step, TRANSFORMERS, TWO_BYTES)
    # Read and written, three sequences, two bytes: one new position, and 99 kept where the cache is copied.
    assert grown.bytes == 256 * 2 * 3 * (1 + 99 * TRANSFORMERS.cache_copies) * 2
    assert (grown.flops, grown.weight_bytes, grown.cache_bytes) == (0.0, 0.0, 0.0)


def test_live_values_and_biases_of_attention_kinds() -> None:
    assert SharedAttention(Attention(8.0, 2.0, 64.0)).live_width == 2 * 512
    # Latents of 6 and a rotary part of 2; queries of their own width, or through 5 values.
    plain = LatentAttention(2.0, None, 6.0, 4.0, 2.0, 4.0, bias=True)
    assert plain.vectors(16.0) == [6.0, 8.0, 16.0]
    through = LatentAttention(2.0, 5.0, 6.0, 4.0, 2.0, 4.0, bias=True)
    assert through.vectors(16.0) == [6.0, 5.0, 8.0 + 5.0, 16.0]


def test_scores_of_an_indexer() -> None:
    """Three heads of 4: 2 · 12 FLOPs a pair, 4 values of each position read, 4 bytes a score written in a kernel."""
    indexer, step = Indexer(3.0, 4.0, 8.0), Step(2.0, 8.0, 5.0)
    fused = scores_op(indexer, 100.0, 10.0, step, SERVING, TWO_BYTES)
    assert (fused.flops, fused.cache_bytes, fused.activation_bytes, fused.kernels) == (2400.0, 400.0, 400.0, 2.0)
    tensors = scores_op(indexer, 100.0, 10.0, step, TRANSFORMERS, TWO_BYTES)
    assert (tensors.flops, tensors.cache_bytes, tensors.activation_bytes) == (2400.0, 400.0, 3 * 100 * 16.0)


def test_a_breakdown_says_what_binds_each_operator() -> None:
    predictor, work = Predictor.load("3090"), Workload(prompt_tokens=2048, new_tokens=8)
    sheet = predictor.profile.sheet("bfloat16")
    rows = breakdown(predictor, ModelConfig(num_hidden_layers=4, hidden_size=4096), work)
    for row in rows:
        assert (row["bound"] == "host") == (row["host_s"] >= row["device_s"])
        assert row["mfu"] * row["device_s"] * sheet.peak_flops_per_s == pytest.approx(row["flops"])
        assert row["mbu"] * row["device_s"] * sheet.bandwidth_bytes_per_s == pytest.approx(row["bytes"])
    of = {(row["phase"], row["operator"]): row["bound"] for row in rows}
    assert of["prefill", "down_proj"] == "compute" and of["decode", "down_proj"] == "memory"
    assert of["decode", "rope"] == "host"


def test_bytes_are_all_that_is_moved() -> None:
    assert OpCost("x", OpKind.SCAN, 9.0, weight_bytes=1.0, cache_bytes=2.0, activation_bytes=4.0).bytes == 7.0


def test_gate_and_up_in_one_product_are_launched_once() -> None:
    for layer, fused in ((FeedForward(4.0, fused=True), False), (FeedForward(4.0), True)):
        up, down = layer.linears(8.0, fused=fused)
        assert (up.inputs, up.outputs, up.count) == (8.0, 8.0, 1.0)
        assert (down.inputs, down.outputs, down.count) == (4.0, 8.0, 1.0)
    up, _ = FeedForward(4.0).linears(8.0)
    assert (up.outputs, up.count) == (4.0, 2.0)
