"""Transformers in eager mode: Llamas by `llama`, every other decoder by `decoder`, which import it late."""

import torch

from latmodel.errors import UsageError

from ..measure.cases import Case
from ..observations.decoder_config import DecoderConfig
from .block import Arena
from .engine import Run


def transformers_run(case: Case, arena: Arena, device: torch.device) -> Run:
    """A function that runs the case once.

    Raises:
        UsageError: Transformers does not build the architecture.
    """
    if isinstance(case.config, DecoderConfig):
        from .decoder import decoder_run

        return decoder_run(case, arena, device)
    from .llama import llama_run

    return llama_run(case, arena, device)


def check_installed() -> None:
    """Refuse to go on without the library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UsageError(
            "runtime transformers-eager needs Transformers: pip install 'latmodel[transformers]'"
        ) from None
