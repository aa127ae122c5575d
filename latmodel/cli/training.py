"""Options of what a shape costs to train."""

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .options import WHOLE, apply, given

if TYPE_CHECKING:
    from ..predict.training import TrainingPlan

OPTIMIZERS = ("adamw", "adamw-8bit", "sgd")  # `predict.training.STATE_BYTES`, not imported for the help's sake

tokens_option = apply(
    click.option("--tokens", type=float, default=None, help="Training tokens, with --mfu: 2e12."), section="Training"
)
training_options = apply(
    click.option("--mfu", type=float, default=None, metavar="SHARE",
                 help="Share of the peak that training reaches, as 0.4: stated, not predicted. With --tokens: FLOPs, "
                 "device hours and memory of training."),
    click.option("--sequence", type=WHOLE, default=4096, show_default=True, help="Positions of a training sequence."),
    click.option("--micro-batch", type=WHOLE, default=1, show_default=True, help="Sequences at once on a device."),
    click.option("--checkpointing/--no-checkpointing", default=True, show_default=True,
                 help="Activations are computed again in the backward pass."),
    click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adamw", show_default=True),
    section="Training",
)  # fmt: skip


DETAILS = ("sequence", "micro_batch", "checkpointing", "optimizer")  # of a training, which have defaults


def training_from(options: dict[str, Any]) -> "TrainingPlan | None":
    """The training that the options describe; None without `--mfu`.

    Raises:
        UsageError: tokens or the MFU are out of range, or tokens are missing; details of a training without one.
    """
    if options["mfu"] is None:
        for name in filter(given, DETAILS):
            raise UsageError(f"--{name.replace('_', '-')} is of a training: give --tokens and --mfu too")
        return None
    if options["tokens"] is None:
        raise UsageError("--mfu is of a training: give its --tokens too, as in --tokens 2e12")
    from ..predict.training import TrainingPlan

    return TrainingPlan(
        options["tokens"], options["mfu"], options["sequence"], options["micro_batch"], options["checkpointing"],
        options["optimizer"],
    ).checked()  # fmt: skip
