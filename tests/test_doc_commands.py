"""Every command and every line of Python in the documents runs, or is checked where it is marked; outputs are as shown."""

import re
import shlex
import sys
import tomllib
from functools import cache
from itertools import takewhile
from pathlib import Path

import click
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from doc_blocks import PAGES, ROOT, Block, blocks, folder, run, shortened
from test_docs import phrases

from latmodel.cli.verbs import group

# What a mark means: its commands are checked and not run.
MARKS = {"long", "gpu", "container", "install", "shell", "windows", "test command"}
SLOW = {"long", "gpu", "container"}  # of these each latmodel command is read by its options


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_command_runs_and_prints_what_is_shown(page: Path) -> None:
    with folder():
        for block in blocks(page):
            if block.mark:
                continue
            for words in block.commands:
                if words[0] == "latmodel":
                    done = run(words)
                    assert done.exit_code == 0, f"{shlex.join(words)}\n{done.stderr}"
                    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
                    assert [note for note in notes if not any(phrase in note for phrase in phrases())] == []
                    if block.shown is not None and len(block.commands) == 1:
                        assert shortened(done.stdout, block.shown) == block.shown
                else:
                    assert words[:2] == ["pip", "install"], f"mark this block, or write a test: {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_python_runs(page: Path) -> None:
    code = [block.body for block in blocks(page) if block.language == "python"]
    names: dict[str, object] = {"__name__": "page"}
    with folder():
        for body in code:
            exec(compile(body, str(page), "exec"), names)


MARKED = [block for page in PAGES for block in blocks(page) if block.mark]


@pytest.mark.parametrize("block", MARKED, ids=lambda block: f"{title(block.page)} {block.mark}")
def test_marked_commands_have_their_options(block: Block) -> None:
    assert block.mark in MARKS
    for words in block.commands:
        check(words, block.mark)


def check(words: list[str], mark: str) -> None:
    """That a command which is not run here would be understood, as far as its first pipe."""
    words = list(takewhile(lambda word: word != "|", words))
    if words[0] == "latmodel":
        parsed(words[1:])
    elif words[0] == "docker" and words[1] == "run":
        image = next(i for i, word in enumerate(words) if word in ("latmodel", "latmodel-calibrate"))
        parsed(words[image + 1 :])
    elif words[0] == "docker":
        assert (ROOT / "Dockerfile").exists()
    elif words[0] == "python" and words[1].endswith(".py"):
        assert {word for word in words[2:] if word.startswith("--")} <= options_of(words[1])
    elif words[:2] == ["pip", "install"]:
        extras = {
            extra for word in words for group in re.findall(r"latmodel\[(.*?)\]", word) for extra in group.split(",")
        }
        assert extras <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    else:
        assert mark not in SLOW, f"nothing checks {shlex.join(words)}"


def parsed(words: list[str]) -> None:
    """Read a command line of latmodel, without running it."""
    command: click.Command = group
    names = {"help_option_names": group.context_settings["help_option_names"]}  # a command keeps its first context's
    words = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command, **names), words.pop(0))
        assert found is not None, words
        command = found
    with click.Context(command, resilient_parsing=False, **names) as context:
        command.parse_args(context, words)


@cache
def options_of(script: str) -> set[str]:
    """The options that a script declares."""
    return set(re.findall(r'"(--[a-z][a-z-]*)"', (ROOT / script).read_text(encoding="utf-8")))
