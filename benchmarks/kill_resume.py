"""SIGKILL a whole calibration of a simulated device again and again, resume it, and compare with an undisturbed one.

    python benchmarks/kill_resume.py --kills 50
    python benchmarks/kill_resume.py --kills 50 --short --verbs   # and as many of fit, verify, frontier with workers

Each calibration is a process of its own: start, samples, fit, files. One kill in four falls at any moment of its life,
one while it samples, one during the fit, one while the files are written. After every kill the files are looked at: all
samples that were reported as kept must be there and be those of the undisturbed run, and profile and observations whole
or absent. Half of the time the calibration is then resumed to its end and everything compared; else the next kill meets
it again. A short calibration has a few cases of the plan and one descent a fit: a life of two seconds.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from kill_verbs import series_of
from killing import check_left, environment

from calibration.devices.hardware import Hardware
from calibration.fit.make import Problem
from calibration.fit.start import problem
from calibration.measure.plan import CPU, make_plan
from calibration.measure.session import read_samples
from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.verbs.calibrate import calibrate
from calibration.verbs.prepare import Prepared
from calibration.verbs.request import Request
from latmodel.device.profile import SheetPart
from latmodel.device.profile_file import read_profile
from latmodel.laws.coefficients import Sheet

RUNTIME = "transformers-eager"
SHEET = Sheet(1e11, 1e10, 1.0, 3.2e7)
# Outliers and cases that do not fit too. The reference is quiet: an interrupted run times it anew, and its noise would
# be another; a sample's own noise depends on its case and round alone.
DISTURBANCE = Disturbance(noise=0.02, outliers=0.05, reference_noise=0.0)
MEMORY_BYTES = 3e8
SHORTER = 4  # a short calibration has every fourth case
STAGES = ("life", "samples", "fitting", "writing")


def prepared(path: Path, short: bool = False) -> Prepared:
    """A quick calibration of the simulated device, to be written to `path`, or a short one."""
    hardware = Hardware("simulated", 0, "Simulated", 1e10, SHEET.cache_bytes, 1.0, "1", "2", "here", 1)
    part = SheetPart(
        peak_flops_per_s={"bfloat16": SHEET.peak_flops_per_s}, bandwidth_bytes_per_s=SHEET.bandwidth_bytes_per_s,
        memory_bytes=1e10, sm_count=1.0, cache_bytes=SHEET.cache_bytes, source="simulated",
    )  # fmt: skip
    plan = make_plan("quick", RUNTIME, "bfloat16", CPU, SHEET.cache_bytes)
    task = problem("cpu", SHEET, {RUNTIME: "transformers"})
    if short:
        plan, task = replace(plan, cases=plan.cases[::SHORTER]), Problem(task.start, task.free)
    return Prepared(hardware, "cpu", part, {RUNTIME: plan}, task, path, Request("cpu", out=path))


def child(path: Path, die_at: str | None, short: bool) -> None:
    """Calibrate; tell each step on stdout. `die_at` is a number of kept samples, "fitting" or "writing"."""
    ready = prepared(path, short)
    kept = [] if not ready.samples_path.exists() else list(read_samples(ready.samples_path).records)
    lab = SimulatedLab(
        ready.problem.start.target(RUNTIME), 1, DISTURBANCE, MEMORY_BYTES, replay=False,
        opened=[str(record["case"]) for record in kept if record["kind"] == "sample"],
    )  # fmt: skip
    count = len(kept)

    def tell(what: str) -> None:
        print(what, flush=True)
        if what == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def progress(*_: object) -> None:
        nonlocal count
        if count == len(kept):
            tell("samples")
        tell(str(count))
        count += 1  # the next call comes when this sample is kept

    def say(line: str) -> None:
        tell("writing" if line.startswith("writing") else "fitting" if "noise" in line else "note")

    calibrate(ready, say, progress, lambda _: lab)


class Seen(NamedTuple):
    """What a process told before it ended: when (seconds from its start) it said what, and when it ended."""

    told: dict[str, float]
    seconds: float
    code: int

    @property
    def kept(self) -> int:
        """Samples that it had reported as kept."""
        return max((int(what) for what in self.told if what.isdigit()), default=0)


def run(
    path: Path, die_at: str | None = None, stage: str | None = None, delay_s: float = 0.0, short: bool = False
) -> Seen:
    """Run a calibration, killed by itself at `die_at`, or from here `delay_s` after it told of `stage` or began."""
    command = [sys.executable, str(Path(__file__)), "--child", str(path), *(["--die-at", die_at] if die_at else [])]
    start, told, mark = time.monotonic(), {}, f"{path.parent}-{time.monotonic_ns()}"
    variables = environment(path.parent, mark)
    with subprocess.Popen(
        [*command, *(["--short"] if short else [])], stdout=subprocess.PIPE, text=True, env=variables
    ) as process:
        assert process.stdout is not None
        if stage == "life":
            time.sleep(delay_s)
            process.kill()
        for line in process.stdout:
            told[line.strip()] = time.monotonic() - start
            if line.strip() == stage:
                time.sleep(delay_s)
                process.kill()
        process.wait()
    check_left(path.parent, mark)
    return Seen(told, time.monotonic() - start, process.returncode)


@dataclass
class Whole:
    """What an undisturbed calibration leaves, to compare with."""

    samples: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    observations: bytes = b""
    profile: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> "Whole":
        """From the files of a calibration."""
        ready = prepared(path)
        return cls(samples_of(ready), ready.observations_path.read_bytes(), profile_of(path))


def samples_of(ready: Prepared) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Samples by case, round and attempt; none may be there twice, and no line may be corrupt."""
    found = read_samples(ready.samples_path)
    assert not found.problems, found.problems
    table = {(record["case"], record["round"], record["attempt"]): record for record in found.records}
    assert len(table) == len(found.records), "a sample was taken twice"
    return table


