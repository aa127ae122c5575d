"""Every example and the notebook run, each in a process of its own, and print what they promise."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

# Example → packages it needs, arguments that keep it short, a pattern of what it prints.
FLEET = r"a100-2 is odd: \S+gemm.compute_efficiency is (0.7\d) times .*\n(3) boards as one"
SCRIPTS = {
    "fleet.py": ((), ["--simulate", "--slow", "2", "--executor", "process", "--workers", "2"], FLEET),
    "optuna_search.py": (("optuna",), ["--trials", "60"], r"Optuna, 60 trials: (\S+)B .*\nExact: (\S+)B"),
    "ray_tune.py": (("ray",), ["--samples", "2"], r"best of 2: (\S+)B, (\S+) s"),
    "prune_in_training.py": (("torch",), ["--steps", "100"], r"response (\S+) s -> (\S+) s"),
    "tables.py": (("pandas", "sklearn"), [], r"factor 1\.(10)0, error on the rows left out (0\.00) %"),
}
# Neither loggers that load TensorBoard nor a report of usage: most of the time of so short a search.
QUIET_RAY = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def run(command: list[str], folder: Path) -> str:
    """What a command prints."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **QUIET_RAY}
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def need(*packages: str) -> None:
    """Skip where one of the packages is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def test_all_examples_are_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == SCRIPTS.keys()
    assert [path.name for path in EXAMPLES.glob("*.ipynb")] == ["frontier.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_example_runs(name: str, tmp_path: Path) -> None:
    packages, arguments, pattern = SCRIPTS[name]
    need(*packages)
    printed = run([str(EXAMPLES / name), *arguments], tmp_path)
    found = re.search(pattern, printed)
    assert found, printed
    first, second = (float(text) for text in found.groups())
    if name == "optuna_search.py":
        assert 0.0 < first <= second  # the exact answer is never worse
    if name == "prune_in_training.py":
        assert second < 0.9 * first


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path) -> None:
    need("nbclient", "nbformat", "ipykernel", "pandas")
    program = (
        "import sys, nbformat, nbclient\n"
        "book = nbclient.NotebookClient(nbformat.read(sys.argv[1], 4), timeout=200).execute()\n"
        "outputs = [out for cell in book.cells if cell.cell_type == 'code' for out in cell.outputs]\n"
        "shown = {kind for out in outputs for kind in out.get('data', {})}\n"
        "print({'text/html', 'image/png'} <= shown, outputs[-1]['text'])\n"
    )
    printed = run(["-c", program, str(EXAMPLES / "frontier.ipynb")], tmp_path)
    assert re.search(r"True eager \d+\.\dB in \d\.\d\d s, CUDA graph \d+\.\dB in \d\.\d\d s", printed), printed
