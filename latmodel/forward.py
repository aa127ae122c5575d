"""Seconds of a prefill, of a decode step and of a whole response of one model on one target.

`fit` and `predict` call the same functions, with coefficients from the optimiser or from a profile.
"""

from typing import NamedTuple

from .architecture import Architecture
from .arrays import Array
from .coefficients import DeviceCoefficients, RuntimeCoefficients, Sheet
from .config import Numbers
from .implementation import Implementation
from .ops import OpCost
from .roofline import op_seconds
from .timeline import mean_overlapped, overlapped
from .transformer import Step, context_ops, dense_ops, head_ops


class Target(NamedTuple):
    """What the model runs on: a device, and a runtime that implements the operators."""

    sheet: Sheet
    device: DeviceCoefficients
    runtime: RuntimeCoefficients
    how: Implementation


class Work(NamedTuple):
    """A workload as numbers or arrays: prompt and new tokens, sequences at once, which logits, bytes per element."""

    prompt: Array
    new: Array
    batch: Array
    logits_all: bool
    numbers: Numbers


class Load(NamedTuple):
    """Kernels to launch and device time of some operators. Loads add, and multiply by a count."""

    kernels: Array
    seconds: Array
    compute_s: Array
    memory_s: Array

    def plus(self, other: "Load") -> "Load":
        """Both together."""
        return Load(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, count: Array) -> "Load":
        """`count` of it."""
        return Load(*(a * count for a in self))


class Pass(NamedTuple):
    """One forward pass: host and device seconds of the blocks, at two contexts, and of what surrounds them."""

    blocks_host_s: Array
    blocks_first_s: Array
    blocks_last_s: Array
    head_host_s: Array
    head_device_s: Array
    compute_s: Array
    memory_s: Array


class Forecast(NamedTuple):
    """Seconds. `forward_s` is one decode step synchronised on both sides; `step_s` one inside a free-running loop."""

    prefill_s: Array
    forward_s: Array
    step_s: Array
    prefill_blocks_s: Array
    step_blocks_s: Array
    prefill: Pass
    decode: Pass


def forecast(model: Architecture, work: Work, target: Target) -> Forecast:
    """Prefill of the prompt and the mean decode step over the growing context (`prompt + 1 … prompt + new`)."""
    loss = target.runtime.overlap_loss
    prefill = prefill_pass(model, work, target)
    decode = decode_pass(model, work, target)
    prefill_blocks = overlapped(prefill.blocks_host_s, prefill.blocks_first_s, loss)
    step_blocks = _mean_blocks(decode, 0.0, 0.0, loss)
    fixed, token = target.runtime.pass_s, target.runtime.token_s
    return Forecast(
        prefill_s=prefill_blocks + overlapped(prefill.head_host_s, prefill.head_device_s, loss) + fixed,
        forward_s=step_blocks + overlapped(decode.head_host_s, decode.head_device_s, loss) + fixed,
        step_s=_mean_blocks(decode, decode.head_host_s + (fixed + token), decode.head_device_s, loss),
        prefill_blocks_s=prefill_blocks,
        step_blocks_s=step_blocks,
        prefill=prefill,
        decode=decode,
    )


def _mean_blocks(decode: Pass, more_host_s: Array, more_device_s: Array, loss: float) -> Array:
    return mean_overlapped(
        decode.blocks_host_s + more_host_s,
        decode.blocks_first_s + more_device_s,
        decode.blocks_last_s + more_device_s,
        loss,
    )


def prefill_pass(model: Architecture, work: Work, target: Target) -> Pass:
    """The pass over the prompt into an empty cache."""
    step = Step(work.batch, work.prompt, work.prompt)
    logit_rows = step.rows if work.logits_all else work.batch
    blocks = Load(0.0, 0.0, 0.0, 0.0)
    for group in model.groups:
        dense = load(dense_ops(group.block, model.hidden_size, step.rows, target.how, work.numbers), target)
        context = load(context_ops(group.block, step, target.how, work.numbers), target)
        blocks = blocks.plus(dense.plus(context).times(group.count))
    head = load(head_ops(model, step.rows, logit_rows, target.how, work.numbers), target)
    r = target.runtime
    per_block = r.block_s + r.prefill_block_s
    host = blocks.kernels * r.launch_s + model.num_hidden_layers * per_block
    return Pass(
        host, blocks.seconds, blocks.seconds, head.kernels * r.launch_s, head.seconds,
        blocks.compute_s + head.compute_s, blocks.memory_s + head.memory_s,
    )  # fmt: skip


def decode_pass(model: Architecture, work: Work, target: Target) -> Pass:
    """One token for each sequence, at the first and at the last context of the generation."""
    first = Step(work.batch, 1.0, work.prompt + 1.0)
    last = Step(work.batch, 1.0, work.prompt + work.new * 1.0)
    dense, at_first, at_last = (Load(0.0, 0.0, 0.0, 0.0) for _ in range(3))
    for group in model.groups:
        ops = dense_ops(group.block, model.hidden_size, work.batch, target.how, work.numbers)
        dense = dense.plus(load(ops, target).times(group.count))
        now, later = (load(context_ops(group.block, s, target.how, work.numbers), target) for s in (first, last))
        at_first, at_last = at_first.plus(now.times(group.count)), at_last.plus(later.times(group.count))
    head = load(head_ops(model, work.batch, work.batch, target.how, work.numbers), target)
    r = target.runtime
    host = (dense.kernels + at_first.kernels) * r.launch_s + model.num_hidden_layers * r.block_s
    compute = dense.compute_s + head.compute_s + 0.5 * (at_first.compute_s + at_last.compute_s)
    memory = dense.memory_s + head.memory_s + 0.5 * (at_first.memory_s + at_last.memory_s)
    return Pass(
        host, dense.seconds + at_first.seconds, dense.seconds + at_last.seconds,
        head.kernels * r.launch_s, head.seconds, compute, memory,
    )  # fmt: skip


def load(ops: list[OpCost], target: Target) -> Load:
    """Kernels and device time of operators run one after another."""
    total = Load(0.0, 0.0, 0.0, 0.0)
    for op in ops:
        seconds, compute, memory = op_seconds(op, target.sheet, target.device, target.runtime.gap_s)
        total = total.plus(Load(op.kernels, seconds, compute, memory))
    return total
