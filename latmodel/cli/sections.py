"""Help whose options stand under headings: what a verb is about first, shared options by what they are of."""

import click


class SectionedCommand(click.Command):
    """A verb whose `--help` groups its options by their `section`; its own come first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every option under the heading of its section, in the order of the first of each."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
