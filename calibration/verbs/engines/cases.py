"""What is measured of an engine that runs whole models: small Llamas, each at two depths, so that differences tell a
block; prompts, generation from short and long contexts, and a few tokens read behind such contexts."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError
from latmodel.model.config import ModelConfig
from latmodel.model.totals import num_parameters

from ...devices.host import available_memory
from ...engines.whole.whole_model import Child
from ...measure.rounds import Log
from ...published.llama_cpp.formats import format_of

Say = Callable[[str], None]
Shape = tuple[int, int, int, int, tuple[int, ...]]  # hidden, FFN, heads, KV heads, depths
Run = tuple[str, int, int]  # phase, depth, tokens: of an `EngineCase`

CONTEXT, MARGIN = 1024, 64  # positions that a model is opened for at least, and beyond those that are used
VOCABULARY = 8192
# Ratios of 2.7 to 4, groups of 1 (at two widths, so that one can be left out) to
# 8; widths are multiples of 256, for K-quants. Even the shallow ones are some times larger in 4 bits than the caches of
# most processors, 170 million weights and more. Of 60 million, 32 MB of cache kept enough to be 10 % faster.
SHAPES: tuple[Shape, ...] = (
    (512, 2048, 8, 8, (40, 60)), (768, 2048, 12, 12, (24, 36)), (1024, 2816, 16, 4, (16, 24)),
    (1280, 3584, 20, 4, (10, 15)), (1536, 5376, 24, 3, (6, 9)),
)  # fmt: skip
LOADS = {"quick": 3, "normal": 4, "rigorous": 6}  # of each file: where it lands in memory changes its speed
REPEATS = {"prefill": 2, "step": 2, "decode": 3}
SHORT_PROMPT = 128  # of longer ones one repeat is enough: those before have warmed the model up


class EngineCase(NamedTuple):
    """One timing of one model, after `depth` tokens in the cache: `tokens` of a prompt ("prefill": into an empty cache,
    "step": behind one) read at once, or as many written one by one."""

    config: ModelConfig
    phase: str
    depth: int
    tokens: int

    @property
    def name(self) -> str:
        """Shape, phase and lengths."""
        c = self.config
        return f"{c.num_hidden_layers}x{c.hidden_size}-{self.phase}-{self.depth}+{self.tokens}"


# Long contexts first: what is in the cache then serves the shorter ones. Where the cache lands in memory changes the
# speed of attention, from load to load and from context to context, by up to a half. Passes of few tokens are of the
# sizes at which engines take other kernels, and of one between (6).
RUNS = (
    ("prefill", 0, 128), ("prefill", 0, 384), ("decode", 640, 12), ("step", 640, 2), ("step", 640, 32),
    ("decode", 256, 12), ("decode", 16, 24),
    ("step", 16, 2), ("step", 16, 4), ("step", 16, 6), ("step", 16, 8), ("step", 16, 16),
)  # fmt: skip
# Of the shallow model of some widths: a cache that the processor's own does not hold, which takes seconds to fill.
LONG_RUNS, LONG_WIDTHS = (("decode", 2048, 8), ("step", 2048, 2), ("step", 2048, 8)), (768, 1024, 1280)


def cases(few_rows: bool = True) -> list[EngineCase]:
    """All of them, a model's together; passes of a few tokens where the law knows of the engine's kernels for those."""
    shallow = {(shape[0], min(shape[-1])) for shape in SHAPES if shape[0] in LONG_WIDTHS}
    runs, long_runs = ([run for run in some if few_rows or run[0] != "step"] for some in (RUNS, LONG_RUNS))
    return cases_of(SHAPES, runs, long_runs, shallow)


def cases_of(
    shapes: Sequence[Shape], runs: Sequence[Run], more: Sequence[Run] = (), of: Collection[tuple[int, int]] = ()
) -> list[EngineCase]:
    """`runs` of models of these shapes, prompts first, and `more` of those whose width and depth are in `of`."""
    found = []
    for hidden, ffn, heads, kv_heads, depths in shapes:
        for layers in depths:
            config = ModelConfig(
                num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
                num_key_value_heads=kv_heads, vocab_size=VOCABULARY, tie_word_embeddings=False,
            )  # fmt: skip
            some = (*more, *runs) if (hidden, layers) in of else runs
            found += [EngineCase(config, *run) for run in sorted(some, key=lambda run: run[0] != "prefill")]
    return found


def fingerprint(some: list[EngineCase], loads: int) -> str:
    """Changes whenever what is measured does."""
    text = json.dumps([[case.config.model_dump(), *case[1:]] for case in some] + [loads, REPEATS])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def measure_engine(
    engine: str, weights: str, options: EngineOptions, loads: int, log: Log, say: Say, folder: Path,
    plan: Sequence[EngineCase],
) -> None:  # fmt: skip
    """Time every case of the plan, each model in a process and loaded anew in every round; what the log holds stays.

    Models are written to `folder` once, and found there again. One that fails twice is skipped, and said so.
    """
    done = {(record["case"], record["round"]) for record in log.records}
    left = {
        (load, config): some
        for load in range(loads)
        for config in dict.fromkeys(case.config for case in plan)
        if (some := [case for case in plan if case.config == config and (case.name, load) not in done])
    }  # fmt: skip
    paths = _written(engine, weights, list(dict.fromkeys(config for _, config in left)), folder, say)
    for (load, config), some in left.items():
        if config in paths:
            context = max(CONTEXT, *(case.depth + case.tokens + MARGIN for case in plan if case.config == config))
            _try_twice(Model(engine, options, paths[config], context), some, load, log, say)


def _written(
    engine: str, weights: str, configs: Collection[ModelConfig], folder: Path, say: Say
) -> dict[ModelConfig, Path]:
    """The models in files, all by one process; those for which there is no memory, or that fail twice, are left out."""
    paths = {config: folder / f"{config.num_hidden_layers}x{config.hidden_size}" for config in configs}
    todo = [config for config, path in paths.items() if not path.exists()]
    tried: Counter[ModelConfig] = Counter()
    while todo:
        config = todo[0]
        try:
            _check_room(config, weights)
            with Child(engine) as child:
                while todo:
                    config = todo[0]
                    _check_room(config, weights)
                    child.write_whole(paths[config], config, weights)
                    todo.pop(0)
        except LatmodelError as error:
            tried[config] += 1
            once_more = tried[config] == 1
            say(f"warning: {paths[config].name}: {error}" + ("; once more" if once_more else "; skipped"))
            if not once_more:
                todo.pop(0)
    return {config: path for config, path in paths.items() if path.exists()}


def _check_room(config: ModelConfig, weights: str) -> None:
    """Refuse a model that the memory which is free does not hold twice: as it is written, and as it is loaded."""
    form, free = format_of(weights), available_memory()
    assert form is not None, "the engine has the format"
    needed = 2.0 * num_parameters(config.architecture()) * form.bytes_each
    if free < needed:
        raise LatmodelError(f"needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free: close other programs")


class Model(NamedTuple):
    """A model in a file, and how an engine opens it."""

    engine: str
    options: EngineOptions
    path: Path
    context: int


def _try_twice(model: Model, some: list[EngineCase], load: int, log: Log, say: Say) -> None:
    left = list(some)
    for attempt in (1, 2):
        if not left:
            return
        try:
            for record in _time(model, left, load):
                log.append(record)
                left.pop(0)
        except LatmodelError as error:
            say(f"warning: {left[0].name}: {error}" + ("; once more" if attempt == 1 else "; skipped"))


def _time(model: Model, some: list[EngineCase], load: int) -> Iterator[dict[str, Any]]:
    with Child(model.engine) as child:
        child.open(model.path, model.options, model.context)
        child.prefill(some[0].tokens)  # warm
        for case in tuple(some):
            times = [_seconds(child, case) for _ in range(_repeats(case))]
            yield {
                "kind": "sample", "case": case.name, "phase": case.phase, "round": load, "attempt": 0,
                "wall_s": times, "replay_s": None, "flags": [], "before": None, "after": None,
            }  # fmt: skip


def _repeats(case: EngineCase) -> int:
    return 1 if case.phase == "prefill" and case.tokens > SHORT_PROMPT else REPEATS[case.phase]


def _seconds(child: Child, case: EngineCase) -> float:
    """One timing: of the whole prompt or pass, of a mean token."""
    if case.phase == "prefill":
        return child.prefill(case.tokens)
    return (child.behind if case.phase == "step" else child.decode)(case.depth, case.tokens)