def profile_of(path: Path) -> dict[str, Any]:
    """A profile as a dictionary, without what differs from day to day and from load to load."""
    found: dict[str, Any] = json.loads(read_profile(path).model_dump_json())
    found["provenance"].pop("date")
    notes = found["provenance"]["notes"]
    found["provenance"]["notes"] = [note for note in notes if not note.startswith("load average")]
    return found


def check(path: Path, whole: Whole, kept: int) -> None:
    """Whether the files of an interrupted calibration hold nothing but what is right, and all that was kept."""
    ready = prepared(path)
    samples = samples_of(ready) if ready.samples_path.exists() else {}
    assert len(samples) >= kept, f"{kept} samples were reported as kept, {len(samples)} are there"
    for key, record in samples.items():
        assert record == whole.samples[key], f"{key} differs"
    if path.exists():
        assert profile_of(path) == whole.profile, "another profile"
        assert ready.observations_path.exists(), "a profile without its observations"
    if ready.observations_path.exists():
        assert ready.observations_path.read_bytes() == whole.observations, "other observations"


def has_ended(path: Path) -> bool:
    """Whether the calibration was finished before it was killed; started once more it would begin anew."""
    samples = prepared(path).samples_path
    return samples.exists() and read_samples(samples).ended


def resume(path: Path, whole: Whole, short: bool = False) -> None:
    """Run an interrupted calibration to its end, if it has not ended, and compare all that it leaves."""
    if not has_ended(path):
        assert run(path, short=short).code == 0, "the resumed run failed"
    assert has_ended(path)
    assert Whole.of(path) == whole
    left = [name.name for name in path.parent.iterdir() if name.name.endswith(".part")]
    assert not left, f"left behind: {left}"


def main() -> None:
    """Kill, check, resume, compare; print where the kills fell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of each verb")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="calibrations of two seconds")
    parser.add_argument("--verbs", action="store_true", help="fit, verify and a frontier with workers too")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.die_at, options.short)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(kill_often(folder, options.kills, options.seed, options.short), flush=True)
        if options.verbs:
            series_of(folder, folder / "whole" / "sim.json", options.kills, options.seed)


def kill_often(folder: Path, kills: int, seed: int, short: bool) -> str:
    """`kills` kills, each checked; a line that says where they fell."""
    path = fresh(folder, "whole")
    seen = run(path, short=short)
    assert seen.code == 0, "the undisturbed run failed"
    whole = Whole.of(path)
    lasts = _lengths(seen)
    rng, fell, killed, resumed = random.Random(seed), dict.fromkeys(("start", *STAGES[1:]), 0), 0, 0
    path = fresh(folder, "0")
    while killed < kills:
        stage = STAGES[killed % len(STAGES)]
        one = run(path, stage=stage, delay_s=rng.uniform(0.0, lasts[stage]), short=short)
        check(path, whole, one.kept)
        if one.code == -signal.SIGKILL:
            killed += 1
            fell[_where(one)] += 1
        elif all(told in one.told for told in STAGES[1:]):
            lasts = _lengths(one)  # the machine may be quicker than it was
        if has_ended(path) or killed == kills or rng.random() < 0.5:
            resume(path, whole, short)
            resumed += 1
            path = fresh(folder, str(resumed))
    places = ", ".join(f"{count} in {where}" for where, count in fell.items() if count)
    return (
        f"calibrate: {kills} kills ({places}) of {resumed} calibrations in lives of {seen.seconds:.1f} s: "
        f"{len(whole.samples)} samples each, nothing lost or corrupt, no process or lock left"
    )


def fresh(folder: Path, name: str) -> Path:
    """Where another calibration writes its profile."""
    (folder / name).mkdir()
    return folder / name / "sim.json"


def _lengths(seen: Seen) -> dict[str, float]:
    """Seconds of each stage of an undisturbed run, and of all of it."""
    ends = [*(seen.told[stage] for stage in STAGES[1:]), seen.seconds]
    lasts = {stage: end - begin for stage, begin, end in zip(STAGES[1:], ends[:-1], ends[1:], strict=True)}
    return {**lasts, "life": seen.seconds}


def _where(seen: Seen) -> str:
    for stage in ("writing", "fitting"):
        if stage in seen.told:
            return stage
    return "samples" if seen.told else "start"


if __name__ == "__main__":
    main()
