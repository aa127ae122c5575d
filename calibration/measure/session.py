"""Samples on disk: one JSON line each, bound to the device, driver, torch and plan; and one calibration at a time."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from latmodel.errors import LatmodelError, NoisyError, UsageError

from ..observations.record import append_record, read_records
from .rounds import Record

FORMAT = 2
EVERYBODY = 0o666  # may hold the lock of a device, in turn


class SampleFile:
    """A log of samples in a file; satisfies `measure.Log`. Its first line is the header it is bound to."""

    def __init__(self, path: Path, records: list[Record], problems: Sequence[str] = ()) -> None:
        self.path = path
        self.problems = tuple(problems)
        self._records = records

    @property
    def records(self) -> Sequence[Record]:
        """All samples, in the order they were taken."""
        return [record for record in self._records if record["kind"] in ("sample", "skip")]

    @property
    def header(self) -> Record:
        """What the samples are bound to; empty if the first line is torn."""
        return next((record for record in self._records if record["kind"] == "header"), {})

    @property
    def ended(self) -> bool:
        """Whether the calibration it belongs to was finished."""
        return any(record["kind"] == "end" for record in self._records)

    def append(self, record: Record) -> None:
        """Keep a record for good.

        Raises:
            LatmodelError: it cannot be written (a full disk); what was kept stays.
        """
        try:
            append_record(self.path, record)
        except OSError as error:
            raise LatmodelError(
                f"cannot write {self.path}: {error.strerror}; its samples are kept: make room and run the same "
                "command again"
            ) from None
        self._records.append(record)

    def end(self) -> None:
        """Mark the calibration as finished."""
        if not self.ended:
            self.append({"kind": "end"})


def open_samples(path: Path, binding: Mapping[str, Any], resume: bool) -> SampleFile:
    """The sample file at `path`, continued where it belongs to the same device, driver, torch and plan.

    A finished file, or one that is not to be resumed, is kept under another name and a new one begun.

    Raises:
        UsageError: it belongs to another binding (the key is named), or cannot be written.
    """
    header = {"kind": "header", "format": FORMAT, **binding}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = read_samples(path)
            if resume and not kept.ended and _belongs(kept, header):
                return kept
            path.replace(_free_name(path))
        append_record(path, header)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --out") from None
    return SampleFile(path, [header])


def read_samples(path: Path) -> SampleFile:
    """All records of a sample file; lines that are none are named in `problems`.

    Raises:
        UsageError: the file cannot be read.
    """
    loaded = read_records(path)
    good, problems = [], list(loaded.problems)
    for record in loaded.records:
        if _is_known(record):
            good.append(record)
        else:
            problems.append(f"{path}: a record of kind {str(record.get('kind'))[:20]!r} is not one of ours; left out")
    return SampleFile(path, good, problems)


def _is_known(record: Record) -> bool:
    needed = {
        "header": {"format"}, "end": set(), "skip": {"case", "round", "reason", "before", "after", "flags"},
        "sample": {"case", "phase", "round", "wall_s", "replay_s", "flags", "before", "after", "attempt"},
    }.get(str(record.get("kind")))  # fmt: skip
    return needed is not None and needed <= record.keys()


def _belongs(kept: SampleFile, header: Record) -> bool:
    kept_header = kept.header
    if not kept_header:
        return False
    for key, value in header.items():
        if kept_header.get(key) != value:
            raise UsageError(
                f"{kept.path} holds measurements with {key} {str(kept_header.get(key))[:60]!r}, this run has "
                f"{str(value)[:60]!r}; they do not mix: use --no-resume to begin anew, or another --out"
            )
    return True


def _free_name(path: Path) -> Path:
    number = 1
    while (other := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return other


@contextmanager
def device_lock(device: str) -> Iterator[None]:
    """Holds a device for one calibration: a lock that the system drops when the process ends, however it ends.

    It stands in the folder for temporary files, the one place that all users of a machine share.

    Raises:
        NoisyError: another calibration holds it.
        LatmodelError: the lock cannot be opened.
    """
    path = Path(tempfile.gettempdir()) / f"latmodel-{re.sub('[^a-z0-9]+', '-', device.lower())}.lock"
    lock = FileLock(path, timeout=0, mode=EVERYBODY)
    try:
        lock.acquire()
    except Timeout:
        raise NoisyError(f"another calibration of {device} is running; wait for it (lock: {path})") from None
    except OSError as error:
        raise LatmodelError(
            f"cannot open the lock {path}: {error.strerror}; remove it if it is another user's"
        ) from None
    try:
        yield
    finally:
        lock.release()
