"""Other ways to generate than one token a pass: a prompt in chunks, drafted tokens, blocks that are denoised.

Each is a sum of passes (`passes`), on the device and in the runtime of one predictor. What one of these ways costs
between its passes beyond what the runtime does anyway (rejection sampling, cutting the cache back) is not counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.config import MAX_DIMENSION, Workload
from ..model.step import Step
from .acceptance import break_even_acceptance, expected_tokens
from .chunks import NOTHING, Chunks, Part, chunked_prefill, part_of
from .extrapolation import over_cache, with_untimed
from .forward import Times
from .inputs import check_positions, work_of
from .intervals import lower_end, upper_end
from .passes import PassTimes, pass_cost, step_times
from .prediction import BOUNDS
from .predictor import Predictor
from .self_drafts import Shares
from .target import Target, Work


class Draft(NamedTuple):
    """Speculative decoding: `model` drafts `lookahead` tokens, each accepted with probability `acceptance`.

    A draft that is the target's first blocks takes no memory and reads no prompt of its own; a module of it has its
    embedding and head.
    """

    name: str
    model: Architecture
    workload: Workload  # that of the target, with the draft's own number formats
    lookahead: int
    acceptance: float
    shares: Shares = ""


class Denoising(NamedTuple):
    """Block diffusion: blocks of `block_tokens` new tokens, each refined by `denoising_steps` passes over the cache."""

    block_tokens: int
    denoising_steps: int


Pair = tuple[Target, Target]  # what the model and its draft run on: their weights may have different formats


class Timed(NamedTuple):
    """Seconds by phase, what they are made of, and what is told of the way."""

    times: Times
    parts: list[Part]
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Generated:
    """Seconds with intervals, memory and bound, by the names of `Prediction`; `details` are of the way to generate."""

    prefill_s: float
    decode_s_per_token: float
    response_s: float
    prefill_s_low: float | None
    prefill_s_high: float | None
    decode_s_per_token_low: float | None
    decode_s_per_token_high: float | None
    response_s_low: float | None
    response_s_high: float | None
    peak_memory_bytes: float
    fits_memory: bool
    bound: str
    extrapolated: bool
    extrapolated_because: tuple[str, ...]
    device_s: float  # of the kernels of the whole response
    details: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Flat: the details beside the rest."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("details", "device_s")}
        return {**values, "extrapolated_because": list(self.extrapolated_because), **self.details}


def generate(
    predictor: Predictor,
    model: Architecture,
    workload: Workload,
    *,
    chunks: Chunks | None = None,
    way: Draft | Denoising | None = None,
) -> Generated:
    """A response whose prompt is read in `chunks`, and whose tokens come from a draft or from denoised blocks.

    Intervals are the widest of the profile's, as extrapolated where it measured no passes over a cache. They take the
    acceptance as given.

    Raises:
        UsageError: a value is out of range, nothing is generated, or a learned table of positions is too short.
    """
    check_way(chunks, way)
    if way is not None and not workload.new_tokens:
        raise UsageError("a draft and denoised blocks are of tokens to generate, and there are none (--generate 0)")
    work = work_of(workload)
    check_positions(model, work.cached + work.prompt + work.new + _overshoot(way))
    in_chunks = chunks is not None and chunks.chunk_tokens < workload.prompt_tokens
    plain = predictor.predict(model, workload.model_copy(update={"cached_tokens": 0}) if in_chunks else workload)
    unmeasured = () if _measures_passes(predictor) else _because(work, chunks, way)
    because = tuple(dict.fromkeys([*unmeasured, *plain.extrapolated_because]))
    hosts = zip(
        predictor.targets(workload.dtype, work.numbers.format), _draft_targets(predictor, workload, way), strict=True
    )
    own, fast, slow = (_timed(model, work, targets, chunks, way) for targets in hosts)
    width = predictor.interval.largest(extrapolated=bool(because))
    drafts = [(way.model, way.workload.numbers().format)] if isinstance(way, Draft) else []
    width = with_untimed(width, (model, work.numbers.format), *drafts)
    low = [_end(lower_end(*some, width)) for some in zip(own.times, fast.times, strict=True)]
    high = [_end(upper_end(*some, width)) for some in zip(own.times, slow.times, strict=True)]
    peak = peak_bytes(predictor, model, work, chunks, way)
    return Generated(
        *own.times, low[0], high[0], low[1], high[1], low[2], high[2], peak, peak <= predictor.memory_bytes,
        BOUNDS[max(own.parts).bound_code], bool(because), because,
        sum(part.device_s for part in own.parts), own.details,
    )  # fmt: skip


def _measures_passes(predictor: Predictor) -> bool:
    return "cached_tokens" in predictor.profile.runtimes[predictor.runtime].ranges


def _end(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds


def check_way(chunks: Chunks | None, way: Draft | Denoising | None) -> None:
    """Refuse what cannot be.

    Raises:
        UsageError: a number is not whole and positive, or an acceptance outside 0 to 1.
    """
    for record in (chunks, way):
        for name in ("chunk_tokens", "others_tokens", "lookahead", "block_tokens", "denoising_steps"):
            value = getattr(record, name, 1)
            if not (isinstance(value, int) and 1 <= value <= MAX_DIMENSION):
                raise UsageError(f"{name} must be a whole number from 1 to {MAX_DIMENSION} (got {value})")
    if isinstance(way, Draft) and not 0.0 <= way.acceptance <= 1.0:
        raise UsageError(f"acceptance must lie between 0 and 1 (got {way.acceptance:g})")


def _draft_targets(predictor: Predictor, workload: Workload, way: Draft | Denoising | None) -> Sequence[Target]:
    """What the draft runs on, whose weights may have another format; any target where there is none."""
    given = way.workload if isinstance(way, Draft) else workload
    return predictor.targets(given.dtype, given.numbers().format)


def _timed(
    model: Architecture,
    work: Work,
    pair: Pair,
    chunks: Chunks | None,
    way: Draft | Denoising | None,
) -> Timed:
    target = pair[0]
    prefill, details = chunked_prefill(model, work, target, chunks)
    if isinstance(way, Draft):
        return _drafted(model, work, pair, prefill, way, details)
    if isinstance(way, Denoising):
        return _denoised(model, work, target, prefill, way, details)
    mean = _decode_step(model, work, target)
    times = Times(prefill.seconds, mean.seconds, prefill.seconds + work.new * mean.seconds)
    return Timed(times, [prefill, part_of(mean, work.new)], details)


def _drafted(
    model: Architecture,
    work: Work,
    pair: Pair,
    prefill: Part,
    draft: Draft,
    details: dict[str, Any],
) -> Timed:
    """A round is `lookahead` decode steps of the draft and one pass of the target over them and the token before.

    Both read the prompt first. Contexts grow evenly over the generation; that the last round may give more tokens than
    are wanted, and that the draft reads a token more after a round in which all were accepted, is not counted.
    """
    (target, drafts_on), k, drafting = pair, draft.lookahead, work_of(draft.workload)
    own_prefill = NOTHING
    if draft.shares != "first blocks":
        own_prefill = part_of(step_times(draft.model, drafting.prefill(), False, drafting.numbers, drafts_on))
    one = _decode_step(draft.model, drafting, drafts_on, ahead=0.5 * (k - 1))
    first = work.cached + work.prompt
    ends = (Step(k + 1.0, context, work.batch) for context in (first, first + work.new - 1.0))
    check = pass_cost(model, next(ends), True, work.numbers, target, last=next(ends)).times(target)
    tokens, round_s = expected_tokens(draft.acceptance, k), k * one.seconds + check.seconds
    rounds, plain_s = work.new / tokens, _decode_step(model, work, target).seconds
    prefill_s, decode_s = prefill.seconds + own_prefill.seconds, round_s / tokens
    parts = [prefill, own_prefill, part_of(one, rounds * k), part_of(check, rounds)]
    details = {
        **details, "draft": draft.name, "lookahead": k, "acceptance": draft.acceptance, "tokens_per_round": tokens,
        "round_s": round_s, "draft_step_s": one.seconds, "verification_s": check.seconds,
        "decode_speedup": plain_s / decode_s, "break_even_acceptance": break_even_acceptance(round_s, plain_s, k),
    }  # fmt: skip
    return Timed(Times(prefill_s, decode_s, prefill_s + work.new * decode_s), parts, details)


def _denoised(
    model: Architecture, work: Work, target: Target, prefill: Part, way: Denoising, details: dict[str, Any]
) -> Timed:
    """Every block is whole, has logits at all its positions, and attends to what is before it as to a cache.

    Its positions see each other in both directions; the pairs that a causal mask would leave out are not counted.
    """
    blocks = math.ceil(work.new / way.block_tokens)
    starts = work.cached + work.prompt + way.block_tokens * np.arange(blocks)
    passes = step_times(
        model, Step(np.full(blocks, float(way.block_tokens)), starts, work.batch), True, work.numbers, target
    )
    total, busy = (way.denoising_steps * float(np.sum(some)) for some in (passes.seconds, passes.device_s))
    last = part_of(PassTimes(*(column[-1] for column in passes)))
    details = {**details, "block_tokens": way.block_tokens, "denoising_steps": way.denoising_steps,
               "passes": blocks * way.denoising_steps}  # fmt: skip
    times = Times(prefill.seconds, total / work.new, prefill.seconds + total)
    return Timed(times, [prefill, Part(total, last.bound_code, busy)], details)


def _decode_step(model: Architecture, work: Work, target: Target, ahead: float = 0.0) -> PassTimes:
    """The mean decode step over the growing context, `ahead` positions further on."""
    first, last = (step._replace(cached_tokens=step.cached_tokens + ahead) for step in work.decode())
    return pass_cost(model, first, work.logits_all, work.numbers, target, last=last).times(target)


def peak_bytes(
    predictor: Predictor, model: Architecture, work: Work, chunks: Chunks | None, way: Draft | Denoising | None
) -> float:
    """At the peak: activations of one chunk, and with a draft its weights and cache beside."""
    if chunks is not None and chunks.chunk_tokens < work.prompt:
        chunk = float(chunks.chunk_tokens)
        work = work._replace(prompt=chunk, cached=work.cached + work.prompt - chunk)
    work = work._replace(new=work.new + _overshoot(way))
    peak = predictor.memory(model, work)
    if not isinstance(way, Draft) or way.shares == "first blocks":
        return float(peak.peak_bytes)
    beside = replace(way.model, vocab_size=0.0) if way.shares == "module" else way.model
    other = predictor.memory(beside, work_of(way.workload)._replace(new=work.new))
    transient = max(peak.transient_bytes, other.transient_bytes)
    kept = peak.weight_bytes + peak.cache_bytes + other.weight_bytes + other.cache_bytes
    return float(kept + transient + max(peak.overhead_bytes, other.overhead_bytes))


def _overshoot(way: Draft | Denoising | None) -> int:
    """Positions that may be written beyond the last token that is wanted."""
    return way.lookahead if isinstance(way, Draft) else way.block_tokens - 1 if isinstance(way, Denoising) else 0


def _because(work: Work, chunks: Chunks | None, way: Draft | Denoising | None) -> tuple[str, ...]:
    """Which passes over a cache no profile has measured, a cached prefix aside."""
    lines, context = [], work.cached + work.prompt
    if chunks is not None and 1 < chunks.chunk_tokens < work.prompt:
        lines.append(over_cache(chunks.chunk_tokens, work.cached + work.prompt - chunks.chunk_tokens))
    if isinstance(way, Draft):
        lines.append(over_cache(way.lookahead + 1, context))
    elif isinstance(way, Denoising) and way.block_tokens > 1:
        lines.append(over_cache(way.block_tokens, context))
    return tuple(lines)
