"""Small layers summed by hand: parameters, FLOPs, bytes and launches of six tokens (two sequences of three), state.

Transformers' tensor operators around the products (a norm: 8 kernels, 19 moves; a gated activation: 2 and 5), a serving
engine's fused kernels for recurrences; two bytes a number, four in a recurrent state. A product of k × n moves its
weights once and k + n numbers a token.
"""

from typing import NamedTuple

import pytest

from latmodel.model.architecture import FeedForward
from latmodel.model.formats import Numbers
from latmodel.model.layers.alternating_updates import LowRankResidual, StreamProjections
from latmodel.model.layers.gated_delta import GatedDelta
from latmodel.model.layers.gated_recurrence import GatedRecurrence
from latmodel.model.layers.hyper_connections import HyperConnections
from latmodel.model.layers.joined_input import JoinedInput
from latmodel.model.layers.kimi_delta import KimiDelta
from latmodel.model.layers.layer import Layer
from latmodel.model.layers.lightning_attention import LightningAttention
from latmodel.model.layers.mamba import Mamba
from latmodel.model.layers.per_layer_input import PerLayerEmbedding, PerLayerInput
from latmodel.model.layers.short_convolution import ShortConvolution
from latmodel.model.step import Step
from latmodel.runtimes.serving import SERVING
from latmodel.runtimes.transformers_eager import TRANSFORMERS

HIDDEN, ROWS, NUMBERS = 8.0, 6.0, Numbers(2.0, 2.0, 2.0)


class Sums(NamedTuple):
    """What a layer's operators that do not see the context come to; state and live values of a token."""

    parameters: float
    flops: float
    nbytes: float
    kernels: float
    live: float
    state: float = 0.0


def weights_and_traffic(weights: float, widths: float) -> float:
    """Bytes of products with so many weights, whose inputs and outputs are so wide together."""
    return 2.0 * weights + 2.0 * widths * ROWS


