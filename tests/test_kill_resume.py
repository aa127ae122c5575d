"""A whole calibration of a simulated device, killed by SIGKILL where it is told to; `benchmarks/kill_resume.py` has the
process, and kills it at fifty random moments."""

import runpy
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch")

KILLING = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "kill_resume.py"))
run, check, resume, samples_of, prepared = (
    KILLING[name] for name in ("run", "check", "resume", "samples_of", "prepared")
)


@pytest.mark.slow
def test_killed_while_it_measures_fits_and_writes_and_resumed_it_is_the_same_calibration(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    undisturbed, path = tmp_path / "whole" / "sim.json", tmp_path / "killed" / "sim.json"
    assert run(undisturbed).code == 0
    whole = KILLING["Whole"].of(undisturbed)
    assert len(whole.samples) > 80
    for die_at in ("0", "1", "50", "fitting", "writing"):
        seen = run(path, die_at)
        assert seen.code == -signal.SIGKILL
        assert not path.exists()
        check(path, whole, seen.kept)
        kept = len(samples_of(prepared(path)))
        assert kept == (int(die_at) if die_at.isdigit() else len(whole.samples))
    resume(path, whole)
