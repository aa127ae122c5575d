"""`latmodel predict`."""

from typing import Any

import click

from .files import InputFile, OutputFile
from .generation import generation_from, generation_options
from .models import model_options, models_from
from .options import (
    format_option,
    number_options,
    predictor_from,
    say_notes,
    target_options,
    workload_from,
    workload_options,
)
from .sections import SectionedCommand
from .training import tokens_option, training_options


@click.command(cls=SectionedCommand, epilog="Example:  latmodel predict 80x576 --gpu 3090 --breakdown")
@model_options
@target_options
@click.option("--input", "table", type=InputFile(), default=None, metavar="FILE",
              help="Architectures in a table (CSV, JSON or JSON Lines), one a row.")  # fmt: skip
@workload_options
@generation_options
@tokens_option
@training_options
@number_options
@click.option(
    "--over",
    multiple=True,
    metavar="NAME=VALUES",
    help="Ask a grid: batch=1:512 (powers of two), prompt=16,64,256, layers=8:64:8. Repeatable; names are "
    "those of the options for dimensions and the workload.",
)
@click.option("--plot", type=OutputFile(), default=None,
              help="Draw what --over asks: curves of latency and throughput, or a heat map.")  # fmt: skip
@click.option("--limits", is_flag=True, help="The largest batch and the longest context that fit the memory.")
@click.option("--breakdown", is_flag=True, help="Every operator: FLOPs, bytes, device and host time, MFU, MBU, bound.")
@format_option
def predict(**options: Any) -> None:
    """Latency, memory, bound and interval of one architecture, of several, or of a table of them.

    MODEL is a preset, a config.json, or layers x hidden (80x576).
    """
    from ..errors import UsageError
    from ..report.predict_rows import predict_models, predict_one

    predictor, workload, generation = predictor_from(options), workload_from(options), generation_from(options)
    output_format, details = options["format_"], {"operators": options["breakdown"], "limits": options["limits"]}
    if generation.given and (options["over"] or options["table"] is not None):
        raise UsageError(
            "--chunk, --draft, --block, --energy, --price and --mfu go without --input and --over: name the models"
        )
    if options["over"] or options["plot"] is not None:
        _over(predictor, workload, options, details)
        return
    if options["table"] is not None:
        if any(details.values()) or any(options[name] for name in ("models", "configs", "layers", "hidden", "params")):
            raise UsageError("--input holds the models: leave out MODEL, its dimensions, --breakdown and --limits")
        from ..report.predict_table import predict_table

        answer = predict_table(predictor, options["table"], workload, output_format)
    else:
        models = models_from(options)
        if any(details.values()) and (len(models) > 1 or generation.changes_passes):
            raise UsageError("--breakdown and --limits are of one model, its prompt in one pass, a token a pass")
        if len(models) == 1:
            answer = predict_one(predictor, models[0], workload, output_format, **details, generation=generation)
        else:
            answer = predict_models(predictor, models, workload, output_format, generation)
    say_notes(answer.notes)
    click.echo(answer.text)


def _over(predictor: Any, workload: Any, options: dict[str, Any], details: dict[str, bool]) -> None:
    from ..errors import UsageError
    from ..report.over import draw_over, predict_over

    if not options["over"]:
        raise UsageError("--plot draws what --over asks: give --over, as in --over batch=1:64")
    if any(details.values()) or options["table"] is not None:
        raise UsageError("--over goes without --input, --breakdown and --limits")
    from .search_options import parse_over

    over = parse_over(options["over"])
    models = models_from(options)
    answer, rows = predict_over(predictor, models, workload, over, options["format_"])
    if options["plot"] is not None:
        title = f"{', '.join(named.name for named in models)} on {predictor.profile.title}, {predictor.runtime}"
        fixed = f"{workload.prompt_tokens} prompt + {workload.new_tokens} new tokens, batch {workload.batch_size}"
        draw_over(rows, over, options["plot"], f"{title}\n{workload.numbers_name}; where not varied: {fixed}")
    say_notes(answer.notes)
    click.echo(answer.text)