# Of products: weights; of what lies between: values × moves × 2 bytes × 6 tokens.
BY_HAND: dict[str, tuple[Layer, Sums]] = {
    # 8 × 12 and 4 × 8; three taps of four channels. Gates: 8 moves, 3 kernels; the convolution: 4 moves, one.
    "short convolution": (
        ShortConvolution(4.0, 3.0),
        Sums(128 + 12, 2 * 6 * 128, weights_and_traffic(128, 20 + 12) + 12 * 4 * (8 + 4), 2 + 3 + 1, 16, 4 * 3 * 2),
    ),
    "its biases": (
        ShortConvolution(4.0, 3.0, True),
        Sums(128 + 12 + 16 + 8, 2 * 6 * 128, weights_and_traffic(128, 32) + 12 * 4 * 12, 6, 16, 24),
    ),
    # Two of 8 × 8, two gates of two heads of 4 × 4, 8 × 8. Biases 24 and 16; four taps, a bias and a decay a channel.
    "rg-lru": (
        GatedRecurrence(8.0, 2.0),
        Sums(256 + 24 + 16 + 48, 2 * 6 * 256, weights_and_traffic(256, 32 + 32 + 16) + 12 * 8 * (30 + 4),
             2 + 4 + 1 + 15 + 1, 40, 8 * 4 + 8 * 3 * 2),
    ),
    # Twice: five numbers from two streams of 8 (float32), a bias each and three scales. Both mix 2 × 2 streams.
    "hyper-connections": (
        HyperConnections(2.0, 5.0, 3.0),
        Sums(2 * (5 * 16 + 5 + 3), 2 * (2 * 6 * 80) + 2 * (2 * 6 * 2 * 16), 2 * 4 * 80 + 2 * 12 * 21 + 12 * 16 * 8,
             2 + 100, 5),
    ),
    # Two norms of 8, and each is written beside the other; one product of 16 × 8.
    "joined input": (
        JoinedInput(), Sums(128 + 16, 2 * 6 * 128, weights_and_traffic(128, 24) + 12 * 8 * 42, 1 + 17, 0)
    ),
    # To and from two further streams; 12 moves and 16 kernels for each of three streams.
    "stream projections": (
        StreamProjections(3.0), Sums(256, 2 * 6 * 256, weights_and_traffic(256, 64) + 12 * 8 * 36, 4 + 48, 0)
    ),
    "low rank": (LowRankResidual(2.0), Sums(32, 2 * 6 * 32, weights_and_traffic(32, 20), 2, 2)),
    "per-layer input": (
        PerLayerInput(4.0), Sums(64, 2 * 6 * 64, weights_and_traffic(64, 24) + 12 * 4 * 5, 2 + 2, 12)
    ),
    # Three blocks of 4 values of each of ten words, a norm of 4.
    "per-layer embedding": (
        PerLayerEmbedding(10.0, 4.0, 3.0),
        Sums(96 + 120 + 4, 2 * 6 * 96, weights_and_traffic(96, 20) + 12 * 12 * (2 + 19 + 7), 1 + 5 + 8, 24),
    ),
    # 8 × 24, 8 × 8, 8 × 8, a norm of 8. SiLU, norm, gate.
    "lightning": (
        LightningAttention(2.0, 4.0),
        Sums(320 + 8, 2 * 6 * 320, weights_and_traffic(320, 64) + 12 * 8 * (6 + 19 + 5), 3 + 3 + 8, 40, 8 * 4 * 2),
    ),
    # 8 × 32, 8 × 8, 12 × 8; four taps of 20 channels. State: 20 channels' four inputs, 4 heads of 2 × 3.
    "gated delta": (
        GatedDelta(2.0, 4.0, 2.0, 3.0),
        Sums(416 + 80 + 8 + 3, 2 * 6 * 416, weights_and_traffic(416, 40 + 16 + 20) + 12 * (20 * 4 + 12 * 22), 4,
             40 + 24, 20 * 4 * 2 + 24 * 4),
    ),
    "kimi delta": (
        KimiDelta(2.0, 4.0, None, None),
        Sums(400 + 96 + 8 + 2 + 4, 2 * 6 * 400, weights_and_traffic(400, 48 + 10 + 16 * 3) + 12 * (24 * 4 + 8 * 22),
             3 + 1 + 3 + 1, 48 + 16, 24 * 4 * 2 + 32 * 4),
    ),
    "mamba": (
        Mamba(8.0, 2.0, 3.0),
        Sums(272 + 40 + 32, 2 * 6 * 272, weights_and_traffic(272, 24 + 15 + 11 + 16) + 12 * 8 * 4, 4 + 1, 32,
             8 * 4 * 2 + 16 * 4),
    ),
    "gated feed-forward": (
        FeedForward(4.0, bias=True), Sums(96 + 8 + 8, 2 * 6 * 96, weights_and_traffic(96, 36) + 12 * 4 * 5, 3 + 2, 12)
    ),
    "plain feed-forward": (
        FeedForward(4.0, gated=False, bias=True),
        Sums(64 + 4 + 8, 2 * 6 * 64, weights_and_traffic(64, 24) + 12 * 4 * 2, 2 + 1, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_what_does_not_see_the_context(name: str) -> None:
    layer, expected = BY_HAND[name]
    ops = layer.dense_ops(HIDDEN, ROWS, TRANSFORMERS, NUMBERS)
    weights = sum(one.inputs * one.outputs * one.count for one in layer.linears(HIDDEN)) + sum(layer.vectors(HIDDEN))
    if isinstance(layer, HyperConnections):
        assert layer.linears(HIDDEN) == []  # its product is in float32 whatever the format
    found = Sums(
        weights, sum(op.flops for op in ops), sum(op.bytes for op in ops), sum(op.kernels for op in ops),
        layer.live_width, layer.state_bytes(NUMBERS),
    )  # fmt: skip
    assert found == pytest.approx(expected)


# FLOPs, bytes and launches of a recurrence in fused kernels: of the prompt, then of one more token a sequence. A scan:
# five kernels, its products among them, values in and out once (4 bytes), the state read and written once a chunk; a step: one kernel.
SCANS: dict[str, tuple[Layer, tuple[float, ...], tuple[float, ...]]] = {
    # A token and head: 2 · 3 positions · (2 · 2 + 3) and 6 · 2 · 3; values: 4 heads of 2 + 3.
    "gated delta": (
        BY_HAND["gated delta"][0],
        (6 * 4 * (2 * 3 * 7 + 6 * 6), 4 * (6 * 20 + 2 * 2 * 24), 5), (0, 2 * 4 * (2 * 24 + 20), 1),
    ),
    "kimi delta": (
        BY_HAND["kimi delta"][0],
        (6 * 2 * (2 * 3 * 12 + 6 * 16), 4 * (6 * 16 + 2 * 2 * 32), 5), (0, 2 * 4 * (2 * 32 + 16), 1),
    ),
    "mamba": (
        BY_HAND["mamba"][0],
        (6 * 2 * 16, 4 * (6 * 4 * 8 + 2 * 2 * 16), 5), (2 * 2 * 16, 2 * 4 * (4 * 8 + 2 * 16), 1),
    ),
    # 4 · 8 · (3 positions of the block and 4 of the state) a token; 12 kernels as in tensor operators.
    "lightning": (
        BY_HAND["lightning"][0],
        (6 * 4 * 8 * 7, 4 * (2 * 4 * 32 + 6 * 8 * 8), 12), (2 * 4 * 8 * 4, 4 * (2 * 4 * 32 + 2 * 8 * 8), 12),
    ),
    "rg-lru": (BY_HAND["rg-lru"][0], (0, 4 * 6 * 6 * 8, 3), (0, 4 * 2 * 6 * 8, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SCANS)
def test_what_goes_from_token_to_token(name: str) -> None:
    layer, *expected = SCANS[name]
    for step, sums in zip((Step(3.0, batch_size=2.0), Step(1.0, 3.0, 2.0)), expected, strict=True):
        ops = layer.context_ops(step, SERVING, NUMBERS)
        found = sum(op.flops for op in ops), sum(op.bytes for op in ops), sum(op.kernels for op in ops)
        assert found == pytest.approx(sums), step


def test_tensor_operators_go_token_by_token_where_a_kernel_does_not() -> None:
    three = Step(3.0, batch_size=2.0)
    (scan,) = BY_HAND["rg-lru"][0].context_ops(three, TRANSFORMERS, NUMBERS)
    assert scan.kernels == 3 * 3
