"""Tests that notice: small faults are planted one at a time, and the tests that stand for a file must fail on each.

    python benchmarks/mutants.py --each 8 --jobs 2             # eight of every file
    python benchmarks/mutants.py latmodel/laws/gemm.py --each 40
    python benchmarks/mutants.py --sample 15 --least 80        # what CI runs: a few of all files

`mutant_rules.py` says what a fault is, `mutant_guards.py` which tests stand for which file. Every mutant runs in a copy
of the tree, in a fork of this process, which has the packages loaded already that tests need. The tests must pass
without a fault first. A mutant that takes ten times as long as they do counts as killed. Survivors are printed with
their line: either a test is missing, or the fault changes nothing ("equivalent"), and is then listed in `EQUIVALENT`
with the reason. Ctrl-C gives the figures so far. POSIX only.
"""

import argparse
import gc
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

from mutant_guards import EQUIVALENT, GUARDS
from mutant_rules import ROOT, Mutant, mutants

COPIED = ("latmodel", "calibration", "tests", "benchmarks", "profiles", "pyproject.toml", "docs", "README.md")
LOADED = ("numpy", "pydantic", "click", "rich.console", "pytest", "hypothesis", "scipy.optimize", "torch")
# What was loaded before the fork is known to pytest as such, and no reason to fail. Nobody reads what a failed
# assertion shows: to prepare for it would take a third of the time.
COMMAND = (
    "-qx",
    "--assert=plain",
    "-m",
    "not slow and not gpu",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
SLOWER, LEAST_S, NEVER_S = 10.0, 10.0, 1800.0  # processor time against the sound tests'; a mutant that sleeps for good
MOST_BYTES = 8 << 30
POLL_S = 0.02
TOO_LONG = "took too long"
Tests = tuple[str, ...]  # by the names of their files, quickest first


class Run(NamedTuple):
    """Tests on one mutant (None: on the sound tree), in a process of their own."""

    mutant: Mutant | None
    tests: Tests
    begun: float
    sound: str = ""  # the file without the fault


class Ended(NamedTuple):
    """What became of it: the test that failed, None if all passed; processor seconds."""

    mutant: Mutant | None
    tests: Tests
    killer: str | None
    seconds: float


def copy_tree(folder: Path) -> None:
    """What the tests read, without caches."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def start(folder: Path, run: Run, limit_s: float) -> int:
    """Plant the fault in the copy and fork; the child's exit status is 0, or which test failed, counted from 1."""
    if run.mutant is not None:
        (folder / run.mutant.path).write_text(run.mutant.text(), encoding="utf-8")
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = _test(folder, run.tests, limit_s)
        finally:
            os._exit(status)
    return pid


def _test(folder: Path, tests: Sequence[str], limit_s: float) -> int:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s) + 1, int(limit_s) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.environ |= {
        "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "CI": "true",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    os.chdir(folder)
    sys.dont_write_bytecode = True
    here = {str(ROOT), str(ROOT / "benchmarks")}
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in here)]
    import pytest

    for number, name in enumerate(tests, 1):
        if pytest.main([*COMMAND, f"tests/test_{name}.py"]) != 0:
            return number
    return 0


def ended(folder: Path, run: Run, status: int, seconds: float) -> Ended:
    """Read the status and make the copy sound again."""
    if run.mutant is not None:
        (folder / run.mutant.path).write_text(run.sound, encoding="utf-8")
    code = os.waitstatus_to_exitcode(status)
    killer = None if code == 0 else run.tests[code - 1] if 0 < code <= len(run.tests) else TOO_LONG
    return Ended(run.mutant, run.tests, killer, seconds)


