"""Options of `predict` for other ways to generate, and for energy and money."""

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..units import parse_price
from .options import COUNT, WHOLE, Parsed, apply
from .training import training_from

if TYPE_CHECKING:
    from ..report.generation import Generation

PRICE = Parsed("price", parse_price)

generation_options = apply(
    click.option("--cached", type=COUNT, default=0, show_default=True,
                 help="Tokens before the prompt that are in the KV cache already."),
    click.option("--chunk", type=WHOLE, default=None, help="Read the prompt in passes of so many tokens."),
    click.option("--others", type=WHOLE, default=None,
                 help="Sequences that decode between chunks; in the same pass where the runtime mixes requests."),
    click.option("--others-tokens", type=WHOLE, default=None, help="Positions that each of the others has seen."),
    click.option("--draft", default=None, metavar="CONFIG|LxH|self:N|mtp",
                 help="Speculative decoding with this draft; layers x hidden has the model's vocabulary, self:8 is the "
                 "model's first 8 blocks, mtp a multi-token-prediction module of it."),
    click.option("--lookahead", type=WHOLE, default=None, help="Tokens that the draft gives a round."),
    click.option("--acceptance", type=click.FloatRange(0.0, 1.0), default=None,
                 help="Probability that a drafted token is accepted."),
    click.option("--block", type=WHOLE, default=None, help="Block diffusion: tokens that are denoised together."),
    click.option("--denoise", type=WHOLE, default=None, help="Passes that each block takes."),
    click.option("--energy", is_flag=True, help="Joules a token, from the power limit of the device's data sheet."),
    click.option("--price", type=PRICE, default=None, metavar="MONEY/h",
                 help="Price of a device's time, as 0.5/h: money for a million tokens."),
    click.option("--devices", type=WHOLE, default=1, show_default=True,
                 help="Devices of one node that share every layer (tensor parallel): derived, never measured."),
    section="Other ways to generate, energy and money",
)  # fmt: skip


def generation_from(options: dict[str, Any]) -> "Generation":
    """What the options say of how a response is made, and what it is charged by.

    Raises:
        UsageError: they do not go together.
    """
    from ..report.generation import Generation

    if options["tokens"] is not None and options["mfu"] is None:
        raise UsageError("--tokens are of a training: give --mfu too, as in --mfu 0.4")
    return Generation(
        chunk_tokens=options["chunk"], others=options["others"], others_tokens=options["others_tokens"],
        draft=options["draft"], lookahead=options["lookahead"],
        acceptance=options["acceptance"], block_tokens=options["block"], denoising_steps=options["denoise"],
        energy=options["energy"], power_limit_w=options["power_limit"], price_per_h=options["price"],
        training=training_from(options), devices=options["devices"],
    ).checked()  # fmt: skip
