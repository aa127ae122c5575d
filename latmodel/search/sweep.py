"""A search cut in parts that may run anywhere, fail and repeat: same answer, in whatever order they come back."""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LatmodelError, UsageError
from ..strict_json import open_regular, write_whole
from ..version import __version__
from .archive import Front
from .branch_and_bound import Effort
from .executors import Executor, Future, Pool, pool
from .job import Job
from .tables import PART_ENTRIES, parts

# Parts that a space is cut into where its tables alone would need fewer: enough to keep many workers busy.
MIN_PARTS = 64
TRIES = 3
POLL_S = 0.02
MAX_CHECKPOINT_BYTES = 1_000_000_000

Part = tuple[int, int]


def shards(job: Job) -> list[Part]:
    """The parts of a space, the same wherever and however often it is cut."""
    entries = int(job.space.ffn_counts.sum())
    return parts(job.space, min(PART_ENTRIES, max(entries // MIN_PARTS, 1)))


def run_part(job: Job, part: Part, front: Front) -> tuple[Front, Effort]:
    """The shapes of a part that belong to the front of it and of those known, and the work done; runs anywhere."""
    effort = Effort()
    own = Job(**{f.name: getattr(job, f.name) for f in fields(job) if f.name != "effort"}, effort=effort)
    return own.search(part, front), effort


def sweep(job: Job, executor: "str | Executor" = "process", workers: int = 2, checkpoint: Path | None = None) -> Front:
    """The front of a job, its parts run by an executor.

    A part whose worker dies runs again, three times in all. With a checkpoint every finished part is written down, and
    what the file already holds is not run again.

    Raises:
        UsageError: unknown executor, one that is not installed, or a checkpoint of another search.
        LatmodelError: a part failed three times; the part and the last error are named.
    """
    todo = shards(job)
    record = Checkpoint(checkpoint, fingerprint(job)) if checkpoint is not None else None
    front = job.look()
    if record is not None:
        done = record.read()
        front = front.merged([front for part, front in done if part in set(todo)])
        todo = [part for part in todo if part not in {part for part, _ in done}]
    if not todo:
        return front
    return _Run(job, pool(executor, workers), 2 * workers, record, front).finish(todo)


@dataclass
class _Run:
    """A sweep under way."""

    job: Job
    pool: Pool
    window: int
    record: "Checkpoint | None"
    front: Front
    running: dict[Part, Future] = field(default_factory=dict)
    tries: dict[Part, int] = field(default_factory=dict)

    def finish(self, todo: list[Part]) -> Front:
        waiting = deque(todo)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.window:
                    part = waiting.popleft()
                    try:
                        self.running[part] = self.pool.executor.submit(run_part, self.job, part, self.front)
                    except BrokenExecutor as error:  # a death that no future has told of yet
                        waiting.append(part)
                        self._restart(waiting, error)
                for part in [part for part, future in self.running.items() if future.done()]:
                    if part in self.running:  # else: put back by a restart
                        self._collect(part, waiting)
                time.sleep(POLL_S)
        finally:
            self.pool.stop()
        return self.front

    def _collect(self, part: Part, waiting: "deque[Part]") -> None:
        try:
            front, effort = self.running[part].result()
        except LatmodelError:
            raise  # what a user can mend, no worker's death
        except Exception as error:
            if isinstance(error, BrokenExecutor):
                self._restart(waiting, error)
            else:
                del self.running[part]
                self._again(part, waiting, error)
            return
        del self.running[part]
        self.job.effort.boxes += effort.boxes
        self.job.effort.priced += effort.priced
        self.front = self.front.merged([front])
        if self.record is not None:
            self.record.write(part, front)

    def _restart(self, waiting: "deque[Part]", error: Exception) -> None:
        """A broken pool loses all that was running: start it anew."""
        lost, self.running = list(self.running), {}
        for part in lost:
            self._again(part, waiting, error)
        self.pool.stop()
        if self.pool.start is None:
            raise LatmodelError(f"the executor broke ({_short(error)}); start it again and search anew") from error
        self.pool = self.pool.start()

    def _again(self, part: Part, waiting: "deque[Part]", error: Exception) -> None:
        self.tries[part] = self.tries.get(part, 0) + 1
        if self.tries[part] >= TRIES:
            hidden = self.job.space.hiddens
            raise LatmodelError(
                f"the part of hidden sizes {hidden[part[0]]} to {hidden[part[1] - 1]} failed {TRIES} times, last with "
                f"{_short(error)}; run again with a checkpoint to keep what is done"
            ) from error
        waiting.append(part)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def fingerprint(job: Job) -> str:
    """What makes two searches the same: profile, runtime, work, space, objectives, limits and program version."""
    space = {f.name: getattr(job.space, f.name) for f in fields(job.space)}
    scenarios = {job.own, *(one.scenario for one in (*job.objectives, *(limit.objective for limit in job.limits)))}
    told = {
        "version": __version__,
        "space": space,
        "objectives": [(one.column, one.gain, _origin(one.metric)) for one in job.objectives],
        "limits": [(str(limit), _origin(limit.objective.metric)) for limit in job.limits],
        "scenarios": sorted(
            (s.predictor.profile.model_dump_json(), s.predictor.runtime, s.workload.model_dump_json())
            for s in scenarios
            if s is not None
        ),
    }
    return hashlib.sha256(json.dumps(told, default=str, sort_keys=True).encode()).hexdigest()


def _origin(metric: Any) -> str:
    """A metric, or where a function comes from (its code is not looked at)."""
    if isinstance(metric, str):
        return metric
    return f"{getattr(metric, '__module__', '')}:{getattr(metric, '__qualname__', metric)}"


@dataclass
class Checkpoint:
    """Finished parts of one search as JSON Lines; a torn last line is dropped on reading.

    Raises:
        UsageError: the file cannot be read or written, or is of another search.
    """

    path: Path
    fingerprint: str

    def read(self) -> list[tuple[Part, Front]]:
        """The parts that are done, with what they found."""
        if not self.path.exists():
            return []
        try:
            with open_regular(self.path) as file:
                if os.fstat(file.fileno()).st_size > MAX_CHECKPOINT_BYTES:
                    raise UsageError(f"{self.path} is larger than {MAX_CHECKPOINT_BYTES} bytes; choose another file")
                text = file.read().decode()
            if text and not text.endswith("\n"):
                write_whole(self.path, text[: text.rfind("\n") + 1].encode())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {self.path}: {getattr(error, 'strerror', None) or error}") from None
        return list(self._records(text))

    def _records(self, text: str) -> Iterator[tuple[Part, Front]]:
        for number, line in enumerate(text.split("\n")[:-1], 1):
            try:
                record = json.loads(line)
                part: Part = (int(record["part"][0]), int(record["part"][1]))
                values = np.array(record["values"], dtype=np.float64)
                shapes = np.array(record["shapes"], dtype=np.int64)
                same = record["fingerprint"] == self.fingerprint
            except (ValueError, KeyError, TypeError, IndexError):
                raise UsageError(f"{self.path}: line {number} is no record of a search; choose another file") from None
            if not same:
                raise UsageError(f"{self.path} is of another search; choose another file")
            if len(values):
                yield part, Front(values, shapes)
            else:
                yield part, Front.empty(int(record["goals"]))

    def write(self, part: Part, front: Front) -> None:
        """Append a part, flushed."""
        record = {
            "fingerprint": self.fingerprint, "part": list(part), "goals": front.values.shape[1],
            "values": front.values.tolist(), "shapes": front.shapes.tolist(),
        }  # fmt: skip
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}; choose another file") from None
