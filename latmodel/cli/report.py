"""`latmodel report`."""

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .frontier import baseline_of, search_from
from .models import models_argument
from .options import (
    DURATION,
    given,
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
@click.option("--serve", is_flag=True, help="Show the page on this machine alone, with live predictions, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8760, show_default=True, help="Where; 0 is any.")
def report(**options: Any) -> None:
    """One HTML file to look at and play with, offline: the frontier, sliders, parts of the response, rooflines.

    MODELs are shown beside the best shape and the baseline.
    """
    from ..configs.models import read_model
    from ..report.page import page, write_page

    if given("out" if options["serve"] else "port"):
        raise UsageError("--serve shows the page at --port, without it the page goes to --out: give one of the two")
    predictor, workload = predictor_from(options), workload_from(options)
    models = [read_model(name) for name in options["models"]]
    here = {**options, "executor": None, "workers": 1, "checkpoint": None}
    front = search_from(predictor, workload, baseline_of(options), here)
    text = page(front, models, ["latmodel", *sys.argv[1:]], live=options["serve"])
    say_notes(predictor.notes)
    if options["serve"]:
        _serve(text, predictor, workload, options["port"])
        return
    write_page(text, options["out"])
    click.echo(f"wrote {options['out']} ({len(text.encode()) / 1e6:.1f} MB)")


def _serve(text: str, predictor: Any, workload: Any, port: int) -> None:
    from ..report.serve import ADDRESS, asker, server

    with server(text, asker(predictor, workload), port) as open_server:
        click.echo(f"http://{ADDRESS}:{open_server.server_port}/ until Ctrl-C", err=True)
        open_server.serve_forever()
