"""Partial pooling: planted effects come back, and a group without rows stays with what it lies in."""

from typing import NamedTuple

import numpy as np
import pytest

from calibration.published.llama_cpp.hierarchy import Effect, Fitted, Floats, fit_hierarchy


class Row(NamedTuple):
    """Bytes read by a device of a family."""

    family: str
    device: str
    bytes: float


EFFECTS = (
    Effect("rate", "family", lambda row: row.family, 1.0),
    Effect("rate", "device", lambda row: row.device, 0.2),
)
RATES = {"a": 100.0, "b": 300.0}  # bytes a second of each family; the start says 200


def _rows() -> tuple[list[Row], Floats]:
    rows: list[Row] = []
    seconds: list[float] = []
    for family, rate in RATES.items():
        for device in range(8):
            own = rate * np.exp(0.1 * (device - 3.5))  # 100 and 300 are the geometric means of eight
            for size in (1e3, 1e4):
                rows.append(Row(family, f"{family}{device}", size))
                seconds.append(size / own)
    return rows, np.array(seconds)


@pytest.fixture(scope="module")
def fitted() -> tuple[Fitted, list[Row], Floats]:
    rows, seconds = _rows()
    sizes = np.array([row.bytes for row in rows])
    found = fit_hierarchy(
        rows, lambda values: sizes / values["rate"], seconds, {"rate": 200.0}, EFFECTS, np.full(len(rows), 0.02)
    )
    return found, rows, seconds


def test_devices_with_rows_get_their_own_rate(fitted: tuple[Fitted, list[Row], Floats]) -> None:
    found, rows, seconds = fitted
    predicted = np.array([row.bytes for row in rows]) / found.coefficients(rows)["rate"]
    assert np.abs(np.log(predicted / seconds)).max() < 0.01  # noise is 2 %, and 20 % of spread hardly shrinks it


def test_an_unseen_device_gets_its_familys_rate(fitted: tuple[Fitted, list[Row], Floats]) -> None:
    rates = fitted[0].coefficients([Row("a", "new", 1.0), Row("b", "new", 1.0)])["rate"]
    # A spread of 1 about the start, 2 log units apart at most, leaves eight devices their mean within a percent.
    assert rates == pytest.approx([100.0, 300.0], rel=0.01)


def test_an_unseen_family_stays_at_the_start(fitted: tuple[Fitted, list[Row], Floats]) -> None:
    assert fitted[0].coefficients([Row("c", "new", 1.0)])["rate"] == pytest.approx([200.0])
