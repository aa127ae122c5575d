"""`latmodel fit`."""

from pathlib import Path
from typing import Any

import click

from .sections import SectionedCommand


@click.command(
    cls=SectionedCommand, epilog="Example:  latmodel fit --gpu 3090 --observations times.jsonl --out mine.json"
)
@click.option("--template", is_flag=True, help="Print a table to fill in, and what its columns hold.")
@click.option("--gpu", default=None, help="Device that was measured: 3090, h100, …")
@click.option("--observations", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
              help="Measured times: JSON Lines or CSV, one observation a row. Repeatable.")  # fmt: skip
@click.option("--from", "format_", default="latmodel", show_default=True, metavar="FORMAT",
              help="What the files are: latmodel (our columns), depth-width (the RTX 3090 study), or published "
              "kernels of aiconfigurator (installed: no file), vidur or llmservingsim (their folder).")  # fmt: skip
@click.option("--prior", default=None, metavar="PROFILE",
              help="Profile to refine. [default: the device's own, or its data sheet]")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=None,
              help="Profile to write. [default: ./profiles/NAME.json]")  # fmt: skip
def fit(**options: Any) -> None:
    """Fit or refine a profile from measurements made elsewhere."""
    from ..errors import UsageError
    from .calibration_package import load

    if options["template"]:
        table = load("observations.table")
        click.echo(table.template())
        for line in table.column_lines():
            click.echo(line, err=True)
        return
    if options["gpu"] is None:
        raise UsageError("give --gpu NAME: the device that was measured")
    verb = load("verbs.fit")
    for line in verb.fit_observations(
        options["gpu"], list(options["observations"]), options["format_"], options["prior"], options["out"]
    ):
        click.echo(line)
