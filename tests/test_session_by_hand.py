"""Files of samples written by hand, and the lock of a device: what is continued, refused, left out, and how it is told."""

import json
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from calibration.measure.session import SampleFile, device_lock, open_samples, read_samples
from latmodel.errors import LatmodelError, NoisyError, UsageError

BINDING = {"device": "toy", "plan": "abc"}
SAMPLE = {"kind": "sample", "case": "a", "phase": "decode", "round": 0, "attempt": 0, "wall_s": 1.0, "replay_s": None,
          "flags": [], "before": {}, "after": {}}  # fmt: skip
SKIP = {"kind": "skip", "case": "b", "round": 0, "reason": "hung", "flags": [], "before": {}, "after": {}}


def written(path: Path, *records: dict[str, Any], form: int = 2, **binding: object) -> Path:
    header = {"kind": "header", "format": form, **BINDING, **binding}
    path.write_text("".join(json.dumps(one) + "\n" for one in (header, *records)))
    return path


def test_a_file_of_the_second_format_is_continued_and_of_another_refused(tmp_path: Path) -> None:
    again = open_samples(written(tmp_path / "x", SAMPLE, SKIP), BINDING, resume=True)
    assert list(again.records) == [SAMPLE, SKIP] and again.header["format"] == 2 and not again.ended
    again.append({**SAMPLE, "round": 1})
    assert [one["kind"] for one in again.records] == ["sample", "skip", "sample"]
    with pytest.raises(UsageError, match="format '1', this run has '2'"):
        open_samples(written(tmp_path / "y", form=1), BINDING, resume=True)


def test_a_file_that_is_finished_or_not_to_be_resumed_is_put_aside_whatever_it_belongs_to(tmp_path: Path) -> None:
    for records, resume in (((SAMPLE, {"kind": "end"}), True), ((SAMPLE,), False)):
        path = written(tmp_path / "x", *records, plan="other")
        assert not open_samples(path, BINDING, resume).records
    assert {path.name for path in tmp_path.iterdir()} == {"x", "x.1", "x.2"}
    assert read_samples(tmp_path / "x.1").ended and not read_samples(tmp_path / "x.2").ended


def test_a_file_without_a_header_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps(SAMPLE) + "\n")
    assert read_samples(tmp_path / "x").header == {}
    assert not open_samples(tmp_path / "x", BINDING, resume=True).records and (tmp_path / "x.1").exists()


def test_an_end_is_written_once(tmp_path: Path) -> None:
    log = open_samples(tmp_path / "x", BINDING, resume=True)
    log.end()
    assert log.ended
    log.end()
    assert (tmp_path / "x").read_text().count('"end"') == 1


@pytest.mark.parametrize("record", [SAMPLE, SKIP])
@pytest.mark.parametrize("name", ["case", "round", "flags", "before", "after"])
def test_a_record_that_lacks_something_is_left_out(record: dict[str, Any], name: str, tmp_path: Path) -> None:
    torn = {key: value for key, value in record.items() if key != name}
    found = read_samples(written(tmp_path / "x", torn, {**record, "more": 1}))
    assert list(found.records) == [{**record, "more": 1}] and len(found.problems) == 1


def test_what_is_foreign_is_told_in_few_letters(tmp_path: Path) -> None:
    (problem,) = read_samples(written(tmp_path / "x", {"kind": "k" * 50})).problems
    assert f"of kind {'k' * 20!r} is" in problem
    with pytest.raises(UsageError) as caught:
        open_samples(written(tmp_path / "y", plan="p" * 90), {**BINDING, "plan": "q" * 90}, resume=True)
    assert f"with plan {'p' * 60!r}, this run has {'q' * 60!r};" in str(caught.value)


def test_a_full_disk_keeps_what_was_kept(tmp_path: Path) -> None:
    log = SampleFile(tmp_path / "no" / "x", [SAMPLE])
    with pytest.raises(LatmodelError, match="its samples are kept: make room"):
        log.append(SKIP)
    assert list(log.records) == [SAMPLE]


def test_a_held_device_is_told_of_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with device_lock("Toy  (2)"):
        path = tmp_path / "latmodel-toy-2-.lock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        begin = time.monotonic()
        with pytest.raises(NoisyError, match="latmodel-toy-2-.lock"), device_lock("Toy  (2)"):
            pass
        assert time.monotonic() - begin < 0.5
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(LatmodelError, match="cannot open the lock"), device_lock("toy 2 "):
        pass
