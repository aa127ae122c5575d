"""`latmodel prune`."""

from pathlib import Path
from typing import Any

import click

from .options import (
    WHOLE,
    format_option,
    number_options,
    predictor_from,
    say_notes,
    target_options,
    workload_from,
    workload_options,
)


@click.command(epilog="Example:  latmodel prune --config llama-7b --gpu 3090 --target 1.5x")
@click.option("--config", required=True, metavar="CONFIG", help="A Hugging Face config.json, or the name of a preset.")
@click.option("--target", required=True, metavar="1.5x|20ms", help="Speed-up over the original, or time to reach.")
@click.option("--metric", type=click.Choice(["decode", "prefill", "response"]), default="decode", show_default=True,
              help="What the target is about; decode is the time of one token.")  # fmt: skip
@click.option("--align", type=WHOLE, default=64, show_default=True, help="Widths are multiples of it.")
@target_options
@workload_options
@number_options
@click.option("--plot", type=click.Path(path_type=Path), default=None,
              help="Draw kept parameters against speed-up, one curve for each way.")  # fmt: skip
@format_option
def prune(**options: Any) -> None:
    """Depth-, width- and mixed-pruned shapes that reach a target time.

    For each way the shape that reaches the target with the most parameters, or the quickest one where none does.
    Times and memory alone are compared: what pruning costs in quality must be measured.
    """
    from ..pruning.prune import parse_target
    from ..pruning.prune import prune as pruned
    from ..report.prune_report import draw, notes, table
    from .predict import model_and_workload

    target = parse_target(options["target"], options["metric"])
    predictor = predictor_from(options)
    model, workload = model_and_workload(options, workload_from(options))
    pruning = pruned(predictor, model, target, workload, options["align"])
    say_notes(predictor, workload)
    click.echo(table(pruning, options["format_"]))
    for line in notes(pruning):
        click.echo(line, err=options["format_"] not in ("table", "md"))
    if options["plot"] is not None:
        draw(pruning, options["plot"], f"{options['config']} on {predictor.profile.title}, {predictor.runtime}")
