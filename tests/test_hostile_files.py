"""Files that never end or never begin are refused before they are read; what is written is whole and replaces files alone."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from latmodel import strict_json
from latmodel.strict_json import read_regular, write_whole

MAX_CPU_S, MAX_MB = 1.0, 200.0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every verb did with each file that never ends or begins, at every option that may name one."""
    runner = Path(__file__).with_name("hostile_runner.py")
    run = subprocess.run(
        [sys.executable, str(runner)], cwd=tmp_path_factory.mktemp("hostile"),
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_every_verb_refuses_what_is_no_regular_file_in_a_line_and_a_moment(told: list[dict[str, Any]]) -> None:
    bad = [
        one for one in told
        if one["code"] not in (2, 3, 4, 6) or len(one["stderr"].splitlines()) != 1
        or one["cpu_s"] > MAX_CPU_S or one["mb"] > MAX_MB
    ]  # fmt: skip
    assert not bad, bad[:5]


def test_options_that_name_files_were_found(told: list[dict[str, Any]]) -> None:
    seen = {(one["verb"], one["option"]) for one in told if "ot a regular file" in one["stderr"]}
    assert {
        ("predict", "--input"), ("predict", "--plot"), ("predict", "--profile"), ("verify", "--config"),
        ("calibrate", "--out"), ("fit", "--observations"), ("frontier", "--checkpoint"), ("report", "--out"),
        ("quality check", "file"), ("layers", "--blocks"), ("layers", "--scores"), ("profile merge", "--out"),
    } <= seen  # fmt: skip
    assert len(seen) >= 40


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


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from latmodel.strict_json import write_whole

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]), b"half of it")
"""


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    path, other = tmp_path / "out", tmp_path / ".other.0123456789ab.part"
    path.write_bytes(b"old")
    other.write_bytes(b"of another file")
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False).returncode < 0
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.glob(".out.*.part"))) == 1  # the second removed the first's
    with strict_json._part(path) as part:
        write_whole(path, b"new")
        assert list(tmp_path.glob(".out.*.part")) == [part]
        part.replace(path)
    assert path.read_bytes() == b"" and sorted(one.name for one in tmp_path.iterdir()) == [other.name, "out"]


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


PIPED = [
    ["predict", "80x576"], ["explain", "80x576"], ["profile", "list"], ["frontier", "--help"], ["prune", "--help"],
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("arguments", PIPED, ids=" ".join)
def test_a_terminal_that_lacks_signs_gets_others(arguments: list[str], encoding: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "latmodel", *arguments], capture_output=True, timeout=120, check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    text = run.stdout.decode(encoding)
    assert len(text) > 300 and "?" not in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", PIPED, ids=" ".join)
def test_a_full_disk_is_told_in_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "latmodel", *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=120, check=False,
        )  # fmt: skip
    lines = [line for line in run.stderr.splitlines() if not line.startswith("note: ")]
    assert run.returncode == 1
    assert lines == ["latmodel: cannot read or write: No space left on device"]


def test_without_a_home_a_verb_answers() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "latmodel", "predict", "80x576"], capture_output=True, text=True, timeout=120,
        check=False, env={name: value for name, value in os.environ.items() if name != "HOME"},
    )  # fmt: skip
    assert run.returncode == 0 and "80" in run.stdout
