"""Passes of a toy model: a block in a generation, steps as arrays, and what a workload asks for."""

import numpy as np
import pytest
from toy import TARGET as TOY
from toy import TWO_BYTES, model, work

from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.layers.mamba2 import Mamba2
from latmodel.model.step import Step
from latmodel.predict.forward import block_cost, block_load
from latmodel.predict.passes import pass_cost, step_times
from latmodel.runtimes.transformers_eager import TRANSFORMERS

SHAPES = {
    "attention": Block(Attention(4.0, 2.0, 64.0), FeedForward(512.0)),
    "window": Block(Attention(4.0, 2.0, 64.0, window=40.0), FeedForward(512.0)),
    "none": Block(None, FeedForward(512.0)),
    "recurrent": Block(Mamba2(4.0, 16.0, 2.0, 8.0), FeedForward(512.0)),
}
ASKED = work(batch=2.0, prompt=10.0, new=3.0)
QUICK = TOY._replace(runtime=TOY.runtime._replace(launch_s=0.0, block_s=0.0, pass_s=0.0, token_s=0.0))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_step_of_a_generation_costs_what_it_costs_alone(name: str) -> None:
    """The first and the last; and the mean that a window fills in, which is that of all steps one by one."""
    block, asked = SHAPES[name], work(prompt=30.0, new=20.0, batch=64.0)
    steps = [Step(1.0, 30.0 + past, 64.0) for past in range(20)]
    each = [float(block_load(block, 256.0, step, TWO_BYTES, QUICK).seconds) for step in steps]
    cost = block_cost(block, 256.0, asked, QUICK)
    assert cost.prefill == block_load(block, 256.0, Step(30.0, 0.0, 64.0), TWO_BYTES, QUICK)
    assert cost.last.seconds == pytest.approx(each[-1], rel=1e-12)
    assert 0.5 * (cost.first.seconds + cost.last.seconds) == pytest.approx(sum(each) / 20, rel=1e-9)
    if name == "window":
        assert each[10] == each[-1] > each[5] > each[0]
    else:
        ends = (block_load(block, 256.0, step, TWO_BYTES, QUICK) for step in (steps[0], steps[-1]))
        assert (cost.first, cost.last) == tuple(ends)  # to the last digit
    growing = pass_cost(
        Architecture((Group(3.0, block),), 256.0, 1024.0), steps[0], False, TWO_BYTES, QUICK, last=steps[-1]
    )
    assert (growing.decode, growing.alike, growing.depth) == (True, False, 3.0)
    assert growing.last.seconds == pytest.approx(3 * each[-1], rel=1e-12)


def test_passes_of_both_kinds_in_one_array_are_each_their_own() -> None:
    whole = model(num_hidden_layers=2.0)
    rows = [(1.0, 100.0), (7.0, 0.0), (7.0, 100.0), (1.0, 3.0), (1.0, 0.0)]
    for some in (rows, rows[:1] + rows[3:4], rows[1:3]):
        new, cached = (np.array(column) for column in zip(*some, strict=True))
        found = step_times(whole, Step(new, cached, 2.0), False, TWO_BYTES, TOY)
        for index, (tokens, before) in enumerate(some):
            one = step_times(whole, Step(tokens, before, 2.0), False, TWO_BYTES, TOY)
            assert [float(column[index]) for column in found] == pytest.approx([float(x) for x in one], rel=1e-12)
    one, every = (pass_cost(whole, Step(700.0), all_, TWO_BYTES, TOY) for all_ in (False, True))
    assert (one.decode, one.alike, one.work.prompt, one.work.new) == (False, True, 700.0, 1.0)
    old = TOY._replace(implementation=TRANSFORMERS.with_attention("sdpa-4"))
    copied = pass_cost(whole, Step(700.0), False, TWO_BYTES, old)
    assert one.head.compute_s < every.head.compute_s == copied.head.compute_s


# --- The work -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [0.0, 5.0, np.array([0.0, 5.0])])
def test_a_generation_begins_behind_the_prompt_and_ends_a_token_short_of_its_last(cached: float) -> None:
    asked = ASKED._replace(cached=cached)
    first, last = asked.decode()
    assert asked.prefill() == Step(10.0, cached, 2.0)
    assert (first.new_tokens, last.new_tokens, first.batch_size, last.batch_size) == (1.0, 1.0, 2.0, 2.0)
    assert np.array_equal(first.cached_tokens, 10.0 + cached) and np.array_equal(last.cached_tokens, 12.0 + cached)
    for new in (0.0, 1.0):
        alone, end = asked._replace(new=new).decode()
        assert np.array_equal(alone.cached_tokens, end.cached_tokens)
    assert ASKED.numbers == TWO_BYTES


def test_every_logit_where_it_is_asked_for_or_the_runtime_makes_them() -> None:
    old = TOY._replace(implementation=TRANSFORMERS.with_attention("sdpa-4"))
    every = ASKED._replace(logits_all=True)
    assert [target.every_logit(some) for target in (TOY, old) for some in (ASKED, every)] == [
        False, True, True, True
    ]  # fmt: skip
