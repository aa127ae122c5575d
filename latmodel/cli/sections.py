"""Help whose options stand under headings: what a verb is about first, shared options by what they are of."""

from typing import Any

import click

HELP_NAMES = ("-h", "--help")


class SectionedCommand(click.Command):
    """A verb whose `--help` groups its options by their `section`; its own come first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Of its own, since a command keeps the help option that its first context gave it.
        kwargs["context_settings"] = {"help_option_names": list(HELP_NAMES), **(kwargs.get("context_settings") or {})}
        super().__init__(*args, **kwargs)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every option under the heading of its section, in the order of the first of each."""
        for name, records in sections_of(self, ctx).items():
            with formatter.section(name):
                formatter.write_dl(records)


def sections_of(command: click.Command, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Heading → options with their help, of those headings that have any."""
    sections: dict[str, list[tuple[str, str]]] = {"Options": []}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and not isinstance(param, click.Argument):
            sections.setdefault(getattr(param, "section", "Options"), []).append(record)
    return {name: records for name, records in sections.items() if records}
