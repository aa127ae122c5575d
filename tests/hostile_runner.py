"""Gives every verb files that never end or never begin, at every option that may name one; a JSON line for each.

A script: it forks for every command, which only a small process without threads should do.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from latmodel import cli

LIMIT_S = 30
# Texts that name no file; whatever is not listed here is tried.
NO_FILES = {
    "--runtime", "--attention", "--weights", "--device", "--gpu", "--limit", "--over", "--target", "--from", "--also",
}  # fmt: skip
MORE = {"frontier": ["--budget", "5s"], "report": ["--budget", "5s"], "fit": ["--gpu", "3090"]}
NEEDED = {"--target": "1.5x", "--budget": "1s", "--hidden": "512", "--blocks": "blocks.json", "--scores": "scores.csv"}


def leaves(
    command: click.Command, path: list[str], context: click.Context
) -> Iterator[tuple[list[str], click.Command]]:
    """Every verb with its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, [*path, name], context)


def arguments(path: list[str], command: click.Command, param: click.Parameter, file: str) -> list[str]:
    """A command line with the file at that option, and whatever else the verb needs."""
    made = [*path, *MORE.get(path[0], ())]
    for one in command.params:
        value = file if one is param else "3090" if isinstance(one, click.Argument) else NEEDED.get(one.opts[-1], "1")
        if one is param or one.required:
            made += [value] if isinstance(one, click.Argument) else [one.opts[-1], value]
    return made


def run(argv: list[str]) -> dict[str, Any]:
    """How a command ends, what it says, its processor seconds and its peak of resident memory."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.close(read)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.alarm(LIMIT_S)
        resource.setrlimit(resource.RLIMIT_DATA, (2_000_000_000, 2_000_000_000))
        sys.argv = ["latmodel", *argv]
        code = 0
        try:
            cli.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            code = 99
            print(repr(error)[:200], file=sys.stderr)
        sys.stderr.flush()
        os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status, used = os.wait4(pid, 0)
    return {
        "code": os.waitstatus_to_exitcode(status), "stderr": text, "cpu_s": used.ru_utime + used.ru_stime,
        "mb": used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
    }  # fmt: skip


def main() -> None:
    """Try all, in the current folder."""
    os.mkfifo("fifo")
    group = cli.group
    for path, command in leaves(group, [], click.Context(group)):
        for param in command.params:
            option = param.opts[-1]
            if param.type.name not in ("text", "path") or option in NO_FILES:
                continue
            for file in ("/dev/zero", "./fifo"):
                begun = time.monotonic()
                found = run(arguments(path, command, param, file))
                wall_s = time.monotonic() - begun
                told = {"verb": " ".join(path), "option": option, "file": file, "wall_s": wall_s, **found}
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
