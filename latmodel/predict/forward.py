"""Seconds of a prefill, of a decode step and of a whole response of one model on one target.

`fit` and `predict` call the same functions, with coefficients from the optimiser or from a profile. A block's cost is
the sum of its layers' costs, and a model's the sum of its blocks': search costs each layer once and adds.
"""

from typing import NamedTuple

from ..arrays import Array, indicator, is_array, maximum, minimum
from ..laws.attention import DecodeLaw, decode_law
from ..laws.coefficients import HOST_TERMS, Device, DeviceCoefficients, RuntimeCoefficients, Sheet
from ..laws.correction import Corrector
from ..laws.dispatch import op_terms
from ..model.architecture import Architecture, Block
from ..model.formats import Numbers
from ..model.implementation import Implementation
from ..model.ops import POINTWISE, OpCost
from ..model.step import Step
from ..model.transformer import context_ops, dense_ops, head_ops, stem_ops
from .timeline import mean_overlapped, overlapped


class Target(NamedTuple):
    """What the model runs on: a device, and a runtime that implements the operators."""

    sheet: Sheet
    device: Device
    runtime: RuntimeCoefficients
    implementation: Implementation
    corrector: Corrector | None = None

    def on_slower_host(self, factor: float) -> "Target":
        """The same device on a host that takes `factor` times as long for everything."""
        slower = {name: getattr(self.runtime, name) * factor for name in HOST_TERMS}
        return self._replace(runtime=self.runtime._replace(**slower))


class Work(NamedTuple):
    """A workload as numbers or arrays: prompt and new tokens, sequences at once, which logits, bytes per element."""

    prompt: Array
    new: Array
    batch: Array
    logits_all: bool
    numbers: Numbers

    def prefill(self) -> Step:
        """The pass over the prompt into an empty cache."""
        return Step(self.batch, self.prompt, self.prompt, "prefill")

    def decode(self) -> tuple[Step, Step]:
        """The first and the last step of the generation: contexts `prompt + 1` and `prompt + new`."""
        first, last = self.prompt + 1.0, self.prompt + maximum(self.new, 1.0)
        return Step(self.batch, 1.0, first, "decode"), Step(self.batch, 1.0, last, "decode")


class Load(NamedTuple):
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


class Cost(NamedTuple):
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
    first, *rest = (block_cost(g.block, model.hidden_size, work, target).times(g.count) for g in model.groups)
    for cost in rest:
        first = first.plus(cost)
    return first


def block_cost(block: Block, hidden: Array, work: Work, target: Target) -> Cost:
    """One block; with one of its layers missing, the other layer alone."""
    implementation, numbers, aligned = target.implementation, work.numbers, block.aligned
    step = work.prefill()
    prompt_ops = [
        *dense_ops(block, hidden, step.rows, implementation, numbers),
        *context_ops(block, step, implementation, numbers),
    ]
    prefill = load(prompt_ops, target, aligned=aligned)
    dense = load(dense_ops(block, hidden, work.batch, implementation, numbers), target, aligned=aligned)
    first, last = _context_loads(block, work, target)
    return Cost(prefill, dense.plus(first), dense.plus(last))


def _context_loads(block: Block, work: Work, target: Target) -> tuple[Load, Load]:
    """What depends on the context, in the first and the last decode step.

    Where a window fills during the generation, the first step is moved so that a straight line to the last has the mean
    of the bent one (`_straightened`). Where a block's operators begin with attention, its only one, both steps share
    all of its law but the context.
    """
    at_first, at_last = work.decode()
    first = context_ops(block, at_first, target.implementation, work.numbers)
    last = context_ops(block, at_last, target.implementation, work.numbers)
    law, aligned = None, block.aligned
    attention = [op.attention is not None for op in first]
    if attention[:1] == [True] and attention.count(True) == 1 and isinstance(target.device, DeviceCoefficients):
        law = decode_law(first[0], target.device.decode, target.sheet)
    ends = load(first, target, aligned=aligned, law=law), load(last, target, aligned=aligned, law=law)
    fills_at = next((layer.fills_at for layer in block.layers if layer.fills_at is not None), None)
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
    rows, implementation, numbers = work.prefill().rows, target.implementation, work.numbers
    aligned = bool(model.groups) and all(group.block.aligned for group in model.groups)
    if work.logits_all:
        each = (head_ops(model, some, some, implementation, numbers) for some in (rows, work.batch))
        prefill, decode = (load(ops, target, aligned=aligned) for ops in each)
        return Cost(prefill, decode, decode)
    # With logits for the last position alone, prefill and decode make the same product with the vocabulary.
    logits = load([model.embedding.logits_op(work.batch, numbers)], target, aligned=aligned)
    at_prompt, at_step = (stem_ops(model, some, implementation, numbers) for some in (rows, work.batch))
    decode = load(at_step, target, aligned=aligned).plus(logits)
    return Cost(load(at_prompt, target, aligned=aligned).plus(logits), decode, decode)


