"""Learning a correction, by hand: penalised least squares on dense matrices, and knots in the units of the features."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

pytest.importorskip("scipy")

from calibration.fit.residual import DECODE_GRID, PREFILL_GRID, Grid, correction_part, gemm_grid, learn
from latmodel.laws.correction import log_factor

RIDGE, SMOOTH, OUTLIER = 0.05, 0.1, 0.075  # of the docstrings: weights of squares and of differences; bend of the loss


def differences(count: int) -> np.ndarray:
    """Second differences of so many values, the first one of two."""
    if count == 2:
        return np.array([[-1.0, 1.0]])
    rows = np.zeros((count - 2, count))
    for i in range(count - 2):
        rows[i, i : i + 3] = (1.0, -2.0, 1.0)
    return rows


def fitted(design: np.ndarray, penalty: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Five rounds of least squares, in which a row beyond the bend weighs as much less as it lies beyond."""
    weight = np.ones(len(ratio))
    for _ in range(5):
        values = np.linalg.solve(design.T @ (weight[:, None] * design) + penalty, design.T @ (weight * ratio))
        weight = np.minimum(1.0, OUTLIER / np.maximum(np.abs(ratio - design @ values), 1e-300))
    return values


def test_rows_at_knots_are_averaged_and_held_near_zero_and_smooth() -> None:
    """Four knots with 3, 1, 0 and 2 rows, none of them far off."""
    at = np.array([1.0, 1.0, 1.0, 2.0, 4.0, 4.0])
    ratio = np.array([0.05, 0.06, 0.04, 0.02, -0.03, -0.02])
    design = np.array([[float(knot == place) for knot in (1.0, 2.0, 3.0, 4.0)] for place in at])
    second = differences(4)
    expected = fitted(design, RIDGE * np.eye(4) + SMOOTH * second.T @ second, ratio)
    learnt = learn({"x": at}, [{"x": (1, 2, 3, 4)}], ratio)
    assert learnt.tables[0].values == pytest.approx(expected, abs=6e-5)
    assert learnt.tables[0].values.tolist() == np.round(learnt.tables[0].values, 4).tolist()  # four digits are kept
    assert learnt.tables[0].features == ("x",) and learnt.tables[0].knots[0].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_rows_far_off_pull_with_a_bounded_force() -> None:
    at = np.array([0.0] * 4 + [1.0] * 3)
    ratio = np.array([0.0, 0.01, 0.02, 1.5, -0.4, 0.1, 0.3])
    design = np.stack([1.0 - at, at], axis=1)
    expected = fitted(design, RIDGE * np.eye(2) + SMOOTH * differences(2).T @ differences(2), ratio)
    assert learn({"x": at}, [{"x": (0, 1)}], ratio).tables[0].values == pytest.approx(expected, abs=6e-5)


