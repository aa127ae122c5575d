"""`latmodel layers`."""

from typing import Any

import click

from .files import InputFile
from .options import (
    DURATION,
    WHOLE,
    format_option,
    number_options,
    predictor_from,
    say_notes,
    target_options,
    workload_from,
    workload_options,
)
from .sections import SectionedCommand


@click.command(
    cls=SectionedCommand,
    epilog="Example:  latmodel layers --blocks blocks.json --scores scores.csv --hidden 2048 --budget 2s",
)
@click.option("--blocks", type=InputFile(), required=True, metavar="JSON",
              help='What a layer may pick: a list of {"name", "attention", "feed_forward"}.')  # fmt: skip
@click.option("--scores", type=InputFile(), required=True, metavar="CSV",
              help="A row a layer, a column a block; an empty cell forbids the block there.")  # fmt: skip
@click.option("--budget", type=DURATION, required=True, help="Longest response: 2s, 300ms.")
@click.option("--hidden", type=WHOLE, required=True, help="hidden_size of all layers.")
@click.option("--vocab", type=WHOLE, default=65536, show_default=True, help="vocab_size")
@click.option("--tie-embeddings/--untie-embeddings", default=True, show_default=True)
@click.option("--gap", type=click.FloatRange(0.0, 1.0), default=1e-3, show_default=True,
              help="Stop when no choice can score more by this share.")  # fmt: skip
@click.option("--time-limit", type=DURATION, default=60.0, show_default="60s", help="Stop after about so long.")
@target_options
@workload_options
@number_options
@format_option
def layers(**options: Any) -> None:
    """For every layer the block that makes the sum of scores greatest within the budget and the memory."""
    from ..configs.blocks import read_blocks, read_scores
    from ..report.layers_report import layers_text
    from ..search.per_layer.layers import search_layers

    predictor, workload = predictor_from(options), workload_from(options)
    blocks = read_blocks(options["blocks"])
    scores = read_scores(options["scores"], list(blocks))
    chosen = search_layers(
        predictor, list(blocks.values()), scores, hidden_size=options["hidden"], vocab_size=options["vocab"],
        tie_word_embeddings=options["tie_embeddings"], workload=workload, budget_s=options["budget"],
        gap=options["gap"], time_limit_s=options["time_limit"],
    )  # fmt: skip
    answer = layers_text(chosen, list(blocks), scores, predictor, workload, options["format_"])
    say_notes(answer.notes)
    click.echo(answer.text)
