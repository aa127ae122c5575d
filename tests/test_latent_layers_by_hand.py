"""Attention on latents, to chosen positions and to compressed ones by hand, under a runtime of known counts.

Weights of three bytes, activations of two and a cache of five, so that a sum tells what was counted. Two sequences, of
three tokens, of one behind seven, or of two behind seven.
"""

from dataclasses import replace
from typing import Any

import pytest
from toy_runtime import BEHIND, COUNTED, HIDDEN, JOINED, PROMPT, ROWS, SEEN, TOKEN, WINDOWED, N, by_name, moved, sizes

from latmodel.model.formats import FORMATS, Numbers
from latmodel.model.layers.attention import Attention
from latmodel.model.layers.compressed_attention import CompressedAttention
from latmodel.model.layers.indexed_attention import IndexedAttention, Indexer
from latmodel.model.layers.latent_attention import LatentAttention
from latmodel.model.ops import AttentionShape, OpKind
from latmodel.model.step import Step

# Four heads: keys of 8 and a rotary part of 4, values of 6; latents of 10, queries through 5.
LATENT = LatentAttention(4.0, 5.0, 10.0, 8.0, 4.0, 6.0)


def test_matrices_and_vectors_of_latent_attention() -> None:
    common = {"kv_a_proj": (100, 14, 1), "kv_b_proj": (10, 4 * 14, 1), "o_proj": (24, 100, 1)}
    assert sizes(LATENT) == {"q_a_proj": (100, 5, 1), "q_b_proj": (5, 48, 1), **common}
    straight = replace(LATENT, query_rank=None)
    assert sizes(straight) == {"q_proj": (100, 48, 1), **common}
    assert sizes(LATENT.gated_by_head())["gate_proj"] == (100, 4, 1)
    assert (sum(LATENT.vectors(HIDDEN)), sum(straight.vectors(HIDDEN))) == (15, 10)
    # Biases of what leaves the stream (latents and rotary key, queries' latents) and of the output.
    assert sum(replace(LATENT, bias=True).vectors(HIDDEN)) == 15 + 14 + 5 + 100
    assert sum(replace(straight, bias=True).vectors(HIDDEN)) == 10 + 14 + 100
    assert (LATENT.elements_per_position, LATENT.key_dim, LATENT.live_width) == (14.0, 12.0, 4 * (24 + 12))
    assert LATENT.fewer_heads(0.5) == replace(LATENT, heads=2.0)


