"""A prompt read in several passes, alone or while other sequences go on decoding."""

import math
from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from ..laws.terms import COLD
from ..model.architecture import Architecture
from ..model.step import Step
from ..model.transformer import context_ops, dense_ops
from .forward import Load, head_load, load
from .passes import PassCost, PassTimes, pass_cost, step_times
from .target import Target, Work


class Chunks(NamedTuple):
    """A prompt read in passes of `chunk_tokens`, the last one shorter; with `others` sequences decoding meanwhile, each
    over `others_tokens` positions."""

    chunk_tokens: int
    others: int = 0
    others_tokens: int = 1


class Part(NamedTuple):
    """What one kind of pass takes of the response: seconds, what binds it (an index of BOUNDS), seconds of kernels."""

    seconds: float
    bound_code: int
    device_s: float


NOTHING = Part(0.0, 0, 0.0)


def part_of(times: PassTimes, count: float = 1.0) -> Part:
    """`count` such passes."""
    code = int(times.device_bound) + int(times.compute_bound)
    return Part(count * times.seconds, code, count * times.device_s)


def chunked_prefill(
    model: Architecture, work: Work, target: Target, chunks: Chunks | None
) -> tuple[Part, dict[str, Any]]:
    """The passes over a prompt, the last of which tells what binds; and what is told of them."""
    chunk = work.prompt if chunks is None else min(float(chunks.chunk_tokens), work.prompt)
    before = math.ceil(work.prompt / chunk) - 1
    details = {} if chunks is None else {"chunk_tokens": chunks.chunk_tokens}
    last = Step(work.prompt - before * chunk, work.cached + before * chunk, work.batch)
    if chunks is not None and chunks.others:
        return _among_others(model, work, target, chunks, [*_steps(work, chunk, before), last], details)
    one = part_of(step_times(model, last, work.logits_all, work.numbers, target))
    if not before:
        return one, details
    some = Step(np.full(before, chunk), work.cached + chunk * np.arange(before), work.batch)
    rest = step_times(model, some, work.logits_all, work.numbers, target)
    seconds, device_s = one.seconds + float(np.sum(rest.seconds)), one.device_s + float(np.sum(rest.device_s))
    return Part(seconds, one.bound_code, device_s), details


def _steps(work: Work, chunk: float, count: int) -> Iterator[Step]:
    return (Step(chunk, work.cached + index * chunk, work.batch) for index in range(count))


def _among_others(
    model: Architecture, work: Work, target: Target, chunks: Chunks, steps: list[Step], details: dict[str, Any]
) -> tuple[Part, dict[str, Any]]:
    """Others get a token with every chunk: in the same pass where the runtime mixes requests, else in one of their own.

    The pass of their own after the last chunk is not the prompt's. `others_token_s` is the mean time between two of
    their tokens while the prompt is read.
    """
    decode = Step(1.0, float(chunks.others_tokens), float(chunks.others))
    if target.implementation.mixes_requests:
        parts = [part_of(mixed_times(model, step, decode, work, target)) for step in steps]
        between = sum(part.seconds for part in parts) / len(parts)
    else:
        own = part_of(pass_cost(model, decode, False, work.numbers, target).times(target))
        read = [part_of(step_times(model, step, work.logits_all, work.numbers, target)) for step in steps]
        parts = [*read, *([own] * (len(steps) - 1))]
        between = sum(part.seconds for part in read) / len(read) + own.seconds
        parts[-1], parts[len(read) - 1] = parts[len(read) - 1], parts[-1]
    total = Part(sum(p.seconds for p in parts), parts[-1].bound_code, sum(p.device_s for p in parts))
    return total, {**details, "others": chunks.others, "others_tokens": chunks.others_tokens, "others_token_s": between}


def mixed_times(model: Architecture, prompt: Step, decode: Step, work: Work, target: Target) -> PassTimes:
    """One pass of a prompt's tokens and of others' next ones (Agrawal et al. 2024, "Sarathi-Serve", arXiv 2403.02310):
    products of all their rows together, attention of each kind apart, logits of the last of each sequence."""
    rows, numbers, implementation = prompt.rows + decode.rows, work.numbers, target.implementation
    each = []
    for group in model.groups:
        block, aligned = group.block, group.block.aligned
        products = dense_ops(block, model.hidden_size, rows, implementation, numbers)
        known, gap_s = COLD[aligned], target.block_gap_s(products, aligned)
        one = load(products, target, known, gap_s)
        for step in (prompt, decode):
            one = one.plus(load(context_ops(block, step, implementation, numbers), target, known, gap_s))
        each.append(one.times(group.count))
    blocks = reduce(Load.plus, each)
    logits = (prompt.rows if work.logits_all else prompt.batch_size) + decode.batch_size
    head = head_load(model, rows, logits, numbers, target)
    together = work._replace(batch=prompt.batch_size + decode.batch_size, logits_all=True)
    return PassCost(model.num_hidden_layers, blocks, blocks, head, together, False, True).times(target)
