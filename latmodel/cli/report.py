"""`latmodel report`."""

import sys
from pathlib import Path
from typing import Any

import click

from .frontier import baseline_of, search_from
from .models import models_argument
from .options import (
    DURATION,
    number_options,
    predictor_from,
    say_notes,
    target_options,
    workload_from,
    workload_options,
)
from .search_options import VALUES, goal_options, space_options
from .sections import SectionedCommand
from .training import training_options


@click.command(
    cls=SectionedCommand, epilog="Example:  latmodel report --budget 5.5s --baseline 80x576 --out report.html"
)
@models_argument
@click.option("--budget", type=DURATION, default=None, help="Longest response. [default: the baseline's own, or none]")
@click.option("--sure", is_flag=True, help="The upper end of the interval keeps the budget, not the prediction.")
@target_options
@space_options
@workload_options
@number_options
@click.option("--depths", type=VALUES, default=None, help="For each of these depths the best that fits: 80,60,40.")
@click.option("--baseline", default=None, metavar="MODEL", help="Compare with this model.")
@goal_options
@training_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True,
              help="File to write.")  # fmt: skip
def report(**options: Any) -> None:
    """One HTML file to look at and play with, offline: the frontier, sliders, parts of the response, rooflines.

    MODELs are shown beside the best shape and the baseline.
    """
    from ..configs.models import read_model
    from ..report.page import page, write_page

    predictor, workload = predictor_from(options), workload_from(options)
    models = [read_model(name) for name in options["models"]]
    here = {**options, "executor": None, "workers": 1, "checkpoint": None}
    front = search_from(predictor, workload, baseline_of(options), here)
    text = page(front, models, ["latmodel", *sys.argv[1:]])
    write_page(text, options["out"])
    say_notes(predictor.notes)
    click.echo(f"wrote {options['out']} ({len(text.encode()) / 1e6:.1f} MB)")
