"""Attention on a GPU against the closed forms of `latmodel.laws.attention`, with every effect on at once.

P = 1e12 FLOP/s, S = 10 multiprocessors, B = 1e11 byte/s, a cache of 1 MB.
"""

import math
from itertools import product

import numpy as np
import pytest
from toy import DEVICE, SHEET

from latmodel.laws.attention import decode_law, decode_seconds, decode_tiles, prefill_seconds, shape_of
from latmodel.laws.coefficients import DecodeCoefficients, PrefillCoefficients
from latmodel.laws.dispatch import op_seconds
from latmodel.model.ops import AttentionShape, OpCost, gemm

P, S, B, CACHE = 1e12, 10.0, 1e11, 1e6
WIDE = SHEET._replace(cache_bytes=CACHE)
C = PrefillCoefficients(
    floor_s=3e-6, compute_efficiency=0.5, efficiency_64=0.8, efficiency_192=0.9, efficiency_256=0.6, prologue_columns=60.0,
    window_columns=96.0, tile_s=1e-6, longest_tile=0.5, tail=0.4, bandwidth_efficiency=0.5, kv_passes=3.0, write_s=1e-8,
    overlap_gap=0.5, overlap_gap_s=1e-3, boost=0.2, boost_s=1e-3, cache_speedup=3.0, cache_share=0.5, cache_width=0.25,
)  # fmt: skip
D = DecodeCoefficients(
    floor_s=4e-6, bandwidth_efficiency=0.5, min_context=64.0, wave_s=2e-6, head_wave_s=1e-7, split_s=5e-6, split_context=128.0,
    idle_split=0.02, idle_whole=0.05, window_whole=1.0, compute_efficiency=0.25, overlap_gap=0.2, cache_speedup=3.0,
    cache_share=0.5, cache_width=0.25,
)  # fmt: skip


def shape(tokens: float, context: float, window: float | None = None, **changes: float) -> AttentionShape:
    seen = context if window is None else min(context, window)
    a = AttentionShape(2.0, 8.0, 2.0, 128.0, tokens, context, seen, window)
    return a._replace(**changes)


def operator(kind: str, a: AttentionShape) -> OpCost:
    """Queries and output, keys and values: two bytes each."""
    kept = 2 * a.batch * a.kv_heads * a.head_dim * a.seen * 2
    given = 2 * a.batch * a.heads * a.head_dim * a.tokens * 2
    return OpCost("attention", kind, 0.0, 0.0, kept, given, attention=a)  # type: ignore[arg-type]


def speed_up(nbytes: float, hot: bool) -> float:
    """Of a hot loop: what stays of half of the cache, a quarter to either side, is read four times as fast."""
    stays = min(max(0.5 + (1 - nbytes / (0.5 * CACHE)) / (2 * 0.25), 0.0), 1.0)
    return 1 - stays * 3 / 4 if hot else 1.0


def slower(head_dim: float) -> float:
    """By the width of a head, against 128."""
    return 1 / (0.8 if head_dim <= 64 else 1.0 if head_dim <= 128 else 0.9 if head_dim <= 192 else 0.6)


def prompt(a: AttentionShape, hot: bool, c: PrefillCoefficients = C) -> tuple[float, float]:
    """(seconds, seconds of the arithmetic)."""
    span = a.context if a.window is None else min(a.context, a.window)
    tiles = a.heads * a.batch * math.ceil(a.tokens / 128)
    column_s = 4 * 128 * a.head_dim * slower(a.head_dim) / (P * c.compute_efficiency)
    columns = span - min(span, a.tokens) * span / (2 * a.context) + c.prologue_columns
    columns += c.window_columns if a.window is not None and a.window < a.context else 0
    work = tiles * (column_s * columns + c.tile_s / S)
    work -= c.boost * c.boost_s * work / (work + c.boost_s)
    longest = column_s * c.longest_tile * S * (span + c.prologue_columns) + c.tile_s
    compute = max(work, longest) + c.tail * min(work, longest)
    op = operator("prefill", a)
    nbytes = op.activation_bytes + c.kv_passes * op.cache_bytes
    memory = nbytes / (B * c.bandwidth_efficiency) * speed_up(nbytes, hot)
    shorter = min(compute, memory)
    written = a.batch * a.tokens * c.write_s * min(a.kv_heads * a.head_dim, 512) / 512
    return max(compute, memory) + c.overlap_gap * shorter / (1 + shorter / c.overlap_gap_s) + written, compute


