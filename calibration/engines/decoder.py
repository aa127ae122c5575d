"""Any decoder that Transformers has, with random weights, built from its configuration as data. Imports Transformers.

Nothing is fetched and no code but the library's own is run: the class is looked up by `model_type` among those that it
ships, and the configuration's fields become its arguments.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.initialization import no_init_weights
from transformers.utils import logging

from latmodel.errors import UsageError
from latmodel.model.totals import num_parameters

from ..measure.cases import Case
from ..observations.decoder_config import DecoderConfig
from .block import DTYPES, Arena, case_tokens
from .cache_argument import cache_argument
from .engine import Run
from .llama import fill


def _settings(family: str, fields: dict[str, Any]) -> Any:
    """The class's configuration, without special tokens, or with the first ones where a class must have some."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    try:
        return AutoConfig.for_model(family, **dict.fromkeys(names), **fields)
    except Exception as error:
        if not any(name in str(error) for name in names):
            raise
        return AutoConfig.for_model(family, **dict.fromkeys(names, 0), **fields)


def build_decoder(config: DecoderConfig, arena: Arena, device: torch.device, dtype: torch.dtype) -> Any:
    """The causal language model of this configuration, its weights taken from the arena.

    Attention is what the class runs by default: SDPA, or eager where it has no other.

    Raises:
        UsageError: Transformers has no such model or refuses the configuration, or builds other parameters than
            latmodel reads from it, so that the prediction would be of another model.
    """
    fields = config.fields
    family = fields.pop("model_type", None)
    if not isinstance(family, str):
        raise UsageError("model_type is missing in the configuration: without it there is no class to build")
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # which fallbacks it takes is what is measured, and no news
    try:
        settings = _settings(family, fields)
        factory: Any = AutoModelForCausalLM
        with no_init_weights():
            model = factory.from_config(settings, dtype=dtype, trust_remote_code=False).eval()
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # whatever the class's checks raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"Transformers does not build this {family[:40]!r} model: {reason[:200]}") from None
    model.tie_weights()
    built = sum(parameter.numel() for parameter in model.parameters())
    read = int(num_parameters(config.architecture()))
    if built != read:
        raise UsageError(
            f"Transformers builds {built} parameters from this configuration, latmodel reads {read}: "
            "the prediction is of another model; report the configuration"
        )
    fill(model, arena)
    return model.to(device)  # buffers, such as the frequencies of rotary positions


def decoder_run(case: Case, arena: Arena, device: torch.device) -> Run:
    """A function that runs the case once: a prefill, or a decode loop from a cache that a real prefill filled."""
    assert isinstance(case.config, DecoderConfig), "plain Llamas are run by `llama`"
    arena.rewind()
    model = build_decoder(case.config, arena, device, DTYPES[case.workload.dtype])
    tokens = case_tokens(case, device)
    keep = 0 if case.workload.logits == "all" else 1
    name = cache_argument(model)

    def prefill() -> Tensor:
        cache = DynamicCache(config=model.config)
        return model(tokens, use_cache=True, logits_to_keep=keep, **{name: cache}).logits  # type: ignore[no-any-return]

    if case.phase == "prefill":
        return prefill
    kept = DynamicCache(config=model.config)
    model(tokens, use_cache=True, logits_to_keep=1, **{name: kept})
    lengths = [_length(layer) for layer in kept.layers]

    def decode() -> Tensor:
        token = tokens[:, -1:]
        _back_to(kept, lengths, case.workload.prompt_tokens)
        for _ in range(case.workload.new_tokens):
            token = model(token, use_cache=True, **{name: kept}).logits[:, -1:].argmax(-1)
        return token

    return decode


def _length(layer: Any) -> int:
    """Positions that a layer of the cache holds; 0 for a recurrent one."""
    keys = getattr(layer, "keys", None)
    return keys.shape[2] if isinstance(keys, Tensor) else 0


def _back_to(cache: DynamicCache, lengths: list[int], prompt: int) -> None:
    """Forget what was generated, by views (as `llama`). A full window and a recurrent state are as large as ever: they
    keep what they have."""
    layers: list[Any] = cache.layers
    for layer, length in zip(layers, lengths, strict=True):
        if length:
            layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = prompt
