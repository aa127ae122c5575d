"""Transformers' Llama with random weights: its decoder layers, its head, the whole model. Imports Transformers."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig

from ..measure.cases import Case
from .block import DTYPES, Arena, Cache, case_tokens, causal_mask, new_cache
from .cache_argument import cache_argument
from .engine import Run


def llama(config: ModelConfig, arena: Arena, device: torch.device) -> Any:
    """`LlamaForCausalLM` of this shape, its weights taken from the arena; attention by SDPA, as is its default.

    Raises:
        UsageError: Transformers does not build this shape.
    """
    if config.hidden_size % config.num_attention_heads:
        raise UsageError(
            f"Transformers does not build hidden {config.hidden_size} with {config.num_attention_heads} heads: "
            "it must be a multiple; choose other --heads, or --runtime torch-eager"
        )
    settings = LlamaConfig(  # type: ignore[call-arg]  # attn_implementation is taken from **kwargs
        hidden_size=config.hidden_size, intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads, num_key_value_heads=config.num_key_value_heads,
        head_dim=config.head_dim, vocab_size=config.vocab_size, tie_word_embeddings=config.tie_word_embeddings,
        max_position_embeddings=1 << 20, attn_implementation="sdpa",
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(settings).eval()  # type: ignore[no-untyped-call]
    model.tie_weights()  # Transformers 5.0 leaves that to loading
    fill(model, arena)
    model.model.rotary_emb = type(model.model.rotary_emb)(settings).to(device)
    return model


def fill(module: Any, arena: Arena) -> None:
    """Put weights from the arena in the place of every parameter (those shared stay shared).

    They keep asking for gradients, as those of a model that was just loaded do: where they do not, PyTorch multiplies
    the last position of a prompt (a strided view) as a batch and copies the whole LM head for it (`should_fold` in
    ATen's LinearAlgebra.cpp).
    """
    known: dict[int, torch.nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) not in known:
                known[id(parameter)] = torch.nn.Parameter(arena.take(*parameter.shape))
            part._parameters[name] = known[id(parameter)]


def llama_run(case: Case, arena: Arena, device: torch.device) -> Run:
    """A function that runs the case once."""
    arena.rewind()
    if case.part == "head":
        return _heads(case, arena, device)
    if case.part == "blocks":
        config = case.shape.model_copy(update={"vocab_size": 1})
        return _blocks(case, llama(config, arena, device), device)
    return model_run(case, llama(case.shape, arena, device), device)


def filled_caches(case: Case, device: torch.device) -> list[Cache]:
    """Keys and values of what is cached for every block, as a decode or a pass over a cache finds them."""
    w = case.workload
    return [
        new_cache(case.shape, w.batch_size, case.cached, DTYPES[w.dtype], device)
        for _ in range(case.shape.num_hidden_layers)
    ]


def _cache_of(model: Any, filled: list[Cache]) -> DynamicCache:
    """A growing cache that already holds `filled`; nothing is copied."""
    cache = DynamicCache(config=model.config)
    layers: list[Any] = cache.layers
    for layer, kept in zip(layers, filled, strict=True):
        layer.lazy_initialization(kept.keys, kept.values)
        layer.keys, layer.values = kept
    return cache


def back_to(cache: DynamicCache, cached: int) -> None:
    """Forget what came after. A view: freeing all layers at once would make the next step fault its pages in anew,
    which no real generation does."""
    layers: list[Any] = cache.layers
    for layer in layers:
        layer.keys, layer.values = layer.keys[:, :, :cached], layer.values[:, :, :cached]


def _blocks(case: Case, model: Any, device: torch.device) -> Run:
    w = case.workload
    prefill = case.phase == "prefill"
    tokens = w.prompt_tokens if prefill else 1
    x = torch.randn(w.batch_size, tokens, case.shape.hidden_size, device=device).to(DTYPES[w.dtype])
    starts = range(case.cached, case.context, tokens)
    positions = [torch.arange(start, start + tokens, device=device)[None] for start in starts]
    angles = [model.model.rotary_emb(x, ids) for ids in positions]
    kept = _cache_of(model, filled_caches(case, device)) if case.cached else None
    mask = causal_mask(tokens, case.cached, device)[None, None] if tokens > 1 and case.cached else None
    name = cache_argument(model.model.layers[0])

    def run() -> Tensor:
        if kept is not None:
            back_to(kept, case.cached)
        cache = DynamicCache(config=model.config) if kept is None else kept
        for ids, turns in zip(positions, angles, strict=True):
            state = x
            for layer in model.model.layers:
                state = layer(
                    state, attention_mask=mask, position_ids=ids, use_cache=True, position_embeddings=turns,
                    **{name: cache},
                )  # fmt: skip
        return state

    return run


def _heads(case: Case, arena: Arena, device: torch.device) -> Run:
    bare = case.shape.model_copy(update={"num_hidden_layers": 1})
    heads = [llama(bare, arena, device) for _ in range(case.shape.num_hidden_layers)]
    tokens = case_tokens(case, device)
    last = slice(None) if case.workload.logits == "all" else slice(-1, None)

    def run() -> Tensor:
        for model in heads:
            logits = model.lm_head(model.model.norm(model.model.embed_tokens(tokens))[:, last])
        return logits  # type: ignore[no-any-return]

    return run


def model_run(case: Case, model: Any, device: torch.device) -> Run:
    """A function that runs the case once on a whole model that is there already."""
    tokens = case_tokens(case, device)
    keep = 0 if case.workload.logits == "all" else 1
    kept = _cache_of(model, filled_caches(case, device)) if case.cached else None
    name = cache_argument(model)

    def prefill() -> Tensor:
        cache = {}
        if kept is not None:
            back_to(kept, case.cached)
            cache = {name: kept}
        return model(tokens, use_cache=True, logits_to_keep=keep, **cache).logits  # type: ignore[no-any-return]

    def decode() -> Tensor:
        token = tokens[:, -1:]
        if kept is not None:
            back_to(kept, case.cached)
        for _ in range(case.workload.new_tokens):
            token = model(token, use_cache=True, **{name: kept}).logits[:, -1:].argmax(-1)
        return token

    return prefill if case.phase == "prefill" else decode
