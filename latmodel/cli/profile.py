"""`latmodel profile list|show|diff|export|merge` and `latmodel env`."""

from pathlib import Path
from typing import Any

import click

from .files import OutputFile
from .options import format_option
from .sections import SectionedCommand


@click.group(epilog="Example:  latmodel profile show 3090")
def profile() -> None:
    """Look at profiles: coefficients with errors, provenance, quality."""


@profile.command("list", epilog="Example:  latmodel profile list --format csv")
@format_option
def list_(format_: Any) -> None:
    """Every profile that a name would find, with its quality, error and date."""
    from ..report.profile_report import LIST_COLUMNS, list_rows
    from ..report.text import render

    rows, problems = list_rows()
    for problem in problems:
        click.echo(f"note: {problem}", err=True)
    click.echo(render(rows, format_, LIST_COLUMNS))


@profile.command("show", epilog="Example:  latmodel profile show 3090")
@click.argument("name")
@format_option
def show(name: str, format_: Any) -> None:
    """Coefficients with errors, where they came from, and how far to trust them."""
    from ..device.store import load_profile
    from ..report.fitted import paragraph
    from ..report.profile_report import COEFFICIENT_COLUMNS, coefficient_rows, summary
    from ..report.text import render

    loaded = load_profile(name)
    if format_ in ("table", "md"):
        click.echo(paragraph(summary(loaded)))
    click.echo(render(coefficient_rows(loaded), format_, COEFFICIENT_COLUMNS))


@profile.command("diff", epilog="Example:  latmodel profile diff 3090 ./mine.json")
@click.argument("first")
@click.argument("second")
@format_option
def diff(first: str, second: str, format_: Any) -> None:
    """Coefficients of two profiles side by side: ratio, and how many standard errors (sigmas) apart."""
    from ..device.store import load_profile
    from ..report.profile_report import DIFF_COLUMNS, diff_rows
    from ..report.text import render

    click.echo(render(diff_rows(load_profile(first), load_profile(second)), format_, DIFF_COLUMNS))


@profile.command("export", epilog="Example:  latmodel profile export 3090 --out mine.json")
@click.argument("name")
@click.option("--out", type=OutputFile(), default=None, help="File to write. [default: stdout]")
def export(name: str, out: Path | None) -> None:
    """The profile's JSON, checked, to a file or to stdout."""
    from ..device.profile_file import write_profile
    from ..device.store import load_profile

    loaded = load_profile(name)
    if out is None:
        click.echo(loaded.model_dump_json(indent=1))
    else:
        write_profile(loaded, out)


@profile.command("merge", epilog="Example:  latmodel profile merge board1.json board2.json --out merged.json")
@click.argument("names", nargs=-1, required=True)
@click.option("--out", type=OutputFile(), default=None, help="File to write. [default: only compare]")
@format_option
def merge(names: tuple[str, ...], out: Path | None, format_: Any) -> None:
    """Boards of one device as one profile; says which board is unlike the others."""
    from ..device.merge import merge as merged
    from ..device.merge import odd_boards
    from ..device.profile_file import write_profile
    from ..device.store import load_profile
    from ..report.profile_report import ODD_COLUMNS
    from ..report.text import render

    profiles = [load_profile(name) for name in names]
    click.echo(render(odd_boards(profiles), format_, ODD_COLUMNS))
    if out is not None:
        write_profile(merged(profiles, out.stem), out)
        click.echo(f"wrote {out}", err=True)


@click.command(cls=SectionedCommand, epilog="Example:  latmodel env --format json")
@format_option
def env(format_: Any) -> None:
    """What was detected on this machine: devices, versions, where profiles are looked for."""
    from ..report.environment import environment_text

    click.echo(environment_text(format_))
