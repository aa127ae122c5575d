"""Kinds of attention by hand: matrices, vectors, operators, what is kept and held, under a runtime of known counts.

Weights of three bytes, activations of two and a cache of five, so that a sum tells what was counted. Eight query heads
on two of keys and values, 64 wide: queries 512, keys 128.
"""

from typing import Any

import numpy as np
import pytest
from toy_runtime import BEHIND, COUNTED, HIDDEN, JOINED, ROWS, SEEN, TOKEN, WINDOWED, N, by_name, moved, sizes

from latmodel.model.layers.attention import Attention
from latmodel.model.layers.kimi_delta import KimiDelta
from latmodel.model.layers.kv_cache import append_op
from latmodel.model.layers.layer import Layer, Linear, part_of
from latmodel.model.layers.norm import RMS, Norm
from latmodel.model.layers.shared_attention import SharedAttention
from latmodel.model.ops import AttentionShape, OpCost, OpKind, pointwise
from latmodel.model.step import Step

WRITES, MASKS = COUNTED.with_attention("writes"), COUNTED.with_attention("masks")
PLAIN = Attention(8.0, 2.0, 64.0)


MATRICES: dict[str, tuple[dict[str, Any], dict[str, tuple[float, ...]]]] = {
    "plain": ({}, {"q_proj": (100, 512, 1), "kv_proj": (100, 128, 2), "o_proj": (512, 100, 1)}),
    "fused": ({"fused": True}, {"qkv_proj": (100, 768, 1), "o_proj": (512, 100, 1)}),
    "a gate with the queries": (
        {"output_gate": True}, {"q_proj": (100, 1024, 1), "kv_proj": (100, 128, 2), "o_proj": (512, 100, 1)}
    ),
    "a gate of one value a head": (
        {"head_gate": True},
        {"q_proj": (100, 512, 1), "kv_proj": (100, 128, 2), "o_proj": (512, 100, 1), "gate_proj": (100, 8, 1)},
    ),
    "narrow values": (
        {"value_dim": 32.0},
        {"q_proj": (100, 512, 1), "k_proj": (100, 128, 1), "v_proj": (100, 64, 1), "o_proj": (256, 100, 1)},
    ),
    "narrow values, fused": (
        {"value_dim": 32.0, "fused": True}, {"qkv_proj": (100, 512 + 128 + 64, 1), "o_proj": (256, 100, 1)}
    ),
    "values that are the keys": (
        {"tied_values": True}, {"q_proj": (100, 512, 1), "kv_proj": (100, 128, 1), "o_proj": (512, 100, 1)}
    ),
    "the same, fused": (
        {"tied_values": True, "fused": True}, {"qkv_proj": (100, 640, 1), "o_proj": (512, 100, 1)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name: str) -> None:
    changes, expected = MATRICES[name]
    layer = Attention(8.0, 2.0, 64.0, **changes)
    assert sizes(layer) == expected
    if not layer.fused:
        joined = sizes(layer, fused=True)
        assert joined["qkv_proj"][1] == sum(
            n * c for key, (_, n, c) in expected.items() if key not in ("o_proj", "gate_proj")
        )


VECTORS: dict[str, tuple[dict[str, Any], float]] = {
    "none": ({}, 0), "biases": ({"qkv_bias": True}, 512 + 256), "a bias of the output": ({"out_bias": True}, 100),
    "a gate's": ({"qkv_bias": True, "output_gate": True}, 1024 + 256),
    "a gate without": ({"qkv_bias": True, "output_gate": True, "gate_bias": False}, 512 + 256),
    "of tied values": ({"qkv_bias": True, "tied_values": True}, 512 + 128),
    "of narrow values": ({"qkv_bias": True, "value_dim": 32.0}, 512 + 128 + 64),
    "norms of heads": ({"qk_norm": "head"}, 128), "norms of all": ({"qk_norm": "width"}, 640),
    "norms with biases": ({"qk_norm": "head", "qk_norm_vectors": 2.0}, 256), "sinks": ({"sinks": True}, 8),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    changes, expected = VECTORS[name]
    assert sum(Attention(8.0, 2.0, 64.0, **changes).vectors(HIDDEN)) == expected


def test_operators_that_do_not_see_the_context() -> None:
    full = Attention(8.0, 2.0, 64.0, qk_norm="head", rotary=0.5, output_gate=True)
    ops = by_name(full.dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert moved(ops["q_proj"]) == (2 * 6 * 100 * 1024, 3 * 100 * 1024, 0, 2 * 6 * (100 + 1024), 1)
    assert moved(ops["kv_proj"]) == (2 * 2 * 6 * 100 * 128, 2 * 3 * 100 * 128, 0, 2 * 2 * 6 * (100 + 128), 2)
    assert moved(ops["rope"]) == (0, 0, 0, 640 * 6 * 0.5 * 17 * 2, 5)  # half of each head turns
    # Two norms over rows of 64, of the queries and of the keys: half of both together each.
    assert moved(ops["qk_norm"]) == (0, 0, 0, 640 * 6 * 13 * 2, 6)
    assert ops["qk_norm"].k == 128.0
    assert moved(ops["gate"]) == (0, 0, 0, 512 * 6 * 5 * 2, 2)
    assert set(by_name(Attention(8.0, 2.0, 64.0, rotary=0.0).dense_ops(HIDDEN, ROWS, COUNTED, N))) == {
        "q_proj",
        "kv_proj",
        "o_proj",
    }
    assert by_name(PLAIN.dense_ops(HIDDEN, ROWS, COUNTED, N))["rope"].bytes == 640 * 6 * 17 * 2  # all of a head
    by_head = by_name(Attention(8.0, 2.0, 64.0, value_dim=32.0, head_gate=True).dense_ops(HIDDEN, ROWS, JOINED, N))
    assert set(by_head) == {"qkv_proj", "o_proj", "gate_proj", "rope", "gate"}
    assert by_head["gate"].bytes == 256 * 6 * 5 * 2


@pytest.mark.parametrize("step", SEEN, ids=str)
@pytest.mark.parametrize("window", [None, 2.0])
def test_attention_and_its_cache(step: Step, window: float | None) -> None:
    pairs, seen = (WINDOWED if window else SEEN)[step]
    layer = Attention(8.0, 2.0, 64.0, window)
    ops = by_name(layer.context_ops(step, COUNTED, N))
    new = step.new_tokens
    assert moved(ops["attention"]) == (2 * 4 * 512 * pairs, 0, 2 * 2 * 128 * seen * 5, 2 * 2 * 512 * new * 2, 2)
    kept = min(step.cached_tokens, 1.0) if window else step.cached_tokens  # a cache that grows holds one less
    assert moved(ops["kv_cache"]) == (0, 0, 0, 2 * 256 * (kept + new) * 2 * 5, 19)
    assert set(ops) == {"attention", "kv_cache"}
    shape = AttentionShape(2.0, 8.0, 2.0, 64.0, new, step.context, seen, window, False)
    assert ops["attention"].attention == shape
    in_place = by_name(layer.context_ops(step, JOINED, N))["kv_cache"]
    assert in_place.activation_bytes == 2 * 256 * new * 2 * 5
    # Keys and values of 2 heads in 2 sequences, each in kernels of its own over a view; not so where all is contiguous.
    assert (in_place.strided, in_place.kernels, in_place.m) == (True, 19, new)
    assert in_place.m * in_place.n == in_place.m * in_place.k == 2 * 128 * new
    plain = by_name(layer.context_ops(step, JOINED._replace(strided=False), N))["kv_cache"]
    assert (plain.strided, plain.k, ops["kv_cache"].strided) == (False, 0.0, False)


@pytest.mark.parametrize("step", SEEN, ids=str)
@pytest.mark.parametrize("window", [None, 2.0])
def test_keys_values_and_scores_that_are_written_out(step: Step, window: float | None) -> None:
    _, seen = (WINDOWED if window else SEEN)[step]
    ops = by_name(Attention(8.0, 2.0, 64.0, window).context_ops(step, WRITES, N))
    assert ops["attention"].cache_bytes == 2 * 2 * 512 * seen * 5  # once a query head
    assert ops["attention"].attention is not None and ops["attention"].attention.kv_heads == 8.0
    assert moved(ops["repeat_kv"]) == (0, 0, 0, 2 * 2 * (128 + 512) * seen * 5, 3)
    assert ops["repeat_kv"].kind == OpKind.COPY
    # Scores of all positions, masked ones too: seven values of two bytes each.
    assert moved(ops["scores"]) == (0, 0, 0, 2 * 8 * step.new_tokens * step.context * 7 * 2, 5)
    every = by_name(Attention(8.0, 8.0, 64.0, window).context_ops(step, WRITES, N))
    assert moved(every["repeat_kv"]) == (0, 0, 0, 0, 0)  # heads of their own
    masked = by_name(Attention(8.0, 2.0, 64.0, window).context_ops(step, MASKS, N))
    assert ("repeat_kv" in masked) is (step is BEHIND) and "scores" not in masked
    if step is BEHIND:
        assert (masked["repeat_kv"].kernels, masked["attention"].cache_bytes) == (3, 2 * 2 * 512 * seen * 5)


def test_columns_of_steps_are_written_out_where_they_must_be() -> None:
    column = Step(np.array([3.0, 2.0]), np.array([0.0, 7.0]), 2.0)
    ops = by_name(PLAIN.context_ops(column, MASKS, N))
    assert ops["repeat_kv"].activation_bytes.tolist() == [0.0, 2 * 2 * 640 * 9 * 5]
    assert ops["attention"].cache_bytes.tolist() == [2 * 2 * 128 * 3 * 5, 2 * 2 * 512 * 9 * 5]


def test_heads_of_other_widths() -> None:
    """Keys of 60 are padded, at 23 launches; narrow values count half of what keys and values are on average."""
    assert by_name(Attention(8.0, 2.0, 60.0).context_ops(TOKEN, COUNTED, N))["attention"].kernels == 25
    narrow = by_name(Attention(8.0, 2.0, 64.0, value_dim=32.0).context_ops(TOKEN, COUNTED, N))
    # Scores against 512 values, sums of 256; 128 of keys and 64 of values a position.
    assert moved(narrow["attention"]) == (2 * 2 * (512 + 256) * 8, 0, 2 * (128 + 64) * 8 * 5, 2 * (512 + 256) * 2, 2)
    assert narrow["kv_cache"].activation_bytes == 2 * 192 * (7 + 1) * 2 * 5
    wide = by_name(Attention(8.0, 2.0, 64.0, value_dim=32.0).context_ops(TOKEN, WRITES, N))
    assert wide["attention"].cache_bytes == 2 * (512 + 256) * 8 * 5


def test_what_attention_keeps_and_holds() -> None:
    assert (PLAIN.elements_per_position, PLAIN.live_width, PLAIN.fills_at) == (256.0, 2 * 640, None)
    assert Attention(8.0, 2.0, 64.0, value_dim=32.0).elements_per_position == 192.0
    windowed = Attention(8.0, 2.0, 64.0, 10.0)
    assert windowed.fills_at == 10.0
    assert [windowed.kept_positions(x, COUNTED) for x in (5.0, 9.0, 10.0, 50.0)] == [5.0, 9.0, 9.0, 9.0]
    assert [windowed.kept_positions(x, JOINED) for x in (5.0, 10.0, 50.0)] == [5.0, 10.0, 10.0]
    assert PLAIN.kept_positions(50.0, COUNTED) == 50.0
    assert windowed.kept_bytes(50.0, COUNTED, N) == 256 * 9 * 5
    assert PLAIN.written_bytes(2.0, 3.0, 20.0, COUNTED, N) == 0.0
    # Keys and values of all query heads; scores of the prompt in float32 and in the dtype.
    held = 2 * 2 * 512 * 20 * 5 + 8 * 2 * 3 * 3 * (4 + 2)
    assert PLAIN.written_bytes(2.0, 3.0, 20.0, WRITES, N) == held
    assert windowed.written_bytes(2.0, 3.0, 20.0, WRITES, N) == 2 * 2 * 512 * 10 * 5 + 8 * 2 * 9 * 6
    assert Attention(8.0, 8.0, 64.0).written_bytes(2.0, 3.0, 20.0, WRITES, N) == 8 * 2 * 9 * 6
    assert PLAIN.dimensions() == {"num_attention_heads": 8.0, "num_key_value_heads": 2.0, "head_dim": 64.0}
    assert PLAIN.fewer_heads(0.5) == Attention(4.0, 1.0, 64.0)
    assert Attention(12.0, 4.0, 64.0).fewer_heads(0.5) == Attention(6.0, 2.0, 64.0)
    many = Attention(8.0, np.array([0.0, 2.0]), 64.0)
    assert many.kept_bytes(50.0, COUNTED, N).tolist() == [0.0, 256 * 50 * 5]
    assert PLAIN.gated_by_head() == Attention(8.0, 2.0, 64.0, head_gate=True)


def test_attention_to_the_keys_of_an_earlier_layer() -> None:
    """Queries and output alone: no keys to make, to turn, to norm or to keep."""
    inner = Attention(8.0, 2.0, 64.0, qkv_bias=True, out_bias=True, qk_norm="head", rotary=0.5)
    layer = SharedAttention(inner)
    assert sizes(layer) == {"q_proj": (100, 512, 1), "o_proj": (512, 100, 1)}
    assert layer.vectors(HIDDEN) == [512.0, 100.0, 64.0]
    assert SharedAttention(Attention(8.0, 2.0, 64.0, qk_norm="width", qk_norm_vectors=2.0)).vectors(HIDDEN) == [1024.0]
    ops = by_name(layer.dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert moved(ops["rope"]) == (0, 0, 0, 512 * 6 * 0.5 * 17 * 2, 5)
    assert moved(ops["qk_norm"]) == (0, 0, 0, 512 * 6 * 13 * 2, 3) and ops["qk_norm"].k == 64.0
    assert set(by_name(SharedAttention(PLAIN).dense_ops(HIDDEN, ROWS, COUNTED, N))) == {"q_proj", "o_proj", "rope"}
    assert layer.context_ops(TOKEN, COUNTED, N) == inner.context_ops(TOKEN, COUNTED, N)[:1]
    assert set(by_name(layer.context_ops(TOKEN, WRITES, N))) == {"attention", "repeat_kv", "scores"}
    assert (layer.live_width, layer.kept_bytes(9.0, COUNTED, N), layer.dimensions()) == (
        1024.0,
        0.0,
        inner.dimensions(),
    )


def test_norms() -> None:
    rms, layer_norm = Norm(), Norm("layer", 2.0)
    assert (rms.parameters(100.0), rms.parameters(100.0, 3.0), layer_norm.parameters(100.0, 3.0)) == (
        100.0,
        300.0,
        600.0,
    )
    assert RMS.op("n", 50.0, 10.0, COUNTED, N, count=2.0) == pointwise(
        "n", 50.0, moves=26.0, kernels=6.0, bytes_each=2.0, summed=20.0
    )
    assert layer_norm.op("n", 50.0, 10.0, COUNTED, N, count=2.0) == pointwise(
        "n", 50.0, moves=4.0, kernels=2.0, bytes_each=2.0, summed=20.0
    )


class Both(KimiDelta):
    """A kind that keeps positions and a state."""

    @property
    def elements_per_position(self) -> float:
        return 3.0


class Bare(Layer):
    """A kind that says no more than it must: one product of two matrices."""

    def linears(self, hidden: Any, *, fused: bool = False) -> list[Linear]:
        return [
            Linear("one", hidden, 3.0),
            Linear("two", 3.0, hidden, 1.6),
            Linear("many", 1.0, 1.0, np.array([4.0, 5.0])),
        ]

    def dense_ops(self, hidden: Any, rows: Any, implementation: Any, numbers: Any) -> list[OpCost]:
        return []

    @property
    def live_width(self) -> float:
        return 7.0


def test_what_a_kind_of_layer_is_unless_it_says_more() -> None:
    bare = Bare()
    assert (bare.kind, bare.always_measured, bare.has_experts, bare.sizes) == ("Bare", False, False, ())
    assert bare.parameters(10.0).tolist() == [30 + 48 + 4, 30 + 48 + 5]
    assert (bare.live_width_in(COUNTED), bare.vectors(10.0), bare.context_ops(TOKEN, COUNTED, N)) == (7.0, [], [])
    assert (bare.elements_per_position, bare.fills_at, bare.kept_positions(4.0, COUNTED), bare.state_bytes(N)) == (
        0.0,
        None,
        4.0,
        0.0,
    )
    assert (bare.kept_bytes(4.0, COUNTED, N), bare.written_bytes(1.0, 1.0, 1.0, WRITES, N), bare.dimensions()) == (
        0.0,
        0.0,
        {},
    )
    assert bare.active() is bare.fewer_heads(0.5) is bare.narrower(0.5, 8) is bare.fewer_experts(0.5) is bare
    both = Both(2.0, 4.0, None, None)
    assert both.kept_bytes(10.0, COUNTED, N) == 3 * 10 * 5 + 24 * 4 * 2 + 32 * 4
    with pytest.raises(NotImplementedError, match="Bare has no gate by head"):
        bare.gated_by_head()
    assert append_op(bare, TOKEN, COUNTED, N).bytes == 0.0


def test_a_part_of_a_dimension() -> None:
    """Rounded to whole steps, one at least, the dimension at most."""
    assert [part_of(10.0, share) for share in (0.01, 0.24, 0.26, 0.5, 0.96, 1.0, 2.0)] == [1, 2, 3, 5, 10, 10, 10]
    assert [part_of(100.0, share, 16) for share in (0.01, 0.3, 0.5, 0.99)] == [16, 32, 48, 96]
    assert part_of(10.0, 0.9, 16) == 10.0
    assert part_of(20.0, 1.0, 16) == part_of(20.0, 1.2, 16) == 20.0  # the whole of it is not rounded
