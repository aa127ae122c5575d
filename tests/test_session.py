"""Samples on disk: bound to their device and plan, whole after any interruption."""

import json
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from calibration.measure.session import device_lock, open_samples, read_samples
from latmodel.errors import NoisyError, UsageError

BINDING = {"device": "toy", "driver": "1", "torch": "2", "host": "here", "threads": 1, "plan": "abc"}
SAMPLE = {
    "kind": "sample", "case": "a", "phase": "decode", "round": 0, "attempt": 0, "wall_s": 1.0, "replay_s": None,
    "flags": [],
    "before": {"prefill": 1.0, "decode": 1.0}, "after": {"prefill": 1.0, "decode": 1.0},
}  # fmt: skip


def test_a_file_is_continued_on_the_same_device_and_plan(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.jsonl"
    open_samples(path, BINDING, resume=True).append(SAMPLE)
    assert list(open_samples(path, BINDING, resume=True).records) == [SAMPLE]


@pytest.mark.parametrize("key", sorted(BINDING))
def test_a_file_of_something_else_is_refused_with_the_key(tmp_path: Path, key: str) -> None:
    path = tmp_path / "x.jsonl"
    open_samples(path, BINDING, resume=True).append(SAMPLE)
    with pytest.raises(UsageError, match=f"with {key} ") as error:
        open_samples(path, {**BINDING, key: "other"}, resume=True)
    assert "--no-resume" in str(error.value)


def test_beginning_anew_keeps_the_old_file_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for _ in range(3):
        open_samples(path, BINDING, resume=False).append(SAMPLE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.jsonl", "x.jsonl.1", "x.jsonl.2"]
    assert list(read_samples(tmp_path / "x.jsonl.1").records) == [SAMPLE]


def test_a_finished_file_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    log = open_samples(path, BINDING, resume=True)
    log.append(SAMPLE)
    log.end()
    log.end()
    assert sum('"end"' in line for line in path.read_text().splitlines()) == 1
    assert not open_samples(path, BINDING, resume=True).records
    assert (tmp_path / "x.jsonl.1").exists()


def test_a_torn_last_line_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    log = open_samples(path, BINDING, resume=True)
    log.append(SAMPLE)
    log.append({**SAMPLE, "case": "b"})
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again = open_samples(path, BINDING, resume=True)
    assert [r["case"] for r in again.records] == ["a"]
    again.append({**SAMPLE, "case": "c"})
    assert [r["case"] for r in read_samples(path).records] == ["a", "c"]


def test_corrupt_and_foreign_lines_are_named_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    open_samples(path, BINDING, resume=True).append(SAMPLE)
    with path.open("a") as file:
        file.write('{"kind": "sample"}\n{"other": 1}\nnot json\n' + json.dumps({**SAMPLE, "case": "b"}) + "\n")
    found = read_samples(path)
    assert [r["case"] for r in found.records] == ["a", "b"]
    assert len(found.problems) == 3
    assert any(":5:" in line for line in found.problems)  # the line that is no JSON at all


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--out"):
        open_samples(tmp_path / "file" / "x.jsonl", BINDING, resume=True)


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for locks, of the processes of a test too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("locks")
def test_one_calibration_a_device_at_a_time() -> None:
    name = "toy-device-of-the-tests"
    code = f"from calibration.measure.session import device_lock\nwith device_lock({name!r}): print('held')"
    with device_lock(name):
        with pytest.raises(NoisyError, match="another calibration"), device_lock(name):
            pass
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another calibration" in other.stderr
    with device_lock(name):
        pass  # free again


@pytest.mark.usefixtures("locks")
def test_a_lock_goes_with_a_killed_process() -> None:
    name = "another-toy-device"
    code = (
        "import time\nfrom calibration.measure.session import device_lock\n"
        f"with device_lock({name!r}):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(NoisyError, match="another calibration"), device_lock(name):
            pass
        holder.kill()
    with device_lock(name):
        pass  # the system let go of it


def test_a_device_is_shared_between_users(locks: Path) -> None:
    with device_lock("Toy 1"):
        path = locks / "latmodel-toy-1.lock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_killed_without_warning_everything_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    code = (
        "from pathlib import Path\nfrom calibration.measure.session import open_samples\n"
        f"log = open_samples(Path({str(path)!r}), {BINDING!r}, resume=True)\n"
        f"for i in range(10**6):\n log.append({{**{SAMPLE!r}, 'round': len(log.records)}}); print(i, flush=True)"
    )
    seen = 0
    for lines in (1, 7, 40):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for _ in range(lines):
                running.stdout.readline()
            running.kill()  # SIGKILL: no handler can run
        seen += lines
        found = read_samples(path)
        assert [record["round"] for record in found.records] == list(range(len(found.records)))
        assert len(found.records) >= seen  # all that was reported as kept
        assert not found.problems
        seen = len(found.records)
