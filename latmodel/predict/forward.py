"""Seconds of a prefill, of a decode step and of a whole response of one model on one target.

`fit` and `predict` call the same functions, with coefficients from the optimiser or from a profile. A block's cost is
the sum of its layers' costs, and a model's the sum of its blocks': search costs each layer once and adds.
"""

from dataclasses import dataclass
from typing import NamedTuple

from ..arrays import Array, is_array, maximum, minimum
from ..laws.attention import decode_law
from ..laws.coefficients import DeviceCoefficients
from ..laws.terms import COLD, Conditions
from ..model.architecture import Architecture, Block
from ..model.formats import Numbers
from ..model.ops import POINTWISE, OpCost
from ..model.step import Step
from ..model.transformer import context_ops, dense_ops, logits_ops, stem_ops
from .target import Target, Work
from .timeline import mean_overlapped, overlapped


@dataclass(slots=True)
class Load:
    """Kernels to launch, device seconds, and how many of them the arithmetic alone would take, of some operators."""

    kernels: Array
    seconds: Array
    compute_s: Array

    def plus(self, other: "Load") -> "Load":
        """Both together."""
        return Load(self.kernels + other.kernels, self.seconds + other.seconds, self.compute_s + other.compute_s)

    def times(self, count: Array) -> "Load":
        """`count` of it."""
        return Load(self.kernels * count, self.seconds * count, self.compute_s * count)


@dataclass(slots=True)
class Cost:
    """What some layers, blocks, or the parts around them cost: in prefill, and in the first and last decode step."""

    prefill: Load
    first: Load
    last: Load

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.prefill.plus(other.prefill), self.first.plus(other.first), self.last.plus(other.last))

    def times(self, count: Array) -> "Cost":
        """`count` of it."""
        return Cost(self.prefill.times(count), self.first.times(count), self.last.times(count))


class Times(NamedTuple):
    """Seconds by phase, as plain numbers or as arrays."""

    prefill: Array
    decode: Array
    response: Array


class Forecast(NamedTuple):
    """Seconds. `forward_s` is one decode step synchronised on both sides; `step_s` one inside a free-running loop.

    Those of the blocks are also given apart, and their host's share in a prefill and in a decode step.
    """

    prefill_s: Array
    forward_s: Array
    step_s: Array
    prefill_blocks_s: Array
    decode_blocks_s: Array
    prefill_host_s: Array
    decode_host_s: Array
    response_s: Array


def forecast(model: Architecture, work: Work, target: Target) -> Forecast:
    """Prefill of the prompt, the mean decode step over the growing context, and the response they make."""
    return respond(
        model.num_hidden_layers, blocks_cost(model, work, target), head_cost(model, work, target), work, target
    )


def blocks_cost(model: Architecture, work: Work, target: Target) -> Cost:
    """All blocks of a model."""
    first, *rest = model.groups
    cost = block_cost(first.block, model.hidden_size, work, target).times(first.count)
    for group in rest:
        cost = cost.plus(block_cost(group.block, model.hidden_size, work, target).times(group.count))
    return cost


def block_cost(block: Block, hidden: Array, work: Work, target: Target) -> Cost:
    """One block; with one of its layers missing, the other layer alone."""
    prefill = block_load(block, hidden, work.prefill(), work.numbers, target)
    return Cost(prefill, *growing_loads(block, hidden, *work.decode(), work.numbers, target))


def block_load(block: Block, hidden: Array, step: Step, numbers: Numbers, target: Target) -> Load:
    """One block in one pass; a decode step is added up as in `growing_loads`, to the last digit."""
    implementation, aligned = target.implementation, block.aligned
    dense = dense_ops(block, hidden, step.rows, implementation, numbers)
    context = context_ops(block, step, implementation, numbers)
    gap_s = target.block_gap_s(dense, aligned)
    if step.phase == "decode":
        return load(dense, target, COLD[aligned], gap_s).plus(load(context, target, COLD[aligned], gap_s))
    return load([*dense, *context], target, COLD[aligned], gap_s)


def growing_loads(
    block: Block, hidden: Array, at_first: Step, at_last: Step, numbers: Numbers, target: Target
) -> tuple[Load, Load]:
    """One block in the first and the last of passes whose cache grows evenly."""
    ops = dense_ops(block, hidden, at_first.rows, target.implementation, numbers)
    gap_s = target.block_gap_s(ops, block.aligned)
    dense = load(ops, target, COLD[block.aligned], gap_s)
    first, last = _context_loads(block, at_first, at_last, numbers, target, gap_s)
    return dense.plus(first), dense.plus(last)


