"""Temporary folders for models, which take gigabytes: what a killed process left is removed by the next.

Beside each folder stands a lock. Its owner holds it as long as it lives, and the system drops it however that ends.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK = "latmodel-model-", ".lock"


@contextmanager
def model_folder() -> Iterator[Path]:
    """An empty folder, removed at the end; those whose owners are gone are removed first."""
    root = Path(tempfile.gettempdir())
    remove_left(root)
    path = root / f"{PREFIX}{uuid.uuid4().hex}"
    with _lock(path):  # before the folder is there: nobody takes it for one that was left
        try:
            path.mkdir(mode=0o700)
            yield path
        finally:
            _remove(path)


def remove_left(root: Path) -> None:
    """Remove the folders that killed processes left, and their locks; those of others stay."""
    for path in {root / entry.name.removesuffix(LOCK) for entry in root.glob(f"{PREFIX}*")}:
        # Held: its owner lives. Not to be opened: it is another user's.
        with suppress(Timeout, OSError), _lock(path):
            _remove(path)


def _lock(path: Path) -> FileLock:
    return FileLock(f"{path}{LOCK}", timeout=0)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # some systems remove no file that is open
        Path(f"{path}{LOCK}").unlink()
