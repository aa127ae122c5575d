"""Residuals, slopes and costs of a fit against closed forms and finite differences."""

import math

import numpy as np
import pytest
from fit_toy import huber, objective, prior, rows, times

pytest.importorskip("scipy")

from calibration.fit.objective import Objective, floored, pseudo_huber, standardised


@pytest.mark.parametrize("residual", [0.0, 0.3, -1.0, 2.0, -7.0])
def test_the_loss_is_square_near_zero_and_linear_far_out(residual: float) -> None:
    assert float(pseudo_huber(np.array(residual))) == pytest.approx(float(huber(residual)))


def test_the_ends_of_the_loss() -> None:
    """r² near zero; far out the square's slope in |r| is 2 · 2."""
    small, far, further = pseudo_huber(np.array([1e-3, 1e5, 1e5 + 1.0]))
    assert small == pytest.approx(1e-3, rel=1e-5) and further**2 - far**2 == pytest.approx(4.0, rel=1e-4)


def test_noise_has_a_floor_of_one_percent() -> None:
    assert floored(np.array([0.0, 0.0099, 0.02])).tolist() == [0.01, 0.01, 0.02]


def test_a_residual_is_the_log_of_predicted_over_measured_in_units_of_its_noise() -> None:
    piece = rows(times("a", [1.0, 1.0, 3.0]), [1.0, math.exp(0.2), 3.0 * math.exp(-0.2)], [0.1, 0.1, 0.001])
    start = objective([piece], a=prior()).start
    assert standardised(piece, start) == pytest.approx([0.0, -2.0, 20.0])


def two_pieces() -> Objective:
    """Sizes 1 and 2 of a law in a, and one time of b; priors of spread 0.5 and 0.25."""
    both = (rows(times("a", [1.0, 2.0]), [1.1, 1.9], 0.1), rows(times("b"), [3.0], 0.2, first=2))
    return objective(both, a=prior(1.0, 0.5, 0.1, 10.0), b=prior(2.0, 0.25, 0.5, 8.0))


def by_hand(a: float, b: float) -> np.ndarray:
    """All residuals at a and b (not their logs)."""
    data = [math.log(a / 1.1) / 0.1, math.log(2.0 * a / 1.9) / 0.1, math.log(b / 3.0) / 0.2]
    return np.concatenate([huber(data), [math.log(a) / 0.5, math.log(b / 2.0) / 0.25]])


def test_residuals_are_of_the_data_and_then_of_the_priors() -> None:
    one = two_pieces()
    assert one.names == ("a", "b")
    for a, b in ((1.0, 2.0), (1.3, 2.5), (0.7, 1.1)):
        logs = np.log([a, b])
        assert one.residuals(logs) == pytest.approx(by_hand(a, b))
        assert one.cost(logs) == pytest.approx(0.5 * float(by_hand(a, b) @ by_hand(a, b)))


def test_many_points_at_once() -> None:
    one = two_pieces()
    points = np.log([[1.0, 2.0], [1.3, 2.5], [0.7, 1.1]])
    expected = [by_hand(a, b) for a, b in np.exp(points)]
    assert one.data_at(points) == pytest.approx(np.array(expected)[:, :3])
    assert one.costs(points) == pytest.approx([0.5 * float(r @ r) for r in expected])


def test_a_law_without_the_coefficients_is_the_same_at_every_point() -> None:
    one = objective([rows(lambda target: np.array([1.0, 2.0]), [1.0, 1.0])], a=prior())
    assert one.data_at(np.zeros((3, 1))) == pytest.approx(np.tile([0.0, huber(math.log(2.0) / 0.1)], (3, 1)))


def test_bounds_and_priors_are_logs() -> None:
    one = two_pieces()
    assert one.means == pytest.approx(np.log([1.0, 2.0])) and one.spreads == pytest.approx([0.5, 0.25])
    assert one.low == pytest.approx(np.log([0.1, 0.5])) and one.high == pytest.approx(np.log([10.0, 8.0]))
    outside = np.log([0.01, 100.0])
    assert one.within(outside) == pytest.approx([math.log(0.1) + 1e-6, math.log(8.0) - 1e-6], abs=1e-12)
    assert one.within(outside, 0.1) == pytest.approx([math.log(0.1) + 0.1, math.log(8.0) - 0.1])
    assert one.within(np.zeros(2)) == pytest.approx([0.0, 0.0])


def slopes_by_hand(a: float, b: float, step: float) -> np.ndarray:
    """Central differences of the closed form."""
    up = [by_hand(a * math.exp(step), b), by_hand(a, b * math.exp(step))]
    down = [by_hand(a * math.exp(-step), b), by_hand(a, b * math.exp(-step))]
    return (np.array(up) - np.array(down)).T / (2.0 * step)


@pytest.mark.parametrize("at", [(1.0, 2.0), (1.3, 2.5)])
def test_slopes_are_finite_differences(at: tuple[float, float]) -> None:
    one = two_pieces()
    logs, exact = np.log(at), slopes_by_hand(*at, 1e-5)
    assert one.jacobian(logs, 1e-6) == pytest.approx(exact, abs=1e-3)
    assert one.mean_jacobian(logs, 1e-3) == pytest.approx(exact, abs=1e-3)
    assert one.mean_jacobian(logs, 0.3) == pytest.approx(slopes_by_hand(*at, 0.3), abs=1e-9)


def test_a_mean_slope_sees_past_a_kink() -> None:
    """Below 1 the law is flat: at the kink the mean slope is half of the one above it, which a forward step sees."""
    one = objective([rows(lambda target: np.maximum(target["a"], 1.0), [1.0], 0.5)], a=prior())
    at = np.array([0.0])
    assert one.jacobian(at, 1e-6)[0, 0] == pytest.approx(2.0, rel=1e-3)
    assert one.mean_jacobian(at, 1e-3)[0, 0] == pytest.approx(1.0, rel=1e-3)


def test_the_error_of_the_law_joins_the_noise_of_every_row() -> None:
    one = objective([rows(times("a", [1.0, 1.0]), [1.0, 1.0], [0.03, 0.0])], a=prior())
    assert one.blurred(0.04).pieces[0].noise == pytest.approx([0.05, math.hypot(0.01, 0.04)])
    assert one.blurred(0.0) is one
    assert one.blurred(0.04).names == ("a",)
