"""An engine: software that runs a model. What it must give to be measured, and nothing about timing."""

from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import torch

from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ..measure.cases import Case
from ..observations.decoder_config import DecoderConfig
from .block import Arena

Run = Callable[[], object]
Build = Callable[[Case, Arena, torch.device], Run]


def _nothing_to_install() -> None:
    """PyTorch is here already."""


class Engine(NamedTuple):
    """Software that runs models as the runtime of its name does.

    `implementation` names whose kernels it launches (`latmodel.runtimes`).
    """

    name: str
    implementation: str
    build: Build
    graph: bool = False  # what is timed on CUDA is the replay of a device graph
    needs_cuda: bool = False
    any_decoder: bool = False  # builds what Transformers can; the others Llama blocks alone
    check_installed: Callable[[], None] = _nothing_to_install  # raises UsageError where a package is missing
    packages: tuple[str, ...] = ()  # distributions besides torch whose code is timed

    def replays(self, kind: str) -> bool:
        """Whether it is a device graph that runs on a device of `kind`."""
        return self.graph and kind == "cuda"

    def versions(self) -> dict[str, str]:
        """The versions of `packages` that are installed."""
        return {name: version(name) for name in self.packages}

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