def test_a_row_between_knots_counts_at_both() -> None:
    at, ratio = np.array([0.25, 2.0, 1.0]), np.array([0.05, 0.02, 0.03])
    design = np.array([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    expected = fitted(design, RIDGE * np.eye(3) + SMOOTH * differences(3).T @ differences(3), ratio)
    assert learn({"x": at}, [{"x": (0, 1, 2)}], ratio).tables[0].values == pytest.approx(expected, abs=6e-5)


def test_two_axes_are_smooth_each_along_itself() -> None:
    """Values [2, 3]: rows at every corner; the penalty of the first axis is of single, that of the other of second
    differences."""
    places = list(itertools.product((0.0, 1.0), (0.0, 1.0, 2.0)))
    ratio = np.array([0.05, -0.03, 0.02, 0.01, 0.04, -0.05])
    first, second = np.kron(differences(2), np.eye(3)), np.kron(np.eye(2), differences(3))
    penalty = RIDGE * np.eye(6) + SMOOTH * (first.T @ first + second.T @ second)
    features = {"x": np.array([x for x, _ in places]), "y": np.array([y for _, y in places])}
    learnt = learn(features, [{"x": (0, 1), "y": (0, 1, 2)}], ratio)
    assert learnt.tables[0].values.ravel() == pytest.approx(fitted(np.eye(6), penalty, ratio), abs=6e-5)
    assert learnt.tables[0].values.shape == (2, 3)


def test_tables_add_up() -> None:
    """Two tables share what the same rows say in equal parts."""
    at, ratio = np.array([0.0, 0.0, 1.0]), np.array([0.04, 0.06, -0.05])
    one = np.stack([1.0 - at, at], axis=1)
    design = np.concatenate([one, one], axis=1)
    penalty = np.kron(np.eye(2), RIDGE * np.eye(2) + SMOOTH * differences(2).T @ differences(2))
    expected = fitted(design, penalty, ratio)
    learnt = learn({"x": at}, [{"x": (0, 1)}, {"x": (0, 1)}], ratio)
    assert np.concatenate([table.values for table in learnt.tables]) == pytest.approx(expected, abs=6e-5)
    assert learnt.tables[0].values.tolist() == learnt.tables[1].values.tolist()
    assert float(log_factor(learnt, {"x": np.array([0.0])})[0]) == pytest.approx(expected[0] + expected[2], abs=2e-4)


def test_the_measured_range_is_kept_to_four_digits() -> None:
    at = np.array([0.123456, 0.9, 0.7])
    learnt = learn({"x": at, "unused": at}, [{"x": (0, 1)}], np.zeros(3))
    assert learnt.lowest == {"x": 0.1235} and learnt.highest == {"x": 0.9}
    assert learnt.tables[0].values.tolist() == [0.0, 0.0]


def test_as_a_profile_keeps_it() -> None:
    x, y = np.array([0.0, 1.0, 1.0]), np.array([0.0, 2.0, 4.0])
    learnt = learn({"x": x, "y": y}, [{"x": (0, 1), "y": (0, 2, 4)}], np.array([0.05, 0.02, -0.01]))
    part = correction_part(learnt)
    (table,) = part.tables
    assert table.features == ["x", "y"] and table.knots == [[0.0, 1.0], [0.0, 2.0, 4.0]]
    assert table.values == learnt.tables[0].values.ravel().tolist() and len(table.values) == 6
    assert (part.lowest, part.highest) == ({"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 4.0})


def natural(grid: Grid) -> dict[str, list[int]]:
    """Knots as numbers of tokens, heads and so on; shares and flags are none."""
    return {name: [round(2.0**knot) for knot in knots] for name, knots in grid.items()}


def doubled(first: int, last: int, *more: int) -> list[int]:
    """Every power of two from the first to the last, and those beyond."""
    powers = [first]
    while powers[-1] < last:
        powers.append(2 * powers[-1])
    return [*powers, *more]


def test_products_have_a_knot_an_octave_where_kernels_change() -> None:
    """Outputs and inputs of 256 to 16384 and 65536, narrow ones from 32; rows of 64 to 8192 and a few around."""
    (wide,), (narrow,), (eight,) = gemm_grid(narrow=False), gemm_grid(narrow=True), gemm_grid(narrow=False, float8=True)
    assert natural(wide) == {"m": [1, 16, *doubled(64, 8192, 32768)], **dict.fromkeys("nk", doubled(256, 16384, 65536))}
    assert natural(narrow) == natural(wide) | dict.fromkeys("nk", doubled(32, 16384, 65536))
    # Of 8-bit floats a kernel for up to 16, 64, 128 and 256 rows, and another from one more on.
    steps = [1, 2, 16, 17, 64, 65, 128, 129, 256, 257]
    assert natural(eight) == natural(wide) | {"m": [*steps, *doubled(512, 8192, 32768)]}


HEAD_DIMS, GROUPS, FLAG = [64, 128, 192, 256], [1, 2, 4, 8, 16, 64], [1, 2]
COARSE_TOKENS, COARSE_TILES = [16, 128, 512, 2048, 16384], [1, 16, 64, 256, 1024, 16384]
COARSE_LENGTHS = [2, 128, 512, 2048, 8192, 131072]


def test_attention_over_prompts_has_fine_knots_for_its_two_sizes_and_coarse_ones_beside_the_rest() -> None:
    streams = [1, 4, *doubled(16, 1024, 4096, 16384)]
    assert [natural(grid) for grid in PREFILL_GRID] == [
        {"whole": FLAG, "tokens": doubled(16, 16384), "streams": streams},
        {"tokens": [16, 64, 256, 1024, 4096, 16384], "span": [16, 128, 1024, 8192, 16384]},
        {"head_dim": HEAD_DIMS, "tokens": COARSE_TOKENS, "streams": COARSE_TILES},
        {"group": GROUPS, "tokens": COARSE_TOKENS, "streams": COARSE_TILES},
        {"whole": FLAG, "windowed": FLAG, "head_dim": HEAD_DIMS, "tokens": [16, *doubled(64, 4096, 16384)]},
        {"windowed": FLAG, "tokens": [16, *doubled(128, 4096, 16384)], "streams": [1, *doubled(16, 16), 64, 128, 256, 1024, 4096, 16384]},
    ]  # fmt: skip


def test_attention_of_decode_steps_likewise() -> None:
    tiles = [1, 4, *doubled(16, 1024, 4096, 16384, 65536)]
    assert [natural(grid) for grid in DECODE_GRID] == [
        {"whole": FLAG, "length": [2, *doubled(64, 32768, 131072)], "tiles": tiles},
        {"head_dim": HEAD_DIMS, "length": COARSE_LENGTHS, "tiles": COARSE_TILES},
        {"group": GROUPS, "length": COARSE_LENGTHS, "tiles": COARSE_TILES},
        {"kv_heads": [1, 2, 4, 8], "head_dim": HEAD_DIMS, "length": [2, 128, 256, 512, 2048, 16384, 131072]},
    ]


@pytest.mark.parametrize("grids", [gemm_grid(narrow=True, float8=True), PREFILL_GRID, DECODE_GRID])
def test_knots_rise(grids: Sequence[Mapping[str, tuple[float, ...]]]) -> None:
    for grid in grids:
        for knots in grid.values():
            assert all(low < high for low, high in itertools.pairwise(knots))
