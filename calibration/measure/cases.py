"""What is measured: one part of a model, in one phase, of one shape. Plain data; no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from latmodel.model.config import CONFIG_FIELDS, DTYPE_BYTES, ModelConfig, Workload
from latmodel.model.memory import peak_memory
from latmodel.model.totals import block_parameters, num_parameters
from latmodel.runtimes.transformers_eager import TRANSFORMERS

from ..observations.decoder_config import DecoderConfig
from ..observations.record import Observation

Part = Literal["blocks", "head", "model"]
Phase = Literal["prefill", "decode"]
Timing = Literal["wall", "loop", "device"]

ALIGNMENT = 64  # elements: PyTorch's CPU allocator aligns to 64 bytes, cuBLAS wants 16
PARTS_OF_A_BLOCK = 9  # separately aligned weights
PARTS_OF_ANY_BLOCK = 40  # of the most divided block of any decoder, twice over
# The ring's weights exceed the last-level cache this many times: nothing of a block survives until it comes round.
RING_OVER_CACHE = 3.0


@dataclass(frozen=True)
class Case:
    """One thing to time. `config.num_hidden_layers` is the depth of the ring of blocks (for a head: its copies).

    A decoder that is no plain Llama runs as a whole model of few blocks: its layers need what surrounds them.
    """

    name: str
    part: Part
    phase: Phase
    config: ModelConfig | DecoderConfig
    workload: Workload
    runtime: str
    held_out: bool = False
    cold: bool = False  # the cache is cleared before each run: a small model in a large one's place

    @property
    def shape(self) -> ModelConfig:
        """The dimensions of a plain Llama."""
        assert isinstance(self.config, ModelConfig), "other decoders are run by `decoder`"
        return self.config

    @property
    def cached(self) -> int:
        """Positions in the cache before the first measured token."""
        return self.workload.prompt_tokens if self.phase == "decode" else self.workload.cached_tokens

    @property
    def context(self) -> int:
        """Positions in the cache once the last measured token is in."""
        return self.cached + (self.workload.new_tokens if self.phase == "decode" else self.workload.prompt_tokens)

    @property
    def units(self) -> int:
        """Observed passes in one run: copies of a head, steps of a decode, else one."""
        if self.part == "head":
            return self.config.num_hidden_layers
        return self.workload.new_tokens if self.phase == "decode" else 1

    def observation(
        self, gpu: str, timing: Timing, seconds: float, noise: float, flags: tuple[str, ...]
    ) -> Observation:
        """The record of one measured time of this case."""
        c, w = self.config, self.workload
        set_apart = (*flags, "held-out") if self.held_out else flags
        dimensions = (
            {"config": c.text}
            if isinstance(c, DecoderConfig)
            else {name: getattr(c, name) for name in CONFIG_FIELDS if name not in ("hidden_size", "vocab_size")}
        )
        dimensions |= {"num_hidden_layers": 0 if self.part == "head" else c.num_hidden_layers}
        return Observation(
            part=self.part, phase=self.phase, timing=timing, seconds=seconds, noise=noise, flags=set_apart, gpu=gpu,
            runtime=self.runtime, dtype=w.dtype, logits=w.logits, hidden_size=c.hidden_size, vocab_size=c.vocab_size,
            batch_size=w.batch_size, prompt_tokens=w.prompt_tokens, cached_tokens=w.cached_tokens,
            new_tokens=w.new_tokens if self.phase == "decode" else 0, source="latmodel calibrate", name=self.name,
            **dimensions,
        )  # fmt: skip


def ring_depth(config: ModelConfig, dtype: str, cache_bytes: float) -> int:
    """Blocks whose weights together exceed the last-level cache `RING_OVER_CACHE` times; two at least."""
    block = config.architecture().groups[0].block
    weight_bytes = float(block_parameters(block, float(config.hidden_size))) * DTYPE_BYTES[dtype]
    return max(2, math.ceil(RING_OVER_CACHE * cache_bytes / weight_bytes))


def weight_elements(case: Case) -> int:
    """Numbers that the weights of a case take, padding for alignment included."""
    if isinstance(case.config, DecoderConfig):
        parts = (case.config.num_hidden_layers * PARTS_OF_ANY_BLOCK + 8) * ALIGNMENT
        return int(num_parameters(case.config.architecture())) + parts
    copies, depth = (case.config.num_hidden_layers, 1) if case.part == "head" else (1, case.config.num_hidden_layers)
    vocab = 1 if case.part == "blocks" else case.config.vocab_size
    config = case.config.model_copy(update={"num_hidden_layers": depth, "vocab_size": vocab})
    return copies * (int(num_parameters(config.architecture())) + (depth * PARTS_OF_A_BLOCK + 3) * ALIGNMENT)


def case_bytes(case: Case) -> float:
    """Bytes that a case will need at its peak: weights, caches (copied as they grow), widest activations."""
    w = case.workload
    peak = peak_memory(
        case.config.architecture(), batch=w.batch_size, prompt=w.prompt_tokens, new=w.new_tokens,
        logits_all=w.logits == "all", numbers=w.numbers(), implementation=TRANSFORMERS, cached=w.cached_tokens,
    )  # fmt: skip
    return float(peak.peak_bytes - peak.weight_bytes) + weight_elements(case) * w.numbers().weight_bytes
