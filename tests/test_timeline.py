"""Two timelines: the closed form of the mean over a growing context against a sum over its steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latmodel.predict.timeline import mean_overlapped, overlapped

seconds = st.floats(1e-6, 1.0)
losses = st.floats(0.0, 1.0)


def brute(host: float, first: float, last: float, loss: float, points: int = 200_001) -> float:
    """Mean over a fine line by the midpoint rule."""
    line = first + (last - first) * (np.arange(points) + 0.5) / points
    return float(np.mean(np.maximum(host, line) + loss * np.minimum(host, line)))


@given(host=seconds, first=seconds, growth=st.floats(0.0, 1.0), loss=losses)
def test_closed_form_equals_a_fine_sum(host: float, first: float, growth: float, loss: float) -> None:
    found = mean_overlapped(host, first, first + growth, loss)
    assert found == pytest.approx(brute(host, first, first + growth, loss, 20_001), rel=1e-6)


@pytest.mark.parametrize("host", [0.5, 1.0, 1.3, 2.0, 3.0])
def test_mean_over_discrete_steps_is_close_to_that_over_the_line(host: float) -> None:
    """100 steps from 1 to 2: the step that crosses the kink is the only difference, at most 1 / (8 · 99²) of growth."""
    steps = np.linspace(1.0, 2.0, 100)
    exact = float(np.mean([overlapped(host, device, 0.1) for device in steps.tolist()]))
    assert mean_overlapped(host, 1.0, 2.0, 0.1) == pytest.approx(exact, rel=2e-3)


@given(host=seconds, device=seconds, loss=losses)
def test_a_flat_line_is_one_step(host: float, device: float, loss: float) -> None:
    assert mean_overlapped(host, device, device, loss) == pytest.approx(overlapped(host, device, loss), rel=1e-12)


def test_limits() -> None:
    # No loss: the longer alone. Full loss: one thread does both, so they add.
    assert overlapped(3.0, 2.0, 0.0) == 3.0
    assert overlapped(3.0, 2.0, 1.0) == 5.0
    # The host holds the whole line: 5 + 0.1 · mean(1, 3) = 5.2. The device does: mean(6, 8) + 0.1 · 5 = 7.5.
    assert mean_overlapped(5.0, 1.0, 3.0, 0.1) == pytest.approx(5.2)
    assert mean_overlapped(5.0, 6.0, 8.0, 0.1) == pytest.approx(7.5)
    # They cross half-way: host 2 for half of the line, mean of 2..3 for the other: 2.25.
    assert mean_overlapped(2.0, 1.0, 3.0, 0.0) == pytest.approx(2.25)


@given(host=seconds, first=seconds, growth=st.floats(0.0, 1.0), loss=losses, more=st.floats(0.0, 0.5))
def test_never_falls_with_either_timeline(host: float, first: float, growth: float, loss: float, more: float) -> None:
    before = mean_overlapped(host, first, first + growth, loss)
    slack = 1e-12 * (before + more)
    assert mean_overlapped(host + more, first, first + growth, loss) >= before - slack
    assert mean_overlapped(host, first, first + growth + more, loss) >= before - slack
    assert before >= max(host, first) - slack
    assert before <= host + first + growth + slack


def test_arrays_equal_numbers_one_by_one() -> None:
    generator = np.random.default_rng(0)
    host, first, growth = generator.uniform(0.1, 2.0, (3, 50))
    many = mean_overlapped(host, first, first + growth, 0.05)
    one = [
        mean_overlapped(h, f, f + g, 0.05)
        for h, f, g in zip(host.tolist(), first.tolist(), growth.tolist(), strict=True)
    ]
    assert many.tolist() == pytest.approx(one, rel=1e-14)
