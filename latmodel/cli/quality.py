"""`latmodel quality check`."""

from pathlib import Path

import click

from .files import InputFile


@click.group(epilog="Example:  latmodel quality check ablation.csv")
def quality() -> None:
    """What shape is worth in quality (docs/quality.md)."""


@quality.command("check", epilog="Example:  latmodel quality check ablation.csv")
@click.argument("file", type=InputFile())
def check(file: Path) -> None:
    """Score a new ablation (columns layers, hidden, parameters, loss, group) with every law."""
    from ..quality.check import check_ablation, check_report
    from ..report.fitted import paragraph

    click.echo(paragraph(check_report(check_ablation(file))))
