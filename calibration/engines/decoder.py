"""Any decoder that Transformers has, with random weights, built from its configuration as data. Imports Transformers.

Nothing is fetched and no code but the library's own is run: the class is looked up by `model_type` among those that it
ships, and the configuration's fields become its arguments.
"""

from collections.abc import Callable
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
    """A function that runs the case once: a prefill, or a decode loop from a cache that a real prefill filled.

    Raises:
        UsageError: the class does not run with a cache, or keeps none that can be brought back to the prompt's end.
    """
    assert isinstance(case.config, DecoderConfig), "plain Llamas are run by `llama`"
    arena.rewind()
    model = build_decoder(case.config, arena, device, DTYPES[case.workload.dtype])
    tokens, name = case_tokens(case, device), cache_argument(model)
    keep = 0 if case.workload.logits == "all" else 1
    empty = _empty_cache(model, tokens[:, :1])

    def prefill() -> Tensor:
        return model(tokens, use_cache=True, logits_to_keep=keep, **empty()).logits  # type: ignore[no-any-return]

    if case.phase == "prefill":
        return prefill
    cache = _after(model, tokens, empty())
    state = snapshot(cache)

    def decode() -> Tensor:
        token = tokens[:, -1:]
        restore(state)
        for _ in range(case.workload.new_tokens):
            token = model(token, use_cache=True, **{name: cache}).logits[:, -1:].argmax(-1)
        return token

    return decode


def _empty_cache(model: Any, token: Tensor) -> Callable[[], dict[str, Any]]:
    """Arguments with a new cache; none where the class takes only what it makes itself (MiniMax)."""
    name = cache_argument(model)
    try:
        model(token, use_cache=True, **{name: DynamicCache(config=model.config)})
    except ValueError:
        return dict
    return lambda: {name: DynamicCache(config=model.config)}


def _after(model: Any, tokens: Tensor, given: dict[str, Any]) -> Any:
    """The cache after the prompt, by which the class can go on."""
    family, name = model.config.model_type, cache_argument(model)
    try:
        output = model(tokens, use_cache=True, logits_to_keep=1, **given)
        cache = given[name] if given else getattr(output, name)
        state = snapshot(cache)
        for _ in range(2):  # the second time shows whether it was brought back
            restore(state)
            model(tokens[:, -1:], use_cache=True, **{name: cache})
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # whatever a class raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"no decode of a {family[:40]!r} model can be timed: its class does not go on from a cache: {reason[:160]}"
        ) from None
    restore(state)
    return cache


def snapshot(cache: Any) -> list[tuple[Any, dict[str, Any]]]:
    """What the cache and its layers hold: caches grow by new tensors, so that the old ones need no copy.

    A recurrent state is as large as ever: it may be overwritten.
    """
    holders = [cache, *getattr(cache, "layers", [])]
    return [(holder, {key: _copied(value) for key, value in vars(holder).items()}) for holder in holders]


def restore(state: list[tuple[Any, dict[str, Any]]]) -> None:
    """Forget what was generated since `snapshot`."""
    for holder, values in state:
        vars(holder).update((key, _copied(value)) for key, value in values.items())


def _copied(value: Any) -> Any:
    """Containers anew, with what they hold."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if type(value) is list else value
