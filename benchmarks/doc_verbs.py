"""The reference of the verbs, generated from the command line: a hook of mkdocs that fills in `<!-- verbs -->`.

`python benchmarks/doc_verbs.py` prints it.
"""

import html
from collections.abc import Iterator
from typing import Any

import click

from latmodel.cli.sections import sections_of
from latmodel.cli.verbs import VERBS, group

MARK = "<!-- verbs -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What mkdocs calls with each page's text."""
    return markdown.replace(MARK, reference()) if MARK in markdown else markdown


def reference() -> str:
    """Every verb with its usage, its options by section and an example, in Markdown."""
    root = click.Context(group, info_name="latmodel", **group.context_settings)
    return "\n".join(line for name in sorted(VERBS) for line in _verb(group.get_command(root, name), name, root))


def _verb(command: click.Command | None, name: str, parent: click.Context) -> Iterator[str]:
    assert command is not None, name
    context = click.Context(command, info_name=name, parent=parent)
    yield f"## {context.command_path.removeprefix('latmodel ')}\n"
    yield f"{_plain(command.help)}\n"
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            yield from _verb(command.get_command(context, verb), verb, context)
        return
    for heading, records in sections_of(command, context).items():
        yield f"| {heading} | |\n|---|---|"
        yield from (f"| <code>{_cell(option)}</code> | {_cell(text)} |" for option, text in records)
        yield ""
    example = (command.epilog or "").removeprefix("Example:").strip()
    if example:
        yield f"```text\n{example}\n```\n"


def _plain(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").splitlines())


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;")


if __name__ == "__main__":
    print(reference())
