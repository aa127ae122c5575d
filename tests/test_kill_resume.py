"""A whole calibration of a simulated device, killed by SIGKILL where it is told to; `benchmarks/kill_resume.py` has the
process, and kills it at fifty random moments."""

import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from kill_resume import Whole, check, prepared, resume, run, samples_of


@pytest.mark.slow
def test_killed_while_it_measures_fits_and_writes_and_resumed_it_is_the_same_calibration(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    undisturbed, path = tmp_path / "whole" / "sim.json", tmp_path / "killed" / "sim.json"
    assert run(undisturbed).code == 0
    whole = Whole.of(undisturbed)
    assert len(whole.samples) > 80
    for die_at in ("0", "1", "50", "fitting", "writing"):
        seen = run(path, die_at)
        assert seen.code == -signal.SIGKILL
        assert not path.exists()
        check(path, whole, seen.kept)
        kept = len(samples_of(prepared(path)))
        assert kept == (int(die_at) if die_at.isdigit() else len(whole.samples))
    resume(path, whole)
