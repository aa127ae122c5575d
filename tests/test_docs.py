"""The documents speak of what is there: paths exist, public names and verbs are documented, commands have their options."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

import latmodel
from latmodel.cli.verbs import VERBS, group

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
# Paths that are a user's own, by way of example.
EXAMPLES = {"config.json", "profiles/NAME.json", "front.png", "module.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    named = set(re.findall(r"`((?:\w+/)+[\w.]*(?:/\w+)*|\w+\.(?:py|md))`", TEXT[page.name])) - EXAMPLES
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT[page.name]))
    assert {path for path in named if not (ROOT / path).exists()} == set()
    assert {path for path in links if not (page.parent / path).exists()} == set()


def test_every_public_name_is_documented_and_loads() -> None:
    section = TEXT["api.md"].split("## Names of `latmodel`")[1].split("\n## ")[0]
    names = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert names == set(latmodel.__all__)
    for name in latmodel.__all__:
        public = getattr(latmodel, name)
        assert name == "__version__" or public.__doc__, name


def test_public_names_are_known_to_type_checkers() -> None:
    tree = ast.parse((ROOT / "latmodel" / "__init__.py").read_text(encoding="utf-8"))
    imported = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(latmodel.__all__) <= imported


def test_public_modules_load() -> None:
    for name in ("latmodel.torch", "latmodel.errors"):
        assert f"`{name}`" in TEXT["api.md"]
    pytest.importorskip("torch")
    module = importlib.import_module("latmodel.torch")
    for name in re.findall(r"`latmodel\.torch\.(\w+)`", TEXT["api.md"]):
        assert callable(getattr(module, name))


def test_the_readme_shows_every_verb() -> None:
    shown = set(re.findall(r"latmodel (\w+)", TEXT["README.md"]))
    assert set(VERBS) - shown == set()


def commands() -> list[str]:
    """Every command line of `latmodel` in a code block of the documents."""
    blocks = [block for text in TEXT.values() for block in re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL)]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("latmodel ")})


@pytest.mark.parametrize("line", commands())
def test_commands_have_their_options(line: str) -> None:
    _, *words = shlex.split(line)
    command: click.Command = group
    names = {"help_option_names": group.context_settings["help_option_names"]}  # a command keeps its first context's
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command, **names), words.pop(0))
        assert found is not None, line
        command = found
    with click.Context(command, resilient_parsing=False, **names) as context:
        command.parse_args(context, list(words))
