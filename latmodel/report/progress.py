"""How far long work has come, on stderr and only where somebody looks at it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what is under way


def no_progress(done: int, total: int, step: str) -> None:
    """Say nothing."""


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A callable that moves a bar titled `what`; it does nothing where stderr is no terminal.

    The bar shows the steps done, what is under way and the time that the rest will take at the pace so far.
    """
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[step]}"),
    )  # fmt: skip
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, step="")
        yield lambda done, total, step: bar.update(task, completed=done, total=total, step=step[:32])
