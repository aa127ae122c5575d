"""How a response is made and what it is charged by, as the options of `predict` say; without what prices it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UsageError

if TYPE_CHECKING:
    from ..predict.training import TrainingPlan


class Generation(NamedTuple):
    """How a response is made and what it is charged by, as given; None and False for what is not."""

    chunk_tokens: int | None = None
    others: int | None = None
    others_tokens: int | None = None
    draft: str | None = None
    lookahead: int | None = None
    acceptance: float | None = None
    block_tokens: int | None = None
    denoising_steps: int | None = None
    energy: bool = False
    power_limit_w: float | None = None
    price_per_h: float | None = None
    training: "TrainingPlan | None" = None
    devices: int = 1

    @property
    def changes_passes(self) -> bool:
        """Whether anything but a plain prefill and decode is run."""
        return any(value is not None for value in (self.chunk_tokens, self.draft, self.block_tokens))

    @property
    def given(self) -> bool:
        """Whether there is anything to add."""
        return self.changes_passes or self.charged or self.training is not None or self.devices > 1

    @property
    def charged(self) -> bool:
        """Whether energy or money is wanted."""
        return self.energy or self.price_per_h is not None

    def checked(self) -> "Generation":
        """The same, if its parts go together.

        Raises:
            UsageError: they do not; the options are named.
        """
        together = {"--draft": self.draft, "--lookahead": self.lookahead, "--acceptance": self.acceptance}
        _all_or_none(together)
        _all_or_none({"--others": self.others, "--others-tokens": self.others_tokens})
        if self.others is not None and self.chunk_tokens is None:
            raise UsageError("--others decode while a prompt is read in chunks: give --chunk")
        _all_or_none({"--block": self.block_tokens, "--denoise": self.denoising_steps})
        if self.devices > 1 and self.changes_passes:
            raise UsageError("--devices goes without --chunk, --draft and --block")
        if self.draft is not None and self.block_tokens is not None:
            raise UsageError("--draft and --block are two ways to generate: give one")
        return self


PLAIN = Generation()


def _all_or_none(options: Mapping[str, Any]) -> None:
    missing = [name for name, value in options.items() if value is None]
    if missing and len(missing) < len(options):
        given = next(name for name in options if name not in missing)
        raise UsageError(f"{given} needs {missing[0]} beside it")