def test_latent_attention_before_the_context() -> None:
    ops = by_name(replace(LATENT, gate_width=3.0).dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert moved(ops["latent_norm"]) == (0, 0, 0, 15 * 6 * 13 * 2, 6) and ops["latent_norm"].k == 15.0
    assert moved(ops["rope"]) == (0, 0, 0, 5 * 4 * 6 * 17 * 2, 5)  # of all queries and one key
    assert moved(ops["gate_proj"]) == (2 * 6 * 300, 3 * 300, 0, 6 * 103 * 2, 1)
    assert moved(ops["gate"]) == (0, 0, 0, 24 * 6 * 5 * 2, 2)
    assert set(ops) == {"q_a_proj", "q_b_proj", "kv_a_proj", "latent_norm", "rope", "o_proj", "gate_proj", "gate"}
    straight = by_name(replace(LATENT, query_rank=None).dense_ops(HIDDEN, ROWS, COUNTED, N))
    assert moved(straight["latent_norm"]) == (0, 0, 0, 10 * 6 * 13 * 2, 3)
    assert set(straight) == {"q_proj", "kv_a_proj", "latent_norm", "rope", "o_proj"}


@pytest.mark.parametrize("step", SEEN, ids=str)
@pytest.mark.parametrize("window", [None, 2.0])
def test_latents_are_expanded_for_all_heads(step: Step, window: float | None) -> None:
    pairs, seen = (WINDOWED if window else SEEN)[step]
    layer, positions, rows = replace(LATENT, window=window), 2 * seen, 2 * step.new_tokens
    ops = by_name(layer.context_ops(step, COUNTED, N))
    assert moved(ops["kv_b_proj"]) == (2 * positions * 560, 3 * 560, 0, positions * (10 + 56) * 2, 1)
    assert moved(ops["join_keys"]) == (0, 0, 0, positions * 48 * 2 * 2, 3)
    # Four heads of 12 + 6: what is expanded is read as it was written, in two bytes.
    assert moved(ops["attention"]) == (2 * 72 * 2 * pairs, 0, 72 * positions * 2, 72 * rows * 2, 2)
    assert ops["attention"].attention == AttentionShape(2.0, 4.0, 4.0, 9.0, step.new_tokens, step.context, seen, window)
    kept = min(step.cached_tokens, 1.0) if window else step.cached_tokens
    assert moved(ops["kv_cache"]) == (0, 0, 0, 2 * 14 * 2 * (kept + step.new_tokens) * 5, 19)
    if step is not TOKEN:  # only a new token attends to the latents themselves
        found = by_name(layer.context_ops(step, JOINED, N))
        assert found["attention"] == ops["attention"]


@pytest.mark.parametrize("window", [None, 2.0])
def test_a_new_token_attends_to_the_latents(window: float | None) -> None:
    pairs, seen = (WINDOWED if window else SEEN)[TOKEN]
    ops = by_name(replace(LATENT, window=window).context_ops(TOKEN, JOINED, N))
    # The expansion becomes a product of 14 by 10 · 4, in two launches; four heads over one latent of 10 + 4.
    assert moved(ops["absorb"]) == (2 * 2 * 14 * 40, 3 * 14 * 40, 0, 2 * (14 + 40) * 2, 2)
    assert moved(ops["attention"]) == (2 * 4 * (14 + 10) * 2 * pairs, 0, 2 * seen * 14 * 5, 4 * (14 + 10) * 2 * 2, 2)
    assert ops["attention"].attention == AttentionShape(2.0, 4.0, 1.0, 12.0, 1.0, 8.0, seen, window)
    assert set(ops) == {"absorb", "attention", "kv_cache"}


def test_latents_kept_within_a_window() -> None:
    windowed = replace(LATENT, window=10.0)
    assert [windowed.kept_positions(x, COUNTED) for x in (5.0, 10.0, 50.0)] == [5.0, 9.0, 9.0]
    assert [windowed.kept_positions(x, JOINED) for x in (5.0, 10.0, 50.0)] == [5.0, 10.0, 10.0]
    assert LATENT.kept_positions(50.0, JOINED) == 50.0


def test_an_expansion_by_quantised_weights_is_unpacked() -> None:
    quantised = Numbers(0.5, 2.0, 5.0, FORMATS["nf4"])
    for runtime, name in ((COUNTED, "kv_b_proj"), (JOINED, "absorb")):
        ops = by_name(LATENT.context_ops(TOKEN, runtime, quantised))
        assert ops["unpack_latents"].bytes == pytest.approx(560 * 2.5 * 2)
        assert ops[name].weight_bytes == 560 * 0.5
    # A product that a checkpoint left alone is not, and one in a format of its own is read in that.
    alone = Numbers(0.5, 2.0, 5.0, FORMATS["nf4"], (("kv_b_proj", None),))
    assert "unpack_latents" not in by_name(LATENT.context_ops(TOKEN, COUNTED, alone))
    assert by_name(LATENT.context_ops(TOKEN, JOINED, alone))["absorb"].weight_bytes == 560 * 2
    other = alone._replace(parts=(("kv_b_proj", FORMATS["int8"]),))
    assert by_name(LATENT.context_ops(TOKEN, JOINED, other))["absorb"].weight_bytes == 560
    assert by_name(LATENT.context_ops(TOKEN, COUNTED, other))["unpack_latents"].bytes == pytest.approx(560 * 2.5 * 2)


# --- Chosen positions -----------------------------------------------------------------------------

INNER, INDEXER = Attention(8.0, 2.0, 64.0, qk_norm="head"), Indexer(3.0, 4.0, 7.0, norm_values=11.0)
INDEXED = IndexedAttention(INNER, INDEXER, 2.0)


def test_an_indexer_has_queries_a_key_and_weights() -> None:
    found = {one.name: (one.inputs, one.outputs, one.count) for one in INDEXER.linears(HIDDEN)}
    assert found == {"index_q": (7, 12, 1), "index_k": (100, 4, 1), "index_weights": (100, 3, 1)}
    plain = {one.name: one.inputs for one in Indexer(3.0, 4.0, weighted=False).linears(HIDDEN)}
    assert plain == {"index_q": 100, "index_k": 100}
    assert sizes(INDEXED).keys() == sizes(INNER).keys() | found.keys()
    assert INDEXED.vectors(HIDDEN) == [128.0, 11.0]
    assert Indexer(3.0, 4.0).norm_values == 0.0
    follows = replace(INDEXED, indexer=None)
    assert (sizes(follows), follows.vectors(HIDDEN)) == (sizes(INNER), [128.0])
    assert (INDEXED.elements_per_position, follows.elements_per_position, INDEXED.live_width) == (256 + 4, 256, 1280)
    ops = INDEXED.dense_ops(HIDDEN, ROWS, COUNTED, N)
    assert ops[:-4] == INNER.dense_ops(HIDDEN, ROWS, COUNTED, N) == follows.dense_ops(HIDDEN, ROWS, COUNTED, N)
    assert [op.name for op in ops[-4:]] == ["index_q", "index_k", "index_weights", "rope"]
    assert moved(ops[-1]) == (0, 0, 0, 4 * 4 * 6 * 17 * 2, 5)


@pytest.mark.parametrize("step", SEEN, ids=str)
def test_kernels_score_what_is_seen_and_read_what_is_chosen(step: Step) -> None:
    pairs, _ = SEEN[step]
    ops = by_name(INDEXED.context_ops(step, JOINED, N))
    # 3 · 4 values a pair and the weighted sum of three; keys of 4; a score of four bytes.
    index = ops["index"]
    assert moved(index) == (2 * pairs * (2 * 12 + 2 * 3), 0, 2 * 4 * step.context * 5, 4 * 2 * pairs, 2)
    assert (index.kind, index.m, index.n, index.k) == (OpKind.GEMM, 2 * step.new_tokens, step.context, 12.0)
    few = by_name(replace(INNER, window=2.0).context_ops(step, JOINED, N))
    assert {name: ops[name] for name in few} == few and set(ops) == {*few, "index"}
    unweighted = replace(INDEXED, indexer=replace(INDEXER, weighted=False))
    assert by_name(unweighted.context_ops(step, JOINED, N))["index"].flops == 2 * pairs * 2 * 12
    assert by_name(replace(INDEXED, indexer=None).context_ops(step, JOINED, N)) == few


@pytest.mark.parametrize("step", SEEN, ids=str)
def test_tensor_operators_score_all_pairs_and_hide_them_by_a_mask(step: Step) -> None:
    pairs = 2 * step.new_tokens * step.context
    ops = by_name(INDEXED.context_ops(step, COUNTED, N))
    # Scores of three heads pass through memory four times in float32.
    assert moved(ops["index"]) == (pairs * (24 + 6), 0, 2 * 4 * step.context * 5, 3 * pairs * 4 * 4, 10)
    assert moved(ops["choice"]) == (0, 0, 0, pairs * 6 * 2, 4)
    every = by_name(INNER.context_ops(step, COUNTED, N))
    assert {name: ops[name] for name in every} == every and set(ops) == {*every, "index", "choice"}


# --- Compressed positions -------------------------------------------------------------------------

WINDOW = CompressedAttention(8.0, 16.0, 20.0, 4.0, 6.0, 2.0)
POOLED = replace(WINDOW, rate=4.0, series=2.0)
CHOSEN = replace(POOLED, indexer=Indexer(3.0, 5.0, 20.0), chosen=1.5)


def test_matrices_and_vectors_of_compressed_attention() -> None:
    first = {
        "q_a_proj": (100, 20, 1),
        "q_b_proj": (20, 128, 1),
        "kv_proj": (100, 16, 1),
        "o_a_proj": (32, 6, 4),
        "o_b_proj": (24, 100, 1),
    }
    assert sizes(WINDOW) == first
    assert sizes(replace(WINDOW, rate=4.0))["compress"] == (100, 16, 2)
    assert sizes(POOLED) == {**first, "compress": (100, 32, 2)}
    assert sizes(CHOSEN) == {
        **first, "compress": (100, 32, 2), "index_q": (20, 15, 1), "index_weights": (100, 3, 1), "index_compress": (100, 10, 2)
    }  # fmt: skip
    # Sinks and two norms; of each series a bias for every place of a stretch, and a norm of the entry.
    assert sum(WINDOW.vectors(HIDDEN)) == 8 + 20 + 16
    assert sum(POOLED.vectors(HIDDEN)) == 44 + 4 * 2 * 16 + 16
    assert sum(CHOSEN.vectors(HIDDEN)) == 44 + 4 * 2 * (16 + 5) + 16 + 5
    assert (WINDOW.elements_per_position, WINDOW.live_width) == (16.0, 2 * 128)


def test_compressed_attention_before_the_context() -> None:
    for layer, launches in ((WINDOW, 0.0), (POOLED, 12.0)):
        ops = by_name(layer.dense_ops(HIDDEN, ROWS, COUNTED, N))
        assert set(ops) == {*sizes(layer), "rope", "pool"}
        assert moved(ops["rope"]) == (0, 0, 0, 9 * 16 * 6 * 17 * 2, 5)
        assert moved(ops["pool"]) == (0, 0, 0, 100 * 6 * 8 * 2, launches)


# Step → entries at the end; a prompt sees half of them on average.
ENTRIES = {PROMPT: (0.75, 0.5), TOKEN: (2.0, 1.0), BEHIND: (2.25, 0.5)}


@pytest.mark.parametrize("step", ENTRIES, ids=str)
def test_attention_to_a_window_and_to_entries(step: Step) -> None:
    (entries, half), (near, positions), new = ENTRIES[step], WINDOWED[step], step.new_tokens
    for layer, runtime, seen in (
        (WINDOW, JOINED, 0.0), (POOLED, JOINED, entries), (CHOSEN, JOINED, min(entries, 1.5)), (CHOSEN, COUNTED, entries)
    ):  # fmt: skip
        ops = by_name(layer.context_ops(step, runtime, N))
        flops = 4 * 128 * 2 * (near + new * seen * half)
        assert moved(ops["attention"]) == (flops, 0, 16 * 2 * (positions + seen) * 5, 128 * 2 * 2 * new * 2, 2)
        assert ops["attention"].attention == AttentionShape(2.0, 8.0, 1.0, 16.0, new, step.context, step.context, 2.0)
        assert ("index" in ops) is (layer is CHOSEN)
    for runtime, share, bytes_each, launches in ((JOINED, half, 4.0, 2), (COUNTED, 1.0, 3 * 16.0, 10)):
        scored = 2 * new * entries * share
        index = by_name(CHOSEN.context_ops(step, runtime, N))["index"]
        assert moved(index) == (2 * 15 * scored, 0, 5 * 2 * entries * 5, bytes_each * scored, launches)


@pytest.mark.parametrize(
    ("positions", "entries", "waiting", "first"), [(3.0, 0, 3, 0), (4.0, 1, 0, 2), (11.0, 2, 3, 2)]
)
def test_what_compressed_attention_keeps(positions: float, entries: int, waiting: int, first: int) -> None:
    """One key of the window's two; entries; both series of what waits, in two projections; the last stretch's first series."""
    assert WINDOW.kept_bytes(positions, COUNTED, N) == 16 * 1 * 5
    kept: Any = 16 + 16 * (entries + waiting * 2 * 2 + first)
    assert POOLED.kept_bytes(positions, COUNTED, N) == kept * 5
    assert CHOSEN.kept_bytes(positions, COUNTED, N) == (16 + (16 + 5) * (entries + waiting * 4 + first)) * 5
    single = replace(POOLED, series=1.0)
    assert single.kept_bytes(positions, COUNTED, N) == (16 + 16 * (entries + waiting * 2)) * 5
    assert replace(WINDOW, window=4.0).kept_bytes(9.0, COUNTED, N) == 16 * 3 * 5
    assert WINDOW.kept_positions(1.0, COUNTED) == WINDOW.kept_positions(9.0, COUNTED) == 1.0
