"""Partial pooling: planted effects come back, and a group without rows stays with what it lies in."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import optimize, stats

from calibration.published.llama_cpp.hierarchy import ENOUGH, Effect, Fitted, Floats, fit_hierarchy


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


def _odd_device(wild: bool) -> tuple[Fitted, list[Row], Floats]:
    """One family of eight devices at rates within 2 % of 100, but for one that takes e times as long."""
    rows = [Row("a", f"a{device}", size) for device in range(8) for size in np.geomspace(1e3, 1e4, 10)]
    off = [*(0.02 * np.linspace(-1.0, 1.0, 7)), 1.0]
    seconds = np.array([row.bytes / 100.0 * np.exp(off[int(row.device[1:])]) for row in rows])
    effects = (EFFECTS[0], EFFECTS[1]._replace(spread=0.1, wild=wild))
    sizes = np.array([row.bytes for row in rows])
    found = fit_hierarchy(
        rows, lambda values: sizes / values["rate"], seconds, {"rate": 200.0}, effects, np.full(len(rows), 0.02)
    )
    return found, rows, seconds


def test_a_device_far_from_its_kind_does_not_pull_it_where_effects_are_wild() -> None:
    new = [Row("a", "new", 1.0)]
    pulled, kept = (_odd_device(wild)[0].coefficients(new)["rate"][0] for wild in (False, True))
    assert pulled < 100.0 * np.exp(-0.1)  # nearly an eighth of what the eighth device is off
    assert kept == pytest.approx(100.0, rel=0.02)


@pytest.mark.parametrize("wild", [False, True])
def test_the_mode_is_that_of_the_posterior_as_written(wild: bool) -> None:
    found, rows, seconds = _odd_device(wild)
    keys = list(found.values)

    def cost(theta: Floats) -> float:
        values = dict(zip(keys, theta, strict=True))
        total = 0.0
        for row, time in zip(rows, seconds, strict=True):
            rate = np.log(200.0) + values["rate", "family", "a"] + values["rate", "device", row.device]
            total -= stats.t.logpdf((np.log(time) - np.log(row.bytes) + rate) / 0.02, 4)
        total -= stats.norm.logpdf(values["rate", "family", "a"])
        device = stats.t(4) if wild else stats.norm
        return float(total - sum(device.logpdf(v / 0.1) for key, v in values.items() if key[1] == "device"))

    at = np.array([found.values[key] for key in keys])
    best = optimize.minimize(cost, at, method="BFGS", options={"gtol": 1e-7})
    assert cost(at) == pytest.approx(best.fun, abs=2.0 * ENOUGH)  # the last steps gained less than `ENOUGH` each
