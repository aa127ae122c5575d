"""The bar of long work: on a terminal's stderr, nowhere else."""

import io
import sys

import pytest

from latmodel.report.progress import progress_bar


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_steps_and_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    with progress_bar("measuring") as progress:
        progress(3, 7, "decode 512")
        progress(7, 7, "")
    assert "measuring" in seen.getvalue()
    assert "7/7" in seen.getvalue()


def test_a_file_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("measuring") as progress:
        progress(3, 7, "decode 512")
    written = capsys.readouterr()
    assert written.out == written.err == ""
