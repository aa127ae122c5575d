"""Seconds of single passes: of one `Step`, and of the mean one while the cache grows.

They are put together from the same parts as a prediction, so that a step into an empty cache is its prefill and a step
of one token its decode step, to the last digit.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np

from ..arrays import Array, is_array, maximum
from ..model.architecture import Architecture, Block
from ..model.formats import Numbers
from ..model.step import Step
from .bounds import binding
from .forward import Cost, Load, around_blocks, block_load, growing_loads, head_load, host_seconds
from .inputs import is_decode
from .target import Target, Work
from .timeline import mean_overlapped, overlapped


class PassTimes(NamedTuple):
    """Seconds of a pass, and of its host and its kernels, which overlap; whether kernels, and arithmetic, bind it.

    What an engine does between two passes counts with the host, though nothing hides it.
    """

    seconds: Array
    host_s: Array
    device_s: Array
    device_bound: Array
    compute_bound: Array


class PassCost(NamedTuple):
    """What a pass costs on any host: its blocks over the shortest and the longest cache, and what is around them."""

    depth: Array
    first: Load
    last: Load
    head: Load
    work: Work
    decode: bool
    alike: bool  # one pass, no growing cache

    def times(self, target: Target) -> PassTimes:
        """On the host of a target. A decode step runs in a loop whose host runs ahead; any other pass is waited for."""
        r, loss, work = target.runtime, target.runtime.overlap_loss, self.work
        cost, around = Cost(self.first, self.first, self.last), Cost(self.head, self.head, self.head)
        ends, hosts = around_blocks(around, work, target), host_seconds(self.depth, cost, target)
        host, first, last = hosts[1] if self.decode else hosts[0], self.first.seconds, self.last.seconds
        if self.decode:
            seconds = ends.step(host, first, last, loss)
        else:
            blocks = overlapped(host, first, loss) if self.alike else mean_overlapped(host, first, last, loss)
            if target.implementation.cut_of_last_block:
                blocks = blocks * target.implementation.prompt_share(self.depth, work.prompt, work.logits_all)
            seconds = ends.prefill(blocks)
        around_host = self.head.kernels * r.launch_s + r.pass_s + ends.engine_s + (r.token_s if self.decode else 0.0)
        return PassTimes(
            seconds, host + around_host, 0.5 * (first + last) + self.head.seconds, *binding(host, self.last, self.head)
        )


def pass_cost(
    model: Architecture, step: Step, logits_all: bool, numbers: Numbers, target: Target, *, last: Step | None = None
) -> PassCost:
    """The cost of `step`; with `last`, of the mean pass while the cache grows evenly from that of `step` to that."""
    each = [
        [one.times(group.count) for one in _ends(group.block, model.hidden_size, step, last, numbers, target)]
        for group in model.groups
    ]
    first, at_last = (reduce(Load.plus, some) for some in zip(*each, strict=True))
    rows = step.rows
    every = logits_all or target.implementation.attention.float32_logits
    head = head_load(model, rows, rows if every else step.batch_size, numbers, target)
    work = Work(step.new_tokens, 1.0, step.batch_size, logits_all, numbers)
    return PassCost(model.num_hidden_layers, first, at_last, head, work, step.phase == "decode", last is None)


def _ends(
    block: Block, hidden: Array, step: Step, last: Step | None, numbers: Numbers, target: Target
) -> tuple[Load, Load]:
    """One block over the shortest and the longest cache."""
    if last is not None:
        return growing_loads(block, hidden, step, last, numbers, target)
    one = block_load(block, hidden, step, numbers, target)
    return one, one


def step_times(model: Architecture, step: Step, logits_all: bool, numbers: Numbers, target: Target) -> PassTimes:
    """Seconds of a step, whose numbers may be arrays of both phases: each row is priced as it would be alone."""
    decode = is_decode(step)
    if not is_array(decode):
        return pass_cost(model, step, logits_all, numbers, target).times(target)
    # Arrays of new tokens stand for a prefill, the number 1 over an array of cached ones for a decode step.
    one = Step(1.0, maximum(step.cached_tokens, 1.0), step.batch_size)
    several = step._replace(new_tokens=step.new_tokens * np.ones(decode.shape))
    if np.all(decode):
        several = one
    elif not np.any(decode):
        one = several
    ours, theirs = (pass_cost(model, some, logits_all, numbers, target).times(target) for some in (one, several))
    return PassTimes(*(np.where(decode, *pair) for pair in zip(ours, theirs, strict=True)))
