"""Plain PyTorch: a decoder of our own blocks, launched one by one or compiled."""

from collections.abc import Callable, Sequence
from types import FunctionType

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from latmodel.model.config import ModelConfig

from ..measure.cases import Case
from .block import (
    DTYPES,
    Arena,
    BlockWeights,
    Cache,
    HeadWeights,
    block_forward,
    block_weights,
    case_tokens,
    causal_mask,
    head_forward,
    head_weights,
    new_cache,
    rope_table,
)
from .engine import Run

BlockFunction = Callable[[BlockWeights, Tensor, Tensor, Tensor, Cache, int, Tensor | None], Tensor]


def torch_eager_run(case: Case, arena: Arena, device: torch.device) -> Run:
    """A function that runs the case once, block by block."""
    return _own(case, arena, device, block_forward)


def torch_compiled_run(case: Case, arena: Arena, device: torch.device) -> Run:
    """A function that runs the case once, each block through `torch.compile`."""
    # A function of its own: what is compiled for one case counts against no other's limit and ends with it, while the
    # reference stays compiled.
    code = block_forward.__code__.replace(co_name=block_forward.__name__)
    block = FunctionType(code, block_forward.__globals__, block_forward.__name__)
    # One position for all steps: every other one would be compiled anew. The cache is written in place, so that
    # nothing but some tokens of context is lost.
    return _own(case, arena, device, torch.compile(block, dynamic=False), fixed=True)


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
        mask = causal_mask(x.shape[1], start, x.device) if start and x.shape[1] > 1 else None
        for weights, cache in zip(self._weights, self._caches, strict=True):
            x = block(weights, x, self._cos, self._sin, cache, start, mask)
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
        return (case.cached,)
    return [prompt + new // 2] * new if fixed else range(prompt, prompt + new)


def _model(case: Case, decoder: OwnDecoder, device: torch.device, block: BlockFunction, starts: Sequence[int]) -> Run:
    tokens, logits_all = case_tokens(case, device), case.workload.logits == "all"

    def decode() -> Tensor:
        token = tokens[:, -1:]
        for position in starts:
            token = decoder.logits(token, position, block)[:, -1:].argmax(-1)
        return token

    return (lambda: decoder.logits(tokens, case.cached, block, logits_all)) if case.phase == "prefill" else decode