def _context_loads(
    block: Block, at_first: Step, at_last: Step, numbers: Numbers, target: Target, gap_s: Array
) -> tuple[Load, Load]:
    """What depends on the context, in the first and the last of such passes.

    Where a window fills during the generation, the first step is moved so that a straight line to the last has the mean
    of the bent one (`_straightened`). Where a block's operators begin with attention, its only one, both steps share
    all of its law but the context.
    """
    first = context_ops(block, at_first, target.implementation, numbers)
    last = context_ops(block, at_last, target.implementation, numbers)
    known, device = COLD[block.aligned], target.device
    alone = [op.attention is not None for op in first]
    shares = at_first.phase == "decode" and alone[:1] == [True] and alone.count(True) == 1
    if shares and isinstance(device, DeviceCoefficients):
        known = Conditions(False, block.aligned, decode_law(first[0], device.decode, target.sheet))
    ends = load(first, target, known, gap_s), load(last, target, known, gap_s)
    fills_at = block.fills_at
    return ends if fills_at is None else (_straightened(*ends, at_first.context, at_last.context, fills_at), ends[1])


def _straightened(first: Load, last: Load, start: Array, end: Array, fills_at: Array) -> Load:
    """What the first of a generation's steps would cost if all lay on one straight line with the same mean.

    Steps at contexts `start` to `end` rise to `fills_at` and stay at `last`. Of N = end − start + 1 steps n rise, and
    the mean is last − n / N · (last − first) / 2, that of a line from last − n / N · (last − first).
    """
    steps = end - start + 1.0
    share = minimum(maximum((fills_at - start + 1.0) / steps, 0.0), 1.0)
    seconds = last.seconds - (last.seconds - first.seconds) * share
    return Load(first.kernels, seconds, last.compute_s - (last.compute_s - first.compute_s) * share)


def head_cost(model: Architecture, work: Work, target: Target) -> Cost:
    """Embedding, final norm and LM head."""
    rows, numbers = work.prefill().rows, work.numbers
    if target.every_logit(work):
        prefill, decode = (head_load(model, some, some, numbers, target) for some in (rows, work.batch))
        return Cost(prefill, decode, decode)
    # With logits for the last position alone, prefill and decode make the same product with the vocabulary.
    logits = load(logits_ops(model, work.batch, target.implementation, numbers), target, COLD[model.aligned])
    at_prompt, decode = (_stem_load(model, some, numbers, target).plus(logits) for some in (rows, work.batch))
    return Cost(at_prompt, decode, decode)


def head_load(model: Architecture, rows: Array, logit_rows: Array, numbers: Numbers, target: Target) -> Load:
    """Embedding, final norm and LM head of a pass of so many rows, of which `logit_rows` get logits."""
    logits = load(logits_ops(model, logit_rows, target.implementation, numbers), target, COLD[model.aligned])
    return _stem_load(model, rows, numbers, target).plus(logits)


def _stem_load(model: Architecture, rows: Array, numbers: Numbers, target: Target) -> Load:
    return load(stem_ops(model, rows, target.implementation, numbers), target, COLD[model.aligned])


def _passes(depth: Array, blocks: Cost, head: Cost, work: Work, target: Target) -> tuple["Around", Array, Array, Array]:
    """What lies around the blocks; of the blocks alone, seconds of a prefill, and of the host in a prefill and in a
    decode step."""
    prefill_host, decode_host = host_seconds(depth, blocks, target)
    prefill_blocks = overlapped(prefill_host, blocks.prefill.seconds, target.runtime.overlap_loss)
    if target.implementation.cut_of_last_block:
        prefill_blocks = prefill_blocks * target.implementation.prompt_share(depth, work.prompt, work.logits_all)
    return around_blocks(head, work, target), prefill_blocks, prefill_host, decode_host


def response_times(depth: Array, blocks: Cost, head: Cost, work: Work, target: Target) -> Times:
    """Of a `Forecast`, what a response takes."""
    around, prefill_blocks, _, decode_host = _passes(depth, blocks, head, work, target)
    prefill = around.prefill(prefill_blocks)
    step = around.step(decode_host, blocks.first.seconds, blocks.last.seconds, target.runtime.overlap_loss)
    return Times(prefill, step, prefill + work.new * step)


