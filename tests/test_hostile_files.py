"""Files that never end or never begin are refused before they are read; what is written is whole and replaces files alone."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latmodel.strict_json import read_regular, write_whole

COMMANDS = {
    "predict --input": ["predict", "--input"], "predict --config": ["predict", "--config"],
    "predict --profile": ["predict", "--layers", "4", "--profile"],
    "fit --observations": ["fit", "--gpu", "3090", "--observations"],
    "quality check": ["quality", "check"],
}  # fmt: skip


@pytest.fixture(params=["zero", "fifo"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A device node that never ends, and a FIFO that nobody writes to."""
    if request.param == "zero":
        return "/dev/zero"
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_file_that_never_ends_is_refused_in_one_line(name: str, endless: str) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))

    run = subprocess.run(
        [sys.executable, "-m", "latmodel", *COMMANDS[name], endless],
        capture_output=True, text=True, timeout=60, preexec_fn=limited, check=False,
    )  # fmt: skip
    assert run.returncode in (2, 6) and "Not a regular file" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_reading_stops_behind_the_limit(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert read_regular(tmp_path / "long", 10) == b"x" * 11
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 10)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    begun = time.monotonic()
    with pytest.raises(OSError, match="Not a regular file"):
        read_regular(tmp_path / "fifo", 10)
    assert time.monotonic() - begun < 5.0


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (Path("/dev/null"), tmp_path / "fifo", tmp_path):
        with pytest.raises(OSError, match="Not a regular file"):
            write_whole(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["fifo"]


def test_a_file_is_replaced_whole_and_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "target"]


def test_two_writers_do_not_share_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(Path, "replace", lambda self, _: names.append(self.name))
    for _ in range(2):
        write_whole(tmp_path / "out", b"new")
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--depths", "4,8", "--rows", "3"], "--rows"), (["--objective", "memory", "--quality", "params"], "--quality")],
)
def test_options_that_do_not_apply_are_errors(arguments: list[str], word: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "latmodel", "frontier", "--budget", "5s", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 2 and f"leave out {word}" in run.stderr
