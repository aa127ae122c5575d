"""`latmodel prune`."""

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .models import config_option, models_argument, one_model
from .options import (
    WHOLE,
    format_option,
    given,
    number_options,
    predictor_from,
    say_notes,
    target_options,
    workload_from,
    workload_options,
)
from .sections import SectionedCommand


@click.command(cls=SectionedCommand, epilog="Example:  latmodel prune --config llama-7b --gpu 3090 --target 1.5x")
@models_argument
@config_option
@click.option(
    "--target",
    required=True,
    metavar="1.5x|20ms|14B",
    help="Speed-up over the original, time to reach, or most parameters.",
)
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
    from ..report.fitted import paragraph
    from ..report.prune_report import draw, notes, table
    from ..report.rows import run_notes

    target = parse_target(options["target"], options["metric"])
    if target.parameters is not None and given("metric"):
        raise UsageError(f"--target {options['target']} is a number of parameters, not a time: leave out --metric")
    predictor = predictor_from(options)
    named = one_model(options)
    workload = named.under(workload_from(options))
    pruning = pruned(predictor, named.architecture, target, workload, options["align"])
    known = run_notes(predictor, workload, named.notes)
    say_notes(known)
    click.echo(table(pruning, options["format_"], predictor, workload, known))
    for line in notes(pruning):
        click.echo(paragraph(line), err=options["format_"] not in ("table", "md"))
    if options["plot"] is not None:
        draw(
            pruning,
            options["plot"],
            f"{named.name} on {predictor.profile.title}, {predictor.runtime}, "
            f"{workload.numbers_name}\n{workload.prompt_tokens} prompt + {workload.new_tokens} new tokens, batch "
            f"{workload.batch_size}",
        )
