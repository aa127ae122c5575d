"""`latmodel predict`."""

from pathlib import Path
from typing import Any

import click

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


@click.command(epilog="Example:  latmodel predict 80x576 --gpu 3090 --breakdown")
@model_options
@target_options
@click.option("--input", "table", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Architectures in a table (CSV, JSON or JSON Lines), one a row.")  # fmt: skip
@workload_options
@number_options
@click.option("--limits", is_flag=True, help="The largest batch and the longest context that fit the memory.")
@click.option("--breakdown", is_flag=True, help="Every operator: FLOPs, bytes, device and host time, MFU, MBU, bound.")
@format_option
def predict(**options: Any) -> None:
    """Latency, memory, bound and interval of one architecture, of several, or of a table of them.

    MODEL is a preset, a config.json, or layers x hidden (80x576).
    """
    from ..errors import UsageError
    from ..report.predict_rows import predict_models, predict_one
    from ..report.predict_table import predict_table

    predictor, workload = predictor_from(options), workload_from(options)
    output_format, details = options["format_"], {"operators": options["breakdown"], "limits": options["limits"]}
    if options["table"] is not None:
        if any(details.values()) or options["models"] or options["configs"] or options["layers"] or options["hidden"]:
            raise UsageError("--input holds the models: leave out MODEL, its dimensions, --breakdown and --limits")
        answer = predict_table(predictor, options["table"], workload, output_format)
    else:
        models = models_from(options)
        if len(models) == 1:
            model, own, notes = models[0].model, models[0].under(workload), models[0].notes
            answer = predict_one(predictor, model, own, output_format, **details, notes=notes)
        elif any(details.values()):
            raise UsageError("--breakdown and --limits are of one model")
        else:
            answer = predict_models(predictor, models, workload, output_format)
    say_notes(answer.notes)
    click.echo(answer.text)
