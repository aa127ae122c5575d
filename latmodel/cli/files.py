"""Paths on the command line, looked at before anything is loaded or measured: regular files and nothing else."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError


class InputFile(click.Path):
    """A file to read; with `folders` a folder too. What is missing is told by what reads it, which knows more.

    Raises:
        UsageError: a device node, a FIFO or a socket, which may never end or never begin.
    """

    def __init__(self, *, folders: bool = False) -> None:
        super().__init__(path_type=Path)
        self._allowed = (stat.S_ISREG, stat.S_ISDIR) if folders else (stat.S_ISREG,)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse(str(value), self._allowed, "read", param)
        return super().convert(value, param, ctx)


class OutputFile(click.Path):
    """A file to write; what is there may be replaced if it is a regular file.

    Raises:
        UsageError: something else is there.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse(str(value), (stat.S_ISREG,), "write", param)
        return super().convert(value, param, ctx)


class Source(click.ParamType):  # type: ignore[type-arg]  # generic to type checkers alone
    """A name, or the path of a file or folder to read.

    Raises:
        UsageError: a device node, a FIFO or a socket is there.
    """

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse(str(value), (stat.S_ISREG, stat.S_ISDIR), "read", param)
        return value


def _refuse(path: str, allowed: tuple[Callable[[int], bool], ...], verb: str, param: click.Parameter | None) -> None:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # not there, or no name of a file at all
        return
    if not any(kind(mode) for kind in allowed):
        what = "it is a folder" if stat.S_ISDIR(mode) else "Not a regular file"
        where = f" for {param.opts[0]}" if isinstance(param, click.Option) else ""
        raise UsageError(f"cannot {verb} {path}: {what}; give a regular file{where}")
