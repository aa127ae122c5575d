"""Scoring a new ablation: planted laws, and bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latmodel.errors import UsageError
from latmodel.quality.check import check_ablation, check_report
from latmodel.quality.table import MAX_BYTES, MAX_ROWS

HEADER = "layers,hidden,parameters,loss,group"
ROWS = ("10,1024,2e8,3.0,a", "20,720,2e8,2.9,a", "30,1024,6e8,2.6,b", "60,720,6e8,2.5,b")


def write(folder: Path, *lines: str) -> Path:
    path = folder / "ablation.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def planted(folder: Path, k: float, ratio: float, noise: float = 0.0) -> Path:
    """Shapes of 12 L d^2 at four sizes; losses of a shape law written out here, not by the package."""
    rng = np.random.default_rng(7)
    lines = [HEADER]
    for size in (5e7, 1.5e8, 5e8, 1.5e9):
        for aspect in (5.0, 12.0, 25.0, 60.0, 150.0, 300.0):
            layers = round((size / 12 / aspect**2) ** (1 / 3))
            hidden = round(np.sqrt(size / 12 / layers))
            count = 12 * layers * hidden**2
            z = np.log(hidden / layers) - np.log(ratio * (count / 5e8) ** 0.215)
            effective = count * np.exp(-k * min(abs(z), 2.8) ** 2)
            loss = 1.9 + 900 * effective**-0.34781 + noise * rng.standard_normal()
            lines.append(f"{layers},{hidden},{count},{loss:.8f},{size:g}")
    return write(folder, *lines)


def test_planted_default_is_supported(tmp_path: Path) -> None:
    report = check_ablation(planted(tmp_path, k=0.058, ratio=25.0))
    default, blind = report.scores["effective-params"], report.scores["non-embedding-params"]
    assert (report.rows, report.groups, report.single_rows) == (24, 4, 0)
    assert default.ordered == default.pairs
    assert default.gap_rmse < 0.002
    assert blind.gap_rmse > 0.03
    assert report.own is not None
    assert report.own.k_range[0] <= 0.058 <= report.own.k_range[1]
    assert report.own.ratio_range[0] <= 25.0 <= report.own.ratio_range[1]
    assert report.own.inside_band
    assert report.verdict.startswith("supports")


def test_evidence_against_the_default_is_said(tmp_path: Path) -> None:
    report = check_ablation(planted(tmp_path, k=0.1, ratio=250.0))
    assert report.own is not None
    assert report.own.ratio_at_reference == pytest.approx(250.0, rel=0.08)  # the grid's own step
    assert not report.own.inside_band
    assert "speaks for other constants" in check_report(report)


def test_larger_being_better_in_spite_of_its_shape_speaks_against(tmp_path: Path) -> None:
    rows = ("4,2048,2.2e8,3.00,a", "16,1024,2.0e8,3.04,a", "30,704,1.9e8,3.08,a")
    assert check_ablation(write(tmp_path, HEADER, *rows)).verdict.startswith("speaks against")


def test_shape_without_effect_has_no_own_constants(tmp_path: Path) -> None:
    report = check_ablation(planted(tmp_path, k=0.0, ratio=25.0))
    assert report.own is None
    assert report.scores["non-embedding-params"].gap_rmse < 1e-6
    assert "undetermined" in check_report(report)


def test_pairs_by_hand(tmp_path: Path) -> None:
    # Equal sizes tie in the score, so 0.05 apart counts as not in order; 0.005 apart does not count.
    path = write(tmp_path, HEADER, "10,640,5e7,3.00,a", "10,640,5e7,3.05,a", "10,640,6e7,2.995,a", "9,640,5e7,1.0,b")
    report = check_ablation(path)
    blind = report.scores["non-embedding-params"]
    assert (blind.ordered, blind.pairs) == (1, 2)
    assert (report.single_rows, report.own) == (1, None)


def test_nothing_to_order(tmp_path: Path) -> None:
    report = check_ablation(write(tmp_path, HEADER, "10,640,5e7,3.00,a", "20,448,5e7,3.005,a"))
    assert "nothing to order" in report.verdict
    assert "nothing to order" in check_report(report)


def test_columns_in_any_order_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "ablation.csv"
    path.write_bytes(b"\xef\xbb\xbfgroup,loss,parameters,hidden,layers\r\na,3.0,1e8,640,20\r\n\r\na,3.1,1e8,1280,5\r\n")
    assert check_ablation(path).rows == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "empty"),
        ((HEADER,), "no data rows"),
        (("layers,hidden,loss,group",), "missing parameters"),
        ((HEADER + ",lr",), "unknown 'lr'"),
        ((HEADER + ",loss",), "a column twice"),
        ((HEADER, *ROWS, "10,64"), "line 6: 2 cells where 5"),
        ((HEADER, *ROWS, "10,x,1e8,3,a"), "line 6, column hidden: 'x' is not a number"),
        ((HEADER, *ROWS, "10,,1e8,3,a"), "line 6, column hidden: '' is not a number"),
        ((HEADER, "10.5,64,1e8,3,a"), "line 2, column layers: 10.5 is not a whole number"),
        ((HEADER, "10,64,1e8,nan,a"), "line 2, column loss: nan is outside"),
        ((HEADER, "10,64,inf,3,a"), "line 2, column parameters: inf is outside"),
        ((HEADER, "0,64,1e8,3,a"), "line 2, column layers: 0 is outside"),
        ((HEADER, "10,-64,1e8,3,a"), "line 2, column hidden: -64 is outside"),
        ((HEADER, "10,64,1e99,3,a"), "line 2, column parameters"),
        ((HEADER, "10,64,1e8,3,"), "line 2, column group"),
        ((HEADER, "10,64,1e8,3,\x1b[31mred"), "line 2, column group"),
        ((HEADER, '10,64,1e8,3,"a'), "line 2"),
        ((HEADER, "10,64,1e8,3,a", "10,64,1e8,3,b"), "every group has one row"),
    ],
)
def test_bad_files_name_the_place(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    path = write(tmp_path, *lines) if lines else tmp_path / "ablation.csv"
    path.touch()
    with pytest.raises(UsageError) as caught:
        check_ablation(path)
    assert message in str(caught.value)
    assert "ablation.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_size_caps(tmp_path: Path) -> None:
    path = tmp_path / "ablation.csv"
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="larger than 1 MB"):
        check_ablation(path)
    with pytest.raises(UsageError, match="more than 2000 rows"):
        check_ablation(write(tmp_path, HEADER, *["10,64,1e6,3,a"] * (MAX_ROWS + 1)))


def test_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            check_ablation(path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"layers\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        check_ablation(binary)
