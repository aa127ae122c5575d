"""Files from outside: regular ones alone, up to a limit, JSON without a name twice or numbers that are none.

And files of our own, written whole or not at all.
"""

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ProfileError, UsageError


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs as a dictionary, for `json.loads(object_pairs_hook=…)`.

    Raises:
        ValueError: a name appears twice.
    """
    seen = dict(pairs)
    if len(seen) != len(pairs):
        known: set[str] = set()
        for name, _ in pairs:
            if name in known:
                raise ValueError(f"field {name[:80]!r} appears twice")
            known.add(name)
    return seen


def refuse_constant(text: str) -> float:
    """For `json.loads(parse_constant=…)`.

    Raises:
        ValueError: always; the text is NaN or an infinity.
    """
    raise ValueError(f"{text} is not a number")


def strict_loads(text: str | bytes) -> Any:
    """Plain data of JSON text, without duplicate keys, NaN or infinities.

    Raises:
        ValueError: it is not such JSON, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def load_json(path: Path, limit: int) -> Any:
    """Plain JSON data of at most `limit` bytes, without duplicate keys, NaN or infinities.

    Raises:
        ProfileError: the file is missing, too large, or not such JSON.
    """
    try:
        raw = read_regular(path, limit)
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}; see `latmodel profile list`") from None
    if len(raw) > limit:
        raise ProfileError(f"{path} is larger than {limit} bytes and is no profile; see `latmodel profile list`")
    try:
        return strict_loads(raw)
    except ValueError as error:
        raise ProfileError(f"{path} is not valid JSON: {str(error)[:120]}") from None


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file, open for reading. A device node never ends and a FIFO may never begin: neither is read.

    Raises:
        OSError: it cannot be read, or is no regular file; `strerror` says so.
    """
    # Without waiting for a writer, should it be a FIFO. What was opened is what is looked at: no race between the two.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_regular(path: Path, limit: int) -> bytes:
    """The first `limit` + 1 bytes, so that the caller sees whether there are more than `limit`.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path) as file:
        return file.read(limit + 1)


def read_text(path: Path, limit: int) -> str:
    """A whole file of UTF-8 text, with a byte order mark or without.

    Raises:
        UsageError: it cannot be read, is larger than `limit` bytes, or no such text.
    """
    try:
        raw = read_regular(path, limit)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > limit:
        raise UsageError(f"{path} is larger than {limit / 1e6:g} MB; split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: not UTF-8 text (byte {error.start}); save it in UTF-8") from None


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the path under a random name, then rename over it; a link is followed to the file that it names.

    What writers of the same path left beside it when they were killed is removed.

    Raises:
        OSError: it cannot be written, or something other than a regular file is there.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    _remove_left(target)
    with _part(target) as part:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """A new file beside the target, locked while it is written, so that no other writer takes it for left behind."""
    part = target.with_name(f"{_start(target)}{secrets.token_hex(6)}.part")
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    held = _lock(descriptor)
    if not held:  # no such locks here: others leave it alone, too
        os.close(descriptor)
    try:
        yield part
    except BaseException:  # Ctrl-C leaves nothing behind either
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    finally:
        if held:
            os.close(descriptor)


def _remove_left(target: Path) -> None:
    """Remove the parts of writers that have ended: a lock is dropped with its process, however it ends."""
    with suppress(OSError):
        for left in [one for one in target.parent.iterdir() if _is_part(one.name, target)]:
            with open_regular(left) as file:
                if _lock(file.fileno()):
                    left.unlink(missing_ok=True)


def _start(target: Path) -> str:
    return f".{target.name[:200]}."


def _is_part(name: str, target: Path) -> bool:
    start, end = _start(target), ".part"
    return name.startswith(start) and name.endswith(end) and len(name) == len(start) + 12 + len(end)


def _lock(descriptor: int) -> bool:
    """Whether the file is now locked by us; the system drops the lock when it is closed or the process ends."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # no such locks on this system, or another has it
        return False
    return True