def run_all(
    folders: Sequence[Path], wanted: Iterable[tuple[Mutant | None, Tests]], usual_s: Mapping[Tests, float]
) -> Iterator[Ended]:
    """Run them, one at a time in each copy, and give what became of each as it ends."""
    waiting, free, running = list(wanted)[::-1], list(folders), dict[int, tuple[Path, Run]]()
    while waiting or running:
        while waiting and free:
            mutant, tests = waiting.pop()
            folder = free.pop()
            sound = "" if mutant is None else (folder / mutant.path).read_text(encoding="utf-8")
            run = Run(mutant, tests, time.monotonic(), sound)
            limit_s = max(LEAST_S, SLOWER * usual_s.get(tests, NEVER_S / SLOWER))
            running[start(folder, run, limit_s)] = (folder, run)
        pid, status, used = os.wait4(-1, os.WNOHANG)
        if pid in running:
            folder, run = running.pop(pid)
            free.append(folder)
            yield ended(folder, run, status, used.ru_utime + used.ru_stime)
        else:
            time.sleep(POLL_S)
        for one, (_, run) in running.items():
            if time.monotonic() - run.begun > NEVER_S:
                os.killpg(one, signal.SIGKILL)


def chosen(paths: Sequence[str], each: int, sample: int | None, seed: int) -> list[Mutant]:
    """Seeded: so many of each file, or of all files together."""
    generator = random.Random(seed)
    by_file = [[one for one in mutants(path) if one.label not in EQUIVALENT] for path in paths]
    if sample is not None:
        everything = [one for some in by_file for one in some]
        return generator.sample(everything, min(sample, len(everything)))
    picked = [generator.sample(some, min(each, len(some))) for some in by_file]
    # In rounds over the files: a run that is ended early has seen as many of each.
    return [one for some in zip_longest(*picked) for one in some if one is not None]


def judged(some: Sequence[Mutant], jobs: int) -> list[Ended]:
    """Run the tests on the sound tree, then on each mutant; survivors are printed as they come.

    Raises:
        SystemExit: tests fail without a fault, so that they say nothing.
    """
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(number) for number in range(jobs)]
        for folder in folders:
            folder.mkdir()
            copy_tree(folder)
        tests = {path: GUARDS[path] for path in sorted({one.path for one in some})}
        alone = {}
        for sound in run_all(folders, [(None, (name,)) for name in sorted({*chain(*tests.values())})], {}):
            if sound.killer is not None:
                raise SystemExit(f"test_{sound.killer} fails without a fault")
            alone[sound.tests[0]] = sound.seconds
        usual_s = {names: sum(alone[name] for name in names) for names in tests.values()}
        print(f"{len(alone)} files of tests pass without a fault, in {sum(alone.values()):.0f} s", flush=True)
        done = []
        with suppress(KeyboardInterrupt):
            for one in run_all(folders, [(mutant, GUARDS[mutant.path]) for mutant in some], usual_s):
                done.append(one)
                if one.killer is None and one.mutant is not None:
                    path, line, before, after, _ = one.mutant
                    print(f"SURVIVED {path}:{line}: {before} → {after}", flush=True)
        return done


def figures(done: Sequence[Ended]) -> Iterator[str]:
    """A line for each file: how many were killed, and by which tests."""
    by_file: dict[str, list[Ended]] = {}
    for one in done:
        assert one.mutant is not None
        by_file.setdefault(one.mutant.path, []).append(one)
    for path, some in sorted(by_file.items()):
        by = Counter(one.killer for one in some if one.killer is not None)
        shown = ", ".join(f"{name} {count}" for name, count in by.most_common())
        yield f"{path:48s} {by.total():3d} of {len(some):3d} killed ({shown}; {sum(one.seconds for one in some):.0f} s)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, run, count by file; 1 if fewer than `--least` percent were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(GUARDS))
    parser.add_argument("--each", type=int, default=8, help="mutants of each file")
    parser.add_argument("--sample", type=int, help="mutants of all files together, instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--least", type=float, default=0.0, help="percent that must be killed")
    options = parser.parse_args(arguments)
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # pytest collects at its end: what is loaded here need not be looked at again for every mutant
    done = judged(chosen(options.files, options.each, options.sample, options.seed), options.jobs)
    print("\n".join(figures(done)))
    dead = sum(one.killer is not None for one in done)
    percent = 100.0 * dead / max(len(done), 1)
    print(f"{dead} of {len(done)} killed: {percent:.0f} %")
    return 0 if percent >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
