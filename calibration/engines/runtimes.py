"""How each runtime runs a case: a function that enqueues one run of it, and nothing about timing."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ..measure.cases import Case
from ..observations.decoder_config import DecoderConfig
from .block import (
    DTYPES,
    Arena,
    BlockWeights,
    Cache,
    HeadWeights,
    block_forward,
    block_weights,
    case_tokens,
    head_forward,
    head_weights,
    new_cache,
    rope_table,
)

Run = Callable[[], object]
Build = Callable[[Case, Arena, torch.device], Run]
BlockFunction = Callable[[BlockWeights, Tensor, Tensor, Tensor, Cache, int], Tensor]


class Runtime(NamedTuple):
    """Software that launches kernels. `implementation` names it in `latmodel.runtimes.registry`."""

    name: str
    implementation: str
    build: Build
    graph: bool = False  # what is timed is the replay of a device graph
    any_decoder: bool = False  # builds what Transformers can; the others Llama blocks alone

    def on(self, kind: str) -> str:
        """The implementation on a device of `kind` ("cpu" or any accelerator)."""
        own = f"{self.implementation}-{kind}"
        return own if own in IMPLEMENTATIONS else self.implementation

    def check(self, config: ModelConfig | DecoderConfig | None) -> None:
        """Refuse an architecture that it cannot build.

        Raises:
            UsageError: the configuration is of no plain Llama.
        """
        if isinstance(config, DecoderConfig) and not self.any_decoder:
            raise UsageError(
                f"{self.name} builds Llama blocks alone, not {config.fields.get('model_type')!r}; "
                "use --runtime transformers-eager"
            )


def runtime(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        UsageError: there is no such runtime, or what it needs is not installed.
    """
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {name[:40]!r}: choose from {', '.join(RUNTIMES)}")
    if name == "transformers-eager":
        try:
            import transformers  # noqa: F401
        except ImportError:
            raise UsageError(f"runtime {name} needs Transformers: pip install 'latmodel[transformers]'") from None
    return RUNTIMES[name]


def _eager(case: Case, arena: Arena, device: torch.device) -> Run:
    return _own(case, arena, device, block_forward)


def _compiled(case: Case, arena: Arena, device: torch.device) -> Run:
    # A function of its own: what is compiled for one case counts against no other's limit and ends with it, while the
    # reference stays compiled.
    code = block_forward.__code__.replace(co_name=block_forward.__name__)
    block = FunctionType(code, block_forward.__globals__, block_forward.__name__)
    # One position for all steps: every other one would be compiled anew. The cache is written in place, so that
    # nothing but some tokens of context is lost.
    return _own(case, arena, device, torch.compile(block, dynamic=False), fixed=True)


def _transformers(case: Case, arena: Arena, device: torch.device) -> Run:
    if isinstance(case.config, DecoderConfig):
        from .decoder import decoder_run

        return decoder_run(case, arena, device)
    from .llama import llama_run

    return llama_run(case, arena, device)


RUNTIMES = {
    "transformers-eager": Runtime("transformers-eager", "transformers", _transformers, any_decoder=True),
    "torch-eager": Runtime("torch-eager", "torch", _eager),
    "cuda-graph": Runtime("cuda-graph", "torch", _eager, graph=True),
    "torch-compile": Runtime("torch-compile", "compiled", _compiled),
}


def _own(case: Case, arena: Arena, device: torch.device, block: BlockFunction, fixed: bool = False) -> Run:
    arena.rewind()
    if case.part == "head":
        return _heads(case, arena, device)
    decoder = OwnDecoder(case.shape, case.workload.batch_size, case.context, DTYPES[case.workload.dtype], device)
    decoder.take_weights(arena, with_head=case.part == "model")
    if case.part == "model":
        return _model(case, decoder, device, block, _starts(case, fixed))
    tokens = case.workload.prompt_tokens if case.phase == "prefill" else 1
    x = torch.randn(case.workload.batch_size, tokens, case.shape.hidden_size, device=device)
    x = x.to(DTYPES[case.workload.dtype])

    def run() -> None:
        for start in _starts(case, fixed):
            decoder.blocks(x, start, block)

    return run


class OwnDecoder:
    """A whole decoder of our own blocks: weights from an arena, caches with room for `positions`."""

    def __init__(
        self, config: ModelConfig, batch: int, positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._config = config
        self._caches = [new_cache(config, batch, positions, dtype, device) for _ in range(config.num_hidden_layers)]
        self._cos, self._sin = rope_table(config, positions, dtype, device)
        self._weights: Sequence[BlockWeights] = ()
        self._head: HeadWeights | None = None

    def take_weights(self, arena: Arena, with_head: bool) -> None:
        """Cut all weights from the arena, from where it stands."""
        self._head = head_weights(self._config, arena) if with_head else None
        self._weights = [block_weights(self._config, arena) for _ in self._caches]

    def blocks(self, x: Tensor, start: int, block: BlockFunction) -> Tensor:
        """Hidden states [batch, tokens, hidden] at positions `start …` through all blocks."""
        for weights, cache in zip(self._weights, self._caches, strict=True):
            x = block(weights, x, self._cos, self._sin, cache, start)
        return x

    def logits(self, tokens: Tensor, start: int, block: BlockFunction, logits_all: bool = False) -> Tensor:
        """Logits of tokens [batch, tokens] at positions `start …`; needs the weights of the head."""
        assert self._head is not None
        x = self.blocks(F.embedding(tokens, self._head.embedding), start, block)
        return head_forward(self._head, x, logits_all)


def _heads(case: Case, arena: Arena, device: torch.device) -> Run:
    heads = [head_weights(case.shape, arena) for _ in range(case.shape.num_hidden_layers)]
    tokens, logits_all = case_tokens(case, device), case.workload.logits == "all"

    def run() -> Tensor:
        for head in heads:
            logits = head_forward(head, F.embedding(tokens, head.embedding), logits_all)
        return logits

    return run


def _starts(case: Case, fixed: bool) -> Sequence[int]:
    """Positions at which the passes of a run begin: the prompt's, or each generated token's (`fixed`: one for all)."""
    prompt, new = case.workload.prompt_tokens, case.workload.new_tokens
    if case.phase == "prefill":
        return (0,)
    return [prompt + new // 2] * new if fixed else range(prompt, prompt + new)


def _model(case: Case, decoder: OwnDecoder, device: torch.device, block: BlockFunction, starts: Sequence[int]) -> Run:
    tokens, logits_all = case_tokens(case, device), case.workload.logits == "all"

    def decode() -> Tensor:
        token = tokens[:, -1:]
        for position in starts:
            token = decoder.logits(token, position, block)[:, -1:].argmax(-1)
        return token

    return (lambda: decoder.logits(tokens, 0, block, logits_all)) if case.phase == "prefill" else decode