def respond(depth: Array, blocks: Cost, head: Cost, work: Work, target: Target) -> Forecast:
    """Put the timelines together: `depth` blocks that cost `blocks` in all, between embedding and head."""
    loss, ends = target.runtime.overlap_loss, around_blocks(head, work, target)
    prefill_host, decode_host = host_seconds(depth, blocks, target)
    first, last = blocks.first.seconds, blocks.last.seconds
    prefill_blocks = overlapped(prefill_host, blocks.prefill.seconds, loss)
    if target.implementation.cut_of_last_block:
        prefill_blocks = prefill_blocks * target.implementation.prompt_share(depth, work.logits_all)
    decode_blocks = mean_overlapped(decode_host, first, last, loss)
    prefill, step = ends.prefill(prefill_blocks), ends.step(decode_host, first, last, loss)
    return Forecast(
        prefill_s=prefill,
        forward_s=decode_blocks + ends.decode_s + ends.pass_s,
        step_s=step,
        prefill_blocks_s=prefill_blocks,
        decode_blocks_s=decode_blocks,
        prefill_host_s=prefill_host,
        decode_host_s=decode_host,
        response_s=prefill + work.new * step,
    )


class Around(NamedTuple):
    """Seconds of what lies around the blocks: of its host and device together, and of each in a free-running loop.

    A synchronised pass pays its fixed host time, and its head after the blocks. In a free-running loop the host runs
    ahead across steps, so all of a step's host time overlaps all of its device time.
    """

    prefill_s: Array
    decode_s: Array
    pass_s: Array  # of the host, once a synchronised pass
    step_host_s: Array
    step_device_s: Array

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
        overlapped(decode_host, decode_device, loss),
        r.pass_s + engine_s,
        decode_host + r.pass_s + r.token_s,
        decode_device + engine_s,
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


def load(ops: list[OpCost], target: Target, *, aligned: bool = False, law: DecodeLaw | None = None) -> Load:
    """Kernels and device time of operators run one after another."""
    sheet, device, gap_s, corrector = target.sheet, target.device, target.runtime.gap_s, target.corrector
    if not ops:
        return Load(0.0, 0.0, 0.0)
    # From the first on, not from 0: adding an array to 0 costs a pass over it. Floors are plain numbers, summed apart.
    kernels = ops[0].kernels
    work, fixed, compute = op_terms(ops[0], sheet, device, gap_s, False, aligned, corrector, law)
    for op in ops[1:]:
        more, floor, arithmetic = op_terms(op, sheet, device, gap_s, False, aligned, corrector, law)
        kernels, work, fixed = kernels + op.kernels, work + more, fixed + floor
        if op.kind is not POINTWISE:
            compute = compute + arithmetic
    return Load(kernels, work + fixed, compute)


def bound_code(times: Forecast, blocks: Cost, head: Cost, new_tokens: Array) -> Array:
    """What holds the largest share of the response: 0 the host, 1 memory, 2 compute.

    Each phase counts for the one that binds it, so that it is what binds the longer phase.
    """
    decode_s = times.step_s * new_tokens
    prefill, decode = times.prefill_s >= decode_s, times.prefill_s < decode_s
    device_in_prefill, compute_in_prefill = _binding(times.prefill_host_s, blocks.prefill, head.prefill)
    device_in_decode, compute_in_decode = _binding(times.decode_host_s, blocks.last, head.last)
    device = (prefill & device_in_prefill) | (decode & device_in_decode)
    compute = (prefill & compute_in_prefill) | (decode & compute_in_decode)
    return indicator(device, times.prefill_s) + indicator(compute, times.prefill_s)


def _binding(host_s: Array, blocks: Load, head: Load) -> tuple[Array, Array]:
    """Whether the device binds a pass; whether its arithmetic does: it takes half of the kernels' time or more."""
    device = host_s < blocks.seconds
    return device, device & (2.0 * (blocks.compute_s + head.compute_s) >= blocks.seconds + head.seconds)
