"""Temporary models: gone at the end, and after a SIGKILL with the next run that needs a folder."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from calibration.engines.whole.model_folder import model_folder, remove_left

HOLDS = (
    "import time\nfrom calibration.engines.whole.model_folder import model_folder\n"
    "with model_folder() as folder:\n"
    "    (folder / 'model').write_bytes(bytes(1000))\n    print(folder, flush=True)\n    time.sleep(60)"
)
# `verify` of the tests' engine on a prompt of so many tokens; it hangs at 14 of them.
VERIFIES = """
import functools, sys, types
from pathlib import Path
from calibration.verify import engine
from latmodel.device.engine_options import EngineOptions
from latmodel.model.config import ModelConfig, Workload
engine.LOADS = 1
engine.Child = functools.partial(engine.Child, command=(sys.executable, "tests/fake_engine.py"))
prediction = types.SimpleNamespace(peak_memory_bytes=0.0)
predictor = types.SimpleNamespace(runtime="fake", predict=lambda *_: prediction)
model = ModelConfig(num_hidden_layers=2, hidden_size=64)
found = engine.verify_engine(predictor, model, Workload(prompt_tokens=int(sys.argv[1]), new_tokens=2), EngineOptions(), 0.0)
print(found.prefill_s)
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of the processes of a test too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@contextmanager
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that holds a folder with a model in it."""
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_is_empty_its_owner_s_alone_and_goes_at_the_end(root: Path) -> None:
    with model_folder() as folder, model_folder() as other:
        assert folder.parent == other.parent == root and folder != other
        assert folder.is_dir() and not list(folder.iterdir()) and folder.stat().st_mode & 0o777 == 0o700
        (folder / "model").write_bytes(b"weights")
    assert not list(root.iterdir())


def test_it_goes_with_an_error_too(root: Path) -> None:
    with pytest.raises(ValueError, match="no luck"), model_folder():
        raise ValueError("no luck")
    assert not list(root.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_holds_stays(root: Path) -> None:
    with owner() as (killed, left), owner() as (_, held):
        killed.kill()
        killed.wait()
        assert (left / "model").exists()
        with model_folder():
            assert not left.exists() and (held / "model").exists()
        assert {path.name.removesuffix(".lock") for path in root.iterdir()} == {held.name}
    remove_left(root)
    assert not list(root.iterdir())


def test_other_files_are_none_of_its_business(root: Path) -> None:
    (root / "latmodel-toy.lock").write_text("")
    (root / "kept").mkdir()
    link = root / "latmodel-model-link"
    link.symlink_to(root / "kept")
    (root / "kept" / "file").write_text("")
    remove_left(root)
    assert (root / "kept" / "file").exists() and (root / "latmodel-toy.lock").exists()


def run(tokens: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", VERIFIES, str(tokens)], stdout=subprocess.PIPE, text=True)


def test_verify_of_an_engine_leaves_nothing_that_the_next_does_not_remove(root: Path) -> None:
    with run(14) as hanging:
        while not list(root.glob("latmodel-model-*/model")):
            assert hanging.poll() is None
            time.sleep(0.05)
        engines = psutil.Process(hanging.pid).children()
        hanging.send_signal(signal.SIGKILL)
        for engine in engines:  # this one would sleep on for a minute
            engine.kill()
    assert len(list(root.glob("latmodel-model-*/model"))) == 1
    with run(10) as next_one:
        assert next_one.stdout is not None
        assert float(next_one.stdout.read()) == 0.01  # a millisecond a token
    assert next_one.returncode == 0 and not list(root.glob("latmodel-model-*"))
