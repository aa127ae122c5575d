"""The tests that depend on other packages, on the oldest and on the newest of each that pyproject.toml admits.

    python benchmarks/versions.py oldest newest

The oldest are its lower bounds; the newest are whatever the index has. Of torch both sets take one CPU build. Each set
gets an environment of its own under `.versions/` (or `--folder`), kept for the next run. Families of decoders came to
Transformers one by one, so their tests run on the newest alone; blocks, measuring and fitting on both. A quick
calibration of this CPU follows on both. `--python` names another interpreter.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH = "torch==2.13.0"  # the lower bound, of which there is a CPU build on the index
EXTRAS = ("calibrate", "plot", "transformers", "search")
TOOLS = ("pytest>=8", "hypothesis>=6.100")  # of the tests, not of the library: the newest will do
BOTH = (
    "block", "implementation", "since", "device", "measure", "fit", "anneal", "plan", "session", "observations",
    "calibrate_simulated", "host_only", "cli_calibrate", "verify", "lazy_imports", "cli", "profile", "frontier",
)  # fmt: skip
NEWEST = ("decoder", "families", "llama_kernels", "recurrent", "huggingface")
# A package of two years ago warns of what its newer dependencies retire; that is not ours to mend.
QUIET = ("-W", "ignore::DeprecationWarning")


def requirements(path: Path = ROOT / "pyproject.toml") -> list[str]:
    """The library's requirements with the extras that measuring needs, as pyproject.toml states them."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]


def pinned_to_oldest(requirement: str) -> str:
    """`name>=1.2,<3` as `name==1.2`.

    Raises:
        ValueError: it has no lower bound, so that nobody knows what it needs.
    """
    match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[.*\])?\s*>=\s*([^,;\s]+).*", requirement)
    if match is None:
        raise ValueError(f"{requirement!r} has no lower bound in pyproject.toml")
    return f"{match[1]}=={match[2]}"


def packages(which: str) -> list[str]:
    """What to install for "oldest" or "newest"."""
    wanted = sorted(one for one in set(requirements()) if not one.startswith("torch>"))
    return [*(map(pinned_to_oldest, wanted) if which == "oldest" else wanted), TORCH, *TOOLS]


def environment(folder: Path, which: str, python: str) -> Path:
    """The interpreter of an environment in `folder` with these packages, made or brought up to date."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--upgrade", *packages(which)]
    subprocess.run(command, check=True)
    return interpreter


def run_tests(which: str, interpreter: Path) -> int:
    """Run them from the checkout; the exit status of pytest."""
    names = BOTH if which == "oldest" else (*BOTH, *NEWEST)
    files = [f"tests/test_{name}.py" for name in names]
    quiet = QUIET if which == "oldest" else ()
    return _run([str(interpreter), "-m", "pytest", "-q", *quiet, *files])


def run_calibration(interpreter: Path) -> int:
    """A quick calibration of this CPU and one verified model; how noisy the machine is does not matter here."""
    with tempfile.TemporaryDirectory() as folder:
        profile = str(Path(folder) / "cpu.json")
        measure = ["calibrate", "--gpu", "cpu", "--effort", "quick", "--max-noise", "1", "--out", profile]
        verify = ["verify", "6x256", "--profile", profile, "--prompt", "64", "--generate", "8", "--tolerance", "1"]
        return any(_run([str(interpreter), "-m", "latmodel", *verb]) for verb in (measure, verify))


def _run(command: Sequence[str]) -> int:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, cwd=ROOT, env=variables).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Test each set; 1 if any fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=("oldest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="interpreter to make environments with")
    parser.add_argument("--folder", type=Path, default=ROOT / ".versions", help="where the environments are kept")
    options = parser.parse_args(arguments)
    failed = []
    for which in options.sets:
        print(f"{which}: {' '.join(packages(which))}", flush=True)
        interpreter = environment(options.folder / which, which, options.python)
        if run_tests(which, interpreter) or run_calibration(interpreter):
            failed.append(which)
    print(f"failed: {', '.join(failed)}" if failed else "all sets pass")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