PROMPTS = {
    "one block": shape(128.0, 128.0), "one query more": shape(129.0, 129.0), "few of one sequence": shape(5.0, 5.0, batch=1.0, heads=2.0),
    "behind a cache": shape(300.0, 5000.0), "long": shape(3000.0, 3000.0), "window": shape(700.0, 700.0, 256.0),
    "window behind a cache": shape(200.0, 4000.0, 512.0), "a window as long as the context": shape(700.0, 700.0, 700.0),
    "a window that is longer": shape(700.0, 700.0, 900.0), "few keys written": shape(100.0, 100.0, kv_heads=1.0),
    "many keys written": shape(100.0, 100.0, kv_heads=8.0), "memory counts": shape(16.0, 60_000.0, heads=2.0),
}  # fmt: skip


@pytest.mark.parametrize("a", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("c", [C, C._replace(compute_efficiency=50.0, tile_s=1e-9)], ids=["arithmetic", "traffic"])
def test_a_prompt_is_the_closed_form(a: AttentionShape, hot: bool, c: PrefillCoefficients) -> None:
    assert prefill_seconds(operator("prefill", a), c, WIDE, hot=hot) == pytest.approx(prompt(a, hot, c))


@pytest.mark.parametrize("head_dim", [32.0, 64.0, 65.0, 128.0, 129.0, 192.0, 193.0, 256.0])
def test_heads_of_other_widths(head_dim: float) -> None:
    a = shape(1000.0, 1000.0, head_dim=head_dim)
    assert prefill_seconds(operator("prefill", a), C, WIDE) == pytest.approx(prompt(a, False))
    many = a._replace(head_dim=np.array([head_dim, head_dim]))
    assert prefill_seconds(operator("prefill", many), C, WIDE)[0] == pytest.approx([prompt(a, False)[0]] * 2)


def new_token(a: AttentionShape, hot: bool, c: DecodeCoefficients = D, rows: float = 16.0) -> tuple[float, float]:
    """(seconds, seconds of the arithmetic) of one new token."""
    whole = (a.heads == a.kv_heads or (a.window is not None and c.window_whole == 1.0)) and not a.splits
    alone = a.window is not None and whole and c.window_whole == 1.0
    tiles = a.batch * (a.heads if alone else a.kv_heads)
    length = a.context if a.window is None else min(a.context, a.window)
    read, each = max(length, c.min_context), 4 * a.batch * a.kv_heads * a.head_dim
    memory = each / (B * c.bandwidth_efficiency) * speed_up(each * max(a.seen, c.min_context), hot)
    memory *= 1 + (c.idle_whole if whole else c.idle_split) * 128 / tiles
    padded = max(a.heads, rows * (a.heads if whole else a.kv_heads))
    compute = 4 * a.head_dim * a.batch * padded / (P * c.compute_efficiency)
    fixed = tiles * c.wave_s / S + a.heads * a.batch * c.head_wave_s / S
    merge = 0.0 if whole else c.split_s * min(max(length / c.split_context - 1, 0.0), 1.0)
    each_s = max(compute, memory) + c.overlap_gap * min(compute, memory)
    return fixed + merge + each_s * read, compute * read


TOKENS = {
    "grouped": shape(1.0, 1000.0), "less than a block": shape(1.0, 40.0), "split in part": shape(1.0, 200.0),
    "split whole": shape(1.0, 256.0), "not split": shape(1.0, 128.0), "one sequence": shape(1.0, 1000.0, batch=1.0),
    "a head each": shape(1.0, 1000.0, kv_heads=8.0), "windowed": shape(1.0, 1000.0, 300.0),
    "a window that is longer": shape(1.0, 200.0, 300.0), "many heads": shape(1.0, 1000.0, heads=64.0),
    "a head each, windowed": shape(1.0, 1000.0, 300.0, kv_heads=8.0), "little in a cache": shape(1.0, 100.0, batch=1.0),
}  # fmt: skip


@pytest.mark.parametrize("a", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize(
    "c", [D, D._replace(window_whole=0.0), D._replace(compute_efficiency=1e-3)], ids=["whole", "packed", "arithmetic"]
)
def test_a_new_token_is_the_closed_form(a: AttentionShape, hot: bool, c: DecodeCoefficients) -> None:
    for each in (a, a._replace(splits=True)):
        expected = new_token(each, hot, c)
        assert decode_seconds(operator("decode", each), c, WIDE, hot=hot) == pytest.approx(expected)
    narrow = WIDE._replace(matrix_rows=1.0)
    assert decode_seconds(operator("decode", a), c, narrow)[1] == pytest.approx(new_token(a, False, c, 1.0)[1])


def test_both_ends_of_a_generation_share_what_does_not_depend_on_the_context() -> None:
    first, last = shape(1.0, 100.0), shape(1.0, 2000.0)
    law = decode_law(operator("decode", first), D, WIDE)
    assert decode_seconds(operator("decode", last), D, WIDE, law=law) == pytest.approx(new_token(last, False))
    law.fixed_s += 1.0  # it is what is asked
    assert decode_seconds(operator("decode", last), D, WIDE, law=law)[0] == pytest.approx(
        1.0 + new_token(last, False)[0]
    )


def test_tiles_of_a_step() -> None:
    """(1 for a tile a query head, tiles of two sequences): 8 query heads, 2 of keys and values."""
    for window, splits, window_whole in product((None, 64.0), (False, True), (0.0, 1.0)):
        alone = window is not None and window_whole == 1.0 and not splits
        a = shape(1.0, 100.0, window)._replace(splits=splits)
        assert decode_tiles(a, window_whole) == ((1.0, 16.0) if alone else (0.0, 4.0))
        same = a._replace(kv_heads=8.0)
        assert decode_tiles(same, window_whole) == (0.0 if splits else 1.0, 16.0)
    between = decode_tiles(shape(1.0, 100.0, 64.0), 0.25)  # a quarter of the way from packed to whole
    assert between == (0.25, 2 * (2 + 0.25 * 6))
    mixed = shape(1.0, 100.0)._replace(window=np.array([64.0, 1e9, 2e9]))  # a billion and more stand for none
    whole, tiles = decode_tiles(mixed, 1.0)
    assert (whole.tolist(), tiles.tolist()) == ([1.0, 0.0, 0.0], [16.0, 4.0, 4.0])


def test_floors_are_those_of_the_phase() -> None:
    fit = DEVICE._replace(prefill=C, decode=D)
    prefill, decode = operator("prefill", shape(100.0, 100.0)), operator("decode", shape(1.0, 100.0))
    for op, floor, seconds in ((prefill, 3e-6, prompt(shape(100.0, 100.0), False)), (decode, 4e-6, new_token(shape(1.0, 100.0), False))):  # fmt: skip
        found = op_seconds(op, WIDE, fit, gap_s=1e-6)
        assert (found.work_s, found.fixed_s, found.compute_s) == pytest.approx((seconds[0], floor + 1e-6, seconds[1]))
        assert found.seconds == pytest.approx(seconds[0] + floor + 1e-6)
    hot = op_seconds(decode, WIDE, fit, gap_s=0.0, hot=True)
    assert hot.work_s == pytest.approx(new_token(shape(1.0, 100.0), True)[0])


def test_only_attention_has_its_dimensions() -> None:
    with pytest.raises(AssertionError, match="only attention"):
        shape_of(gemm("g", 1.0, 1.0, 1.0, weight_bytes=2.0, activation_bytes=2.0))
