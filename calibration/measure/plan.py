"""Which cases to measure: shapes spread evenly over the regimes, a head, whole small models, and shapes held out."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from latmodel.model.architecture import Architecture
from latmodel.model.config import DTYPE_BYTES, ModelConfig, Workload
from latmodel.model.totals import block_parameters, num_parameters

from ..observations.decoder_config import DecoderConfig
from .cases import RING_OVER_CACHE, Case, Part, Phase, ring_depth
from .reference import Reference
from .samples import Rules
from .shapes import between, config_of, dividing, near, points, shape_at, spread

Effort = Literal["quick", "normal", "rigorous"]


@dataclass(frozen=True)
class Scale:
    """How large the shapes are that suit a device: the ends of each range, all log-spaced."""

    hidden: tuple[int, int]
    prompt: tuple[int, int]
    context: tuple[int, int]
    cached: tuple[int, int]  # before a pass of several tokens
    vocab: tuple[int, int]
    most_batch: int
    most_flops: float  # of one prefill run: longer prompts of wide blocks are cut to it
    cold_models: bool  # a last-level cache holds the small models whole, and the time is in reading them


CPU = Scale((128, 1024), (32, 512), (32, 4096), (128, 4096), (2048, 32768), 4, 8e9, cold_models=True)
GPU = Scale((512, 8192), (64, 4096), (64, 8192), (512, 16384), (16384, 131072), 32, 1e14, cold_models=False)

# Shapes measured, shapes held out, heads, whole models; and how each is sampled. Of 19 errors the 18th is their 90 %
# quantile.
EFFORTS: dict[str, tuple[int, int, int, int, Rules]] = {
    "quick": (15, 4, 2, 2, Rules(rounds=2, sample_s=0.3)),
    "normal": (30, 10, 4, 3, Rules(rounds=3, sample_s=0.5)),
    "rigorous": (72, 24, 6, 4, Rules(rounds=4, sample_s=1.5, precision=0.002)),
}
# Passes of so many tokens over a cache, in turn, and how many of them: checks of drafted tokens, short turns of a talk.
PASS_TOKENS = (2, 4, 8, 16)
PASSES = {"quick": 4, "normal": 8, "rigorous": 20}
JITTER = (
    0.008  # of blocks within a sample: the median of 390 samples on one shared CPU core, 0.006 and 0.008 of two runs
)
SETUP_S = 0.15  # making a case, warming it up and timing the references, seen on one CPU core
COLD_ROWS = 256.0  # at so many rows reading cold weights is still a tenth of a bfloat16 product on a CPU
DECODE_STEPS = 4  # a growing cache behaves differently from one that is written at the same place again and again
OVERRUN = 1.2  # samples that are repeated
DECODER_FLOPS = 4.0  # a hybrid's recurrent layers need prompts of several chunks, whatever its width
LEAST_VOCAB = 256


@dataclass(frozen=True)
class Plan:
    """What a calibration does: cases, reference cases, rules. `fingerprint` binds measurements to it."""

    cases: tuple[Case, ...]
    references: tuple[Case, ...]
    rules: Rules

    @property
    def fingerprint(self) -> str:
        """A short hash of all that is measured and how."""
        text = json.dumps([repr(item) for item in (*self.cases, *self.references, self.rules)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def estimate_s(self, seconds_of: Callable[[Case], float]) -> float:
        """Expected duration, from the expected seconds of one run of each case."""
        rules, total = self.rules, 0.0
        for case in self.cases:
            total += SETUP_S + rules.expected_s(seconds_of(case) * case.units, JITTER)
        once = [seconds_of(case) for case in self.references]
        references = sum(seconds * (1 + Reference.runs(seconds)) for seconds in once) * len(self.cases)
        return OVERRUN * rules.rounds * (total + references)


def make_plan(
    effort: str,
    runtime: str,
    dtype: str,
    scale: Scale,
    cache_bytes: float,
    like: ModelConfig | DecoderConfig | None = None,
    seed: int = 0,
    passes: bool = True,
) -> Plan:
    """The cases of one runtime and dtype.

    Args:
        effort: "quick", "normal" or "rigorous".
        runtime: what runs the blocks.
        dtype: of weights and activations.
        scale: sizes that suit the device.
        cache_bytes: last-level cache; rings are made larger than it.
        like: measure blocks of this architecture (and near it) instead of the whole range; if they are no plain Llama
            blocks, its own kinds of layers at its own width in two points of three, Llama blocks near it in the third.
        seed: shifts the sequence of shapes.
        passes: time several tokens over a cache too; only of Llama blocks: what recurrent layers keep of several tokens
            depends on the class.
    """
    measured, held_out, heads, models, rules = EFFORTS[effort]
    maker = _Maker(runtime, dtype, cache_bytes, scale.most_flops)
    at = points(measured + held_out, seed)
    cases: list[Case] = []
    every = round((measured + held_out) / held_out)
    chosen = spread(PASSES[effort], measured + held_out) if passes else []
    for index, point in enumerate(at):
        set_apart = index % every == every // 2 and index // every < held_out
        name = f"{'held-' if set_apart else ''}{index:02d}"
        batch = _batch(point[5], scale.most_batch)
        prompt = between(point[4], *scale.prompt, step=1)
        context = between(point[6], *scale.context, step=1)
        prompt_batch = batch if batch * prompt <= scale.prompt[1] else 1
        if isinstance(like, DecoderConfig) and index % 3:
            cases.append(maker.decoder(f"{name}-prefill", "prefill", like, prompt, prompt_batch, set_apart))
            cases.append(maker.decoder(f"{name}-decode", "decode", like, context, batch, set_apart))
            continue
        if isinstance(like, ModelConfig):
            shape = near(like, point)
        else:
            shape = shape_at(point, _around(scale, like).hidden, index)
        cases.append(maker.block(f"{name}-prefill", "prefill", shape, prompt, prompt_batch, set_apart))
        cases.append(maker.block(f"{name}-decode", "decode", shape, context, batch, set_apart))
        if index in chosen:
            new = PASS_TOKENS[chosen.index(index) % len(PASS_TOKENS)]
            cached = between(point[6], *scale.cached, step=1)
            cases.append(maker.block(f"{name}-pass", "prefill", shape, new, batch, set_apart, cached))
    cases += maker.heads(heads, scale, like)
    cases += maker.models(models, scale)
    return Plan(tuple(cases), maker.references(scale), rules)


def _around(scale: Scale, like: DecoderConfig | None) -> Scale:
    """The scale with hidden sizes from half to twice that of `like`."""
    if like is None:
        return scale
    low, high = max(64, like.hidden_size // 128 * 64), max(128, like.hidden_size // 64 * 128)
    return replace(scale, hidden=(low, min(high, max(scale.hidden[1], like.hidden_size))))


def active_parameters(model: Architecture) -> float:
    """Parameters of all blocks that one token passes through: of experts those that are chosen."""
    total = 0.0
    for group in model.groups:
        layer = group.block.feed_forward
        active = replace(group.block, feed_forward=None if layer is None else layer.active())
        total += float(group.count * block_parameters(active, model.hidden_size))
    return total


def _batch(share: float, most: int) -> int:
    """1 for more than half of the points, else a power of two."""
    return 1 if share < 0.55 else 1 << math.ceil((share - 0.55) / 0.45 * math.log2(most) + 1e-9)


class _Maker:
    """Makes cases of one runtime and dtype."""

    def __init__(self, runtime: str, dtype: str, cache_bytes: float, most_flops: float) -> None:
        self._runtime, self._dtype, self._cache = runtime, dtype, cache_bytes
        self._most_flops = most_flops

    def block(
        self, name: str, phase: Phase, shape: ModelConfig, prompt: int, batch: int, held_out: bool, cached: int = 0
    ) -> Case:
        """A ring of blocks; `cached` positions before a prompt make it a pass over a cache."""
        cache = self._cache if phase == "decode" or cached else self._prefill_cache(batch * prompt)
        ring = shape.model_copy(update={"num_hidden_layers": ring_depth(shape, self._dtype, cache)})
        if phase == "prefill" and not cached:
            rows = self._most_flops / (2.0 * float(num_parameters(ring.architecture())))
            prompt = max(16, min(prompt, int(rows / batch)))
        return self._case(name, "blocks", phase, ring, prompt, DECODE_STEPS, batch, held_out, cached=cached)

    def _prefill_cache(self, rows: int) -> float:
        """In prefill a block's weights are read once for many rows: the more, the less their being cold matters."""
        return 0.4 * self._cache * min(1.0, COLD_ROWS / rows)

    def decoder(self, name: str, phase: Phase, like: DecoderConfig, prompt: int, batch: int, held_out: bool) -> Case:
        """A model of each of its kinds of layers at least, and in decode of more than the cache holds."""
        layers, vocab = like.period(), min(like.vocab_size, LEAST_VOCAB)
        active = active_parameters(like.resized(layers).architecture())
        cache = self._cache if phase == "decode" else self._prefill_cache(batch * prompt)
        rounds = max(1, math.ceil(RING_OVER_CACHE * cache / (DTYPE_BYTES[self._dtype] * active)))
        if phase == "prefill":
            most = DECODER_FLOPS * self._most_flops / (2.0 * active * rounds)
            prompt = max(16, min(prompt, int(most / batch)))
        config = like.resized(layers * rounds, vocab)
        return self._case(name, "model", phase, config, prompt, DECODE_STEPS, batch, held_out)

    def heads(self, count: int, scale: Scale, like: ModelConfig | DecoderConfig | None) -> list[Case]:
        """LM heads over the ranges of hidden size and vocabulary; one computes logits of every position."""
        cases = []
        for index in range(count):
            share = (index + 0.5) / count
            hidden = between(share, *scale.hidden, step=64) if like is None else like.hidden_size
            vocab = between(1.0 - share, *scale.vocab, step=64) if like is None else like.vocab_size
            heads = dividing(hidden, hidden // 64)
            shape = config_of(hidden, 4 * hidden, heads, heads, 64, vocab_size=vocab)
            size = {"float32": 4.0}.get(self._dtype, 2.0) * hidden * vocab
            copies = max(1, math.ceil(3.0 * self._cache / size))
            ring = shape.model_copy(update={"num_hidden_layers": copies})
            phase: Phase = "prefill" if index == count - 1 else "decode"
            cases.append(
                self._case(f"head-{index}", "head", phase, ring, 16, 1, 1, False, logits_all=phase == "prefill")
            )
        return cases

    def models(self, count: int, scale: Scale) -> list[Case]:
        """Whole models of few, narrow layers: what a pass and a token cost apart from the layers."""
        cases = []
        for index in range(count):
            hidden = scale.hidden[0] * (1 + index % 2)
            shape = config_of(hidden, 3 * hidden, hidden // 64, hidden // 64, 64, vocab_size=scale.vocab[0])
            config = shape.model_copy(update={"num_hidden_layers": 2 + 2 * index})
            for phase in ("prefill", "decode"):
                name = f"model-{index}-{phase}"
                steps = 1 if scale.cold_models else 8  # the first after the cache was cleared is the only cold one
                case = self._case(name, "model", phase, config, 16 * (1 + index), steps, 1, False)
                cases.append(replace(case, cold=scale.cold_models))
        return cases

    def references(self, scale: Scale) -> tuple[Case, Case]:
        """One block in the middle of the range, in both phases."""
        hidden = between(0.5, *scale.hidden, step=64)
        shape = config_of(hidden, 3 * hidden, hidden // 64, hidden // 64, 64)
        prefill = self.block("reference-prefill", "prefill", shape, 64, 1, False)
        decode = self.block("reference-decode", "decode", shape, 64, 1, False)
        # Short: they are timed after every sample.
        once = decode.workload.model_copy(update={"new_tokens": 1})
        return (
            replace(prefill, config=shape.model_copy(update={"num_hidden_layers": 2})),
            replace(decode, workload=once),
        )

    def _case(
        self, name: str, part: Part, phase: Phase, config: ModelConfig | DecoderConfig, prompt: int, new: int,
        batch: int, held_out: bool, logits_all: bool = False, cached: int = 0,
    ) -> Case:  # fmt: skip
        work = Workload(
            prompt_tokens=prompt, new_tokens=new, batch_size=batch, dtype=self._dtype,  # type: ignore[arg-type]
            logits="all" if logits_all else "last", cached_tokens=cached,
        )  # fmt: skip
        return Case(name, part, phase, config, work, self._runtime, held_out=held_out)
