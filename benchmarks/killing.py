"""What a SIGKILL may not leave: a process, a lock that stays, parts of files that pile up. For Linux (/proc)."""

import os
import time
from pathlib import Path

MARK = "LATMODEL_KILLED_RUN"  # in the environment of a run, and so of all that it starts
POLLS, POLL_S = 100, 0.05  # counted, not timed: whoever stops this process for a while stops the others too
MOST_PARTS = 1  # of one file: the next run removes what the last left


def environment(folder: Path, mark: str) -> dict[str, str]:
    """For a run that carries the mark and has its locks in `folder`, apart from others'."""
    return {**os.environ, MARK: mark, "TMPDIR": str(folder)}


def left(mark: str) -> list[int]:
    """Processes that carry the mark and have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def check_left(folder: Path, mark: str) -> None:
    """Nothing of a killed run may be left that lives or grows.

    Raises:
        AssertionError: a process, a lock, or more than one part of a file.
    """
    for _ in range(POLLS):
        if not left(mark):
            break
        time.sleep(POLL_S)
    assert not left(mark), f"processes {left(mark)} live on"
    for path in folder.glob("*.lock"):
        assert _is_free(path), f"{path.name} is still locked"
    parts = [path.name.rsplit(".", 2)[0] for path in folder.glob(".*.part")]
    assert all(parts.count(name) <= MOST_PARTS for name in parts), f"left behind: {parts}"


def _is_free(path: Path) -> bool:
    import fcntl

    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