def respond(depth: Array, blocks: Cost, head: Cost, work: Work, target: Target) -> Forecast:
    """Put the timelines together: `depth` blocks that cost `blocks` in all, between embedding and head."""
    loss, first, last = target.runtime.overlap_loss, blocks.first.seconds, blocks.last.seconds
    around, prefill_blocks, prefill_host, decode_host = _passes(depth, blocks, head, work, target)
    prefill, step = around.prefill(prefill_blocks), around.step(decode_host, first, last, loss)
    decode_blocks = mean_overlapped(decode_host, first, last, loss)
    return Forecast(
        prefill,
        decode_blocks + overlapped(around.head_host_s, head.first.seconds, loss) + around.pass_s,
        step,
        prefill_blocks,
        decode_blocks,
        prefill_host,
        decode_host,
        prefill + work.new * step,
    )


@dataclass(slots=True)
class Around:
    """Seconds of what lies around the blocks: host and device together in a prefill, each apart in a free-running loop.

    A synchronised pass pays its fixed host time, and its head after the blocks. In a free-running loop the host runs
    ahead across steps, so all of a step's host time overlaps all of its device time.
    """

    prefill_s: Array
    head_host_s: Array  # of the host, for what a decode step launches there
    pass_s: Array  # of the host, once a synchronised pass
    step_host_s: Array
    step_device_s: Array
    engine_s: Array  # between two passes, which nothing hides; counted in the pass and in the step's device

    def prefill(self, blocks_s: Array) -> Array:
        """A prefill whose blocks take `blocks_s`."""
        return blocks_s + self.prefill_s + self.pass_s

    def step(self, host_s: Array, first_s: Array, last_s: Array, loss: float) -> Array:
        """The mean free-running decode step; of the blocks, the host and the device in the first and last step."""
        device_s = self.step_device_s
        return mean_overlapped(host_s + self.step_host_s, first_s + device_s, last_s + device_s, loss)


def around_blocks(head: Cost, work: Work, target: Target) -> Around:
    """What embedding and head that cost `head` add to a response, with the host's time for a pass and a token.

    What an engine does between two passes, nothing hides.
    """
    r, loss, decode_device = target.runtime, target.runtime.overlap_loss, head.first.seconds
    engine_s = engine_seconds(work, target)
    decode_host = head.first.kernels * r.launch_s
    return Around(
        overlapped(head.prefill.kernels * r.launch_s, head.prefill.seconds, loss),
        decode_host,
        r.pass_s + engine_s,
        decode_host + r.pass_s + r.token_s,
        decode_device + engine_s,
        engine_s,
    )


def engine_seconds(work: Work, target: Target) -> Array:
    """What a serving engine does between two passes: step_s (its own and the format's) + batch · sequence_s."""
    r = target.runtime
    engine_s: Array = r.step_s + target.implementation.format_step_s(work.numbers.format)
    return engine_s + r.sequence_s * work.batch if is_array(r.sequence_s) or r.sequence_s else engine_s


def host_seconds(depth: Array, blocks: Cost, target: Target) -> tuple[Array, Array]:
    """Host time of L = `depth` blocks that cost `blocks` in all, in prefill and in a decode step.

    Prefill: kernels · launch_s + L · (block_s + prefill_block_s); a decode step: kernels · launch_s + L · block_s.
    """
    r = target.runtime
    prefill = blocks.prefill.kernels * r.launch_s + depth * (r.block_s + r.prefill_block_s)
    return prefill, blocks.first.kernels * r.launch_s + depth * r.block_s


def load(ops: list[OpCost], target: Target, known: Conditions = COLD[False], gap_s: Array = None) -> Load:
    """Kernels and device time of operators run one after another, of which so much is known; `gap_s` between two of
    their kernels, the runtime's if None."""
    laws, corrector = target.laws, target.corrector
    kernels: Array = None
    work = fixed = compute = 0.0
    for op in ops:
        more, floor, arithmetic = laws[op.kind](op, known)
        if corrector is not None:
            factor = corrector.factor(op, more)
            if factor is not None:
                more, floor = (more + floor) * factor, 0.0
        if kernels is None:  # from the first on, not from 0: adding an array to 0 costs a pass over it
            kernels, work, fixed, compute = op.kernels, more, floor, arithmetic
        else:  # floors are plain numbers, summed apart
            kernels, work, fixed = kernels + op.kernels, work + more, fixed + floor
            if op.kind is not POINTWISE:
                compute = compute + arithmetic
    return (
        Load(0.0, 0.0, 0.0)
        if kernels is None
        else Load(kernels, work + (fixed + kernels * (target.runtime.gap_s if gap_s is None else gap_s)), compute)
    )
