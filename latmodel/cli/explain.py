"""`latmodel explain`."""

from typing import Any

import click

from .models import model_options, one_model
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


@click.command(cls=SectionedCommand, epilog="Example:  latmodel explain 80x576 --gpu 3090")
@model_options
@target_options
@workload_options
@number_options
@format_option
def explain(**options: Any) -> None:
    """Where the time of a response goes, what binds, what a step of each dimension costs, what to measure next.

    The parts add up to the response. MODEL is a preset, a config.json, or layers x hidden (80x576).
    """
    from ..report.explanation import explain as explained

    predictor = predictor_from(options)
    answer = explained(predictor, one_model(options), workload_from(options), options["format_"])
    say_notes(answer.notes)
    click.echo(answer.text)
