"""`latmodel compare` and `latmodel preset list`."""

from typing import Any

import click

from .models import config_option, models_argument, models_from
from .options import (
    CACHES,
    format_option,
    repeated_target_options,
    say_notes,
    several_predictors,
    workload_from,
    workload_options,
)
from .sections import SectionedCommand


@click.command(cls=SectionedCommand, epilog="Example:  latmodel compare baguettotron gemma-3-12b --gpu 3090")
@models_argument
@config_option
@repeated_target_options
@workload_options
@click.option("--weights", multiple=True, metavar="FORMAT",
              help="Format of the blocks' linear layers. Repeatable. [default: the configuration's]")  # fmt: skip
@click.option("--kv-cache", type=click.Choice(CACHES), default=None,
              help="Format of the KV cache. [default: --dtype]")  # fmt: skip
@format_option
def compare(**options: Any) -> None:
    """Models, devices, runtimes and number formats side by side; --gpu, --runtime and --weights are repeatable.

    MODEL is a preset, a config.json, or layers x hidden (80x576).
    """
    from ..report.comparison import compare as compared

    weights = tuple(dict.fromkeys(options["weights"])) or (None,)
    workloads = [workload_from({**options, "weights": one}) for one in weights]
    answer = compared(several_predictors(options), models_from(options), workloads, options["format_"])
    say_notes(answer.notes)
    click.echo(answer.text)


@click.group(epilog="Example:  latmodel preset list")
def preset() -> None:
    """Names of published models that MODEL and --config take."""


@preset.command("list", epilog="Example:  latmodel preset list --format csv")
@format_option
def list_(format_: Any) -> None:
    """Every preset with its dimensions and its source."""
    from ..report.comparison import PRESET_COLUMNS, preset_rows
    from ..report.text import render

    click.echo(render(preset_rows(), format_, PRESET_COLUMNS))
