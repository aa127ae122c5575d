"""What is measured of an engine that runs whole models: small Llamas, each at two depths, so that differences tell a
block; prompts and generation from short and long contexts."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from latmodel.errors import LatmodelError
from latmodel.model.config import ModelConfig

from ..engines.whole_model import Child
from ..measure.rounds import Log

CONTEXT = 1536
VOCABULARY = 8192
# hidden, FFN, heads, KV heads, depths: ratios of 2.7 to 4, groups of 1 to 8; widths are multiples of 256, for K-quants.
# Even the shallow ones are larger in 4 bits than the caches of most processors: 60 million weights and more.
SHAPES = (
    (512, 2048, 8, 2, (16, 40)), (768, 2048, 12, 12, (10, 24)), (1024, 2816, 16, 4, (8, 20)),
    (1280, 3584, 20, 4, (5, 12)), (1536, 5376, 24, 3, (4, 9)),
)  # fmt: skip
LOADS = {"quick": 2, "normal": 3, "rigorous": 5}  # of each file: where it lands in memory changes its speed
REPEATS = 2


class EngineCase(NamedTuple):
    """One timing of one model: a prompt of `tokens`, or `tokens` written after `depth` in the cache."""

    config: ModelConfig
    phase: str
    depth: int
    tokens: int

    @property
    def name(self) -> str:
        """Shape, phase and lengths."""
        c = self.config
        return f"{c.num_hidden_layers}x{c.hidden_size}-{self.phase}-{self.depth}+{self.tokens}"


RUNS = (("prefill", 0, 128), ("prefill", 0, 512), ("decode", 16, 24), ("decode", 1024, 12))


def cases() -> list[EngineCase]:
    """All of them, a model's together."""
    configs = [
        ModelConfig(
            num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
            num_key_value_heads=kv_heads, vocab_size=VOCABULARY, tie_word_embeddings=False,
        )
        for hidden, ffn, heads, kv_heads, depths in SHAPES
        for layers in depths
    ]  # fmt: skip
    return [EngineCase(config, *run) for config in configs for run in RUNS]


def fingerprint(some: list[EngineCase], loads: int) -> str:
    """Changes whenever what is measured does."""
    text = json.dumps([[case.config.model_dump(), *case[1:]] for case in some] + [loads, REPEATS])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def measure_engine(
    engine: str, weights: str, threads: int, loads: int, log: Log, say: Callable[[str], None]
) -> None:  # fmt: skip
    """Time every case, each model in a process and loaded anew in every round; what the log holds is not repeated.

    A model that fails twice is skipped, and said so.
    """
    done = {(record["case"], record["round"]) for record in log.records}
    for models in range(loads):
        for config, some in _by_model(cases()):
            left = [case for case in some if (case.name, models) not in done]
            for attempt in (1, 2):
                if not left:
                    break
                try:
                    for record in _time(engine, config, weights, threads, left, models):
                        log.append(record)
                    break
                except LatmodelError as error:
                    say(f"warning: {left[0].name}: {error}" + ("; once more" if attempt == 1 else "; skipped"))


def _by_model(some: list[EngineCase]) -> Iterator[tuple[ModelConfig, list[EngineCase]]]:
    for config in dict.fromkeys(case.config for case in some):
        yield config, [case for case in some if case.config == config]


def _time(
    engine: str, config: ModelConfig, weights: str, threads: int, some: list[EngineCase], load: int
) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="latmodel-") as folder, Child(engine) as child:
        path = Path(folder) / "model.gguf"
        child.write(path, config, weights, load)
        child.open(path, threads, CONTEXT)
        child.prefill(some[0].tokens)  # warm
        for case in some:
            times = [
                child.prefill(case.tokens) if case.phase == "prefill" else child.decode(case.depth, case.tokens)
                for _ in range(REPEATS)
            ]
            yield {
                "kind": "sample", "case": case.name, "phase": case.phase, "round": load, "attempt": 0,
                "wall_s": times, "replay_s": None, "flags": [], "before": None, "after": None,
            }  # fmt: skip
