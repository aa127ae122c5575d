"""SIGKILL a calibration of an engine again and again at any moment of its life, and resume it (Linux).

    python benchmarks/kill_engine.py --kills 20 --runtime llama.cpp --weights q8_0

The calibration is the one by tiny models that the tests run (`tests/engine_calibration.py`), a process of its own that
starts an engine's process for each load. After every kill: no engine's process is left, every sample that was in the
file is still there, and a profile is whole or absent. Half of the time the calibration is then resumed to its end: each
case is there once, what was there before stands first, nothing else is left beside. After `--seconds` no other kill is
begun, and the summary says how many there were.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from calibration.measure.session import read_samples
from latmodel.device.profile_file import read_profile

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, str(ROOT / "tests" / "engine_calibration.py"))
ORPHAN_S = 5.0  # in which a process must be gone
SAMPLE = b'"kind":"sample"'


@dataclass
class Calibration:
    """One calibration of an engine in a folder of its own, killed and resumed."""

    folder: Path
    engine: str
    weights: str
    records: list[dict[str, Any]] = field(default_factory=list)  # as last seen

    @property
    def profile(self) -> Path:
        """Where it writes its profile."""
        return self.folder / "cpu.json"

    @property
    def samples(self) -> Path:
        """Where it keeps its samples."""
        return self.folder / f"cpu.{self.engine}-{self.weights}.samples.jsonl"

    def start(self) -> "subprocess.Popen[bytes]":
        """Begin, or go on; the lock of the device is the folder's own."""
        environment = {**os.environ, "TMPDIR": str(self.folder), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([*COMMAND, self.engine, self.weights, str(self.profile)], env=environment)

    def run_and_kill(self, delay_s: float) -> bool:
        """Kill after so long and look; whether it was still running."""
        with self.start() as process:
            time.sleep(delay_s)
            engines, sure = (
                _children(process.pid),
                self.samples.read_bytes().count(SAMPLE) if self.samples.exists() else 0,
            )
            process.send_signal(signal.SIGKILL)
        end = time.monotonic() + ORPHAN_S
        while (left := [pid for pid in engines if _is_running(pid)]) and time.monotonic() < end:
            time.sleep(0.02)
        assert not left, f"processes {left} are left"
        self.look(sure)
        return process.returncode == -signal.SIGKILL

    def look(self, sure: int) -> None:
        """Whether what was kept is kept: the records of before, and at least `sure` of them."""
        found = list(read_samples(self.samples).records) if self.samples.exists() else []
        assert len(found) >= sure, f"{sure} samples were kept, {len(found)} are there"
        assert found[: len(self.records)] == self.records, "a sample that was kept has changed"
        self.records = found
        if self.profile.exists():
            read_profile(self.profile)

    def finish(self) -> int:
        """Run to the end, and compare; the samples there are."""
        if not (self.samples.exists() and read_samples(self.samples).ended):
            with self.start() as process:
                pass
            assert process.returncode == 0, "the resumed run failed"
            self.look(len(self.records))
        kept = read_samples(self.samples)
        cases = [(record["case"], record["round"]) for record in kept.records if record["kind"] == "sample"]
        assert kept.ended
        assert not kept.problems, kept.problems
        assert len(set(cases)) == len(cases), "a sample was taken twice"
        assert read_profile(self.profile).runtimes[self.engine].formats.keys() == {self.weights}
        left = {path.name for path in self.folder.iterdir()} - {self.profile.name, self.samples.name}
        assert all(name.endswith(".lock") for name in left), f"left behind: {left}"
        return len(cases)


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@dataclass
class Met:
    """What a series of kills met."""

    kills: int = 0
    after_samples: int = 0  # kills of runs that had kept samples of their own
    finished: int = 0  # calibrations resumed to their end and compared
    ended: int = 0  # runs that were over before their kill
    samples: int = 0  # of a whole calibration
    seconds: float = 0.0  # of the series

    def text(self, engine: str) -> str:
        """One line."""
        return (
            f"{self.kills} kills in {self.seconds:.0f} s ({self.after_samples} of runs that had kept samples; "
            f"{self.ended} runs were over before), {self.finished} calibrations of {engine} resumed to their end with "
            f"{self.samples} samples each: nothing lost but the sample in flight, no process left, every profile whole"
        )

    def finish(self, one: Calibration) -> None:
        """Resume to the end and compare."""
        assert one.finish() == self.samples, "samples are missing"
        self.finished += 1


def kill_often(folder: Path, engine: str, weights: str, kills: int, seconds: float, seed: int) -> Met:
    """`kills` kills, fewer if time is over, each looked at."""
    begin, names, rng, met = time.monotonic(), count(), random.Random(seed), Met()

    def fresh() -> Calibration:
        own = folder / str(next(names))
        own.mkdir()
        return Calibration(own, engine, weights)

    fresh().finish()  # reads what is read from the disk once
    start = time.monotonic()
    met.samples = fresh().finish()
    life_s, one = time.monotonic() - start, fresh()
    while met.kills < kills and time.monotonic() - begin < seconds:
        before = len(one.records)
        if one.run_and_kill(rng.uniform(0.0, life_s)):
            met.kills += 1
            met.after_samples += len(one.records) > before
        else:
            met.ended += 1
        if one.profile.exists() or rng.random() < 0.5:
            met.finish(one)
            one = fresh()
            print(f"{met.kills} of {kills} kills, {met.finished} finished", file=sys.stderr, flush=True)
    met.finish(one)
    met.seconds = time.monotonic() - begin
    return met


def main() -> int:
    """Kill, look, resume; print. 1 if there were fewer kills than asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="llama.cpp")
    parser.add_argument("--weights", default="q8_0")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=280.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        met = kill_often(Path(folder), options.runtime, options.weights, options.kills, options.seconds, options.seed)
    print(met.text(options.runtime))
    return 0 if met.kills == options.kills else 1


if __name__ == "__main__":
    raise SystemExit(main())
