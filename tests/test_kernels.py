"""Operator observations, laws fitted to planted kernels, corrections learnt from planted residuals."""

import math
from typing import Any

import numpy as np
import pytest
from toy import RUNTIME, SHEET

from calibration.fit import make
from calibration.fit.kernels import (
    Kernels,
    fit_law,
    grid_of,
    held_out_trial,
    law_noise,
    log_residuals,
    start_at,
    with_correction,
)
from calibration.fit.residual import gemm_grid, learn
from calibration.fit.setup import Setup
from calibration.observations.operators import OperatorObservation, cost_of, operator_evidence
from calibration.published.cards import folds
from calibration.published.hosts import eager_coefficients, host_runtimes
from calibration.published.whole_blocks import BOARDS_APART, FRAMEWORKS_APART, WEIGHED, blocks_by_phase
from latmodel.device.hosts import KNOWN_HOSTS, block_launches, typical_host_s
from latmodel.errors import UsageError
from latmodel.laws.coefficients import Sheet, coefficient_values
from latmodel.laws.correction import log_factor
from latmodel.runtimes.torch_eager import TORCH
from latmodel.runtimes.transformers_eager import TRANSFORMERS

A100 = Sheet(312e12, 2.039e12, 108.0, 40 * 2.0**20)
COMMON: dict[str, Any] = {"gpu": "toy", "runtime": "torch-eager", "seconds": 1e-5}


def planted(rows: list[OperatorObservation], **values: float) -> list[OperatorObservation]:
    """The rows as a device with these coefficients would time them."""
    setup = start_at(A100, "torch-eager").moved({f"device.{name}": value for name, value in values.items()})
    times = Kernels(rows[0].op, setup, {}).seconds(rows)
    return [row.model_copy(update={"seconds": float(t)}) for row, t in zip(rows, times, strict=True)]


def products(*, hot: bool) -> list[OperatorObservation]:
    sizes = [(m, n, k) for m in (1, 16, 64, 300, 1024, 4096) for n in (512, 2048, 6144) for k in (512, 4096, 12288)]
    return [OperatorObservation(op="gemm", m=m, n=n, k=k, hot=hot, noise=0.01, **COMMON) for m, n, k in sizes]


def decodes(window: int) -> list[OperatorObservation]:
    shapes = [(b, h, g, c) for b in (1, 8, 64) for h, g in ((32, 8), (32, 32), (8, 1)) for c in (128, 1024, 8192)]
    return [
        OperatorObservation(op="attention", m=b, heads=h, kv_heads=g, head_dim=128, tokens=1, context=c, noise=0.01,
                            window=window, **COMMON)
        for b, h, g, c in shapes
    ]  # fmt: skip


def test_planted_coefficients_of_products_come_back() -> None:
    truth = {"gemm.compute_efficiency": 0.7, "gemm.bandwidth_efficiency": 0.8, "gemm.floor_s": 4e-6}
    fitted = fit_law("gemm", planted(products(hot=False), **truth), start_at(A100, "torch-eager"))
    found = coefficient_values(fitted.setup.device)
    for name, value in truth.items():
        assert found[name] == pytest.approx(value, rel=0.05)


def test_a_hot_loop_is_told_from_a_cold_one() -> None:
    truth = {"gemm.cache_rate": 1.5, "gemm.cache_share": 0.7}
    hot, cold = planted(products(hot=True), **truth), planted(products(hot=False), **truth)
    pairs = list(zip(hot, cold, strict=True))
    assert all(h.seconds <= c.seconds for h, c in pairs)
    assert any(h.seconds < 0.9 * c.seconds for h, c in pairs)
    fitted = fit_law("gemm", hot, start_at(A100, "torch-eager"))
    assert np.max(np.abs(log_residuals(fitted, cold, corrected=False))) < 0.1  # fitted hot, predicts cold


def test_rows_that_are_off_together_count_as_fewer() -> None:
    law = fit_law("gemm", planted(products(hot=False)), start_at(A100, "torch-eager"))
    rows = planted([row.model_copy(update={"m": 100 + i}) for i, row in enumerate(products(hot=False)[:1] * 16)])
    alike = [row.model_copy(update={"seconds": row.seconds * 1.1}) for row in rows]
    apart = [row.model_copy(update={"seconds": row.seconds * 1.1 ** (-1) ** i}) for i, row in enumerate(rows)]
    assert law_noise(law, apart) == pytest.approx(math.log(1.1), rel=0.05)
    assert law_noise(law, alike) == pytest.approx(4.0 * math.log(1.1), rel=0.05)  # sixteen in one octave


def test_a_law_that_fits_badly_keeps_to_its_priors() -> None:
    # Rows that scatter by 40 % and all say half of the prior's bandwidth: taken at their stated 1 % they would rule.
    rng = np.random.default_rng(0)
    rows = planted(products(hot=False), **{"gemm.bandwidth_efficiency": 0.44})
    rough = [row.model_copy(update={"seconds": row.seconds * math.exp(0.4 * rng.standard_normal())}) for row in rows]
    fine, doubted = (coefficient_values(fit_law("gemm", r, start_at(A100, "torch-eager")).setup.device)
                     for r in (rows, rough))  # fmt: skip
    name = "gemm.bandwidth_efficiency"
    assert fine[name] == pytest.approx(0.44, rel=0.03)
    assert doubted[name] > 1.1 * fine[name]


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_how_a_kernel_treats_windows_is_found(whole: float) -> None:
    rows = planted(decodes(0) + decodes(256), **{"decode.window_whole": whole, "decode.idle_whole": 0.5})
    assert fit_law("decode", rows, start_at(A100, "torch-eager")).window_whole == whole


def test_a_window_hides_what_is_before_it() -> None:
    def prompt(window: int) -> Any:
        row = OperatorObservation(op="attention", m=2, heads=8, kv_heads=8, head_dim=64, tokens=1024, context=1024,
                                  window=window, **COMMON)  # fmt: skip
        return cost_of("attention", [row], TORCH)

    # Pairs of 1024 positions: 1024·1025/2 causal ones; with a window of 256, 256·257/2 + 768·256.
    assert float(prompt(0).flops[0]) == 4 * 2 * 8 * 64 * (1024 * 1025 / 2)
    assert float(prompt(256).flops[0]) == 4 * 2 * 8 * 64 * (256 * 257 / 2 + 768 * 256)


def test_launches_are_the_runtimes_own_terms() -> None:
    rows = [OperatorObservation(op=op, **COMMON) for op in ("replay", "launch")]
    setup = make.setup_at_priors(SHEET, {"torch-eager": "torch"})
    target = setup.target("torch-eager")._replace(runtime=RUNTIME._replace(gap_s=7e-7))
    found = {piece.name: float(piece.predict(target)[0]) for piece in operator_evidence(rows)}
    assert found == {"operator/replay": 7e-7, "operator/launch": 1e-6}


def test_a_moved_byte_costs_the_bandwidth() -> None:
    row = OperatorObservation(op="pointwise", moved_bytes=1e12, **COMMON)
    (piece,) = operator_evidence([row])
    target = start_at(A100, "torch-eager").target("torch-eager")
    efficiency = target.device.pointwise.bandwidth_efficiency  # type: ignore[union-attr]
    assert float(piece.predict(target)[0]) == pytest.approx(1e12 / (2.039e12 * efficiency), rel=1e-3)


def test_a_smooth_residual_is_learnt_and_the_unmeasured_left_alone() -> None:
    rng = np.random.default_rng(0)
    features = {name: rng.uniform(8.0, 12.0, 4000) for name in "mnk"}
    grid = (dict.fromkeys("mnk", (4.0, 6.0, 8.0, 10.0, 12.0)),)
    learnt = learn(features, grid, 0.05 * (features["n"] - 10.0) + rng.normal(0.0, 0.02, 4000))
    middle = {"m": np.array([10.0]), "n": np.array([11.5]), "k": np.array([9.0])}
    assert float(log_factor(learnt, middle)[0]) == pytest.approx(0.075, abs=0.01)
    assert float(log_factor(learnt, {**middle, "n": np.array([13.1])})[0]) == 0.0


def test_one_wild_row_does_not_bend_a_correction() -> None:
    rng = np.random.default_rng(1)
    features = {name: rng.uniform(8.0, 12.0, 500) for name in "mnk"}
    ratio = np.zeros(500)
    ratio[0] = 2.0
    learnt = learn(features, (dict.fromkeys("mnk", (8.0, 10.0, 12.0)),), ratio)
    assert max(float(np.max(np.abs(table.values))) for table in learnt.tables) < 0.1


def test_a_correction_lowers_the_error_on_rows_it_did_not_see() -> None:
    rng = np.random.default_rng(2)
    sizes = 2.0 ** rng.uniform(8.0, 13.0, (1500, 3))
    rows = [OperatorObservation(op="gemm", m=int(m), n=32 * int(n / 32), k=32 * int(k / 32), noise=0.05, **COMMON)
            for m, n, k in sizes]  # fmt: skip
    rows = [
        row.model_copy(update={"seconds": row.seconds * math.exp(0.15 * math.sin(math.log2(row.n)))})
        for row in planted(rows)
    ]
    train, test = rows[:1000], rows[1000:]
    fitted = with_correction(fit_law("gemm", train, start_at(A100, "torch-eager")), train)
    law = make.mape_percent(log_residuals(fitted, test, corrected=False).tolist())
    assert make.mape_percent(log_residuals(fitted, test).tolist()) < 0.6 * law
    trial = held_out_trial("gemm", rows, start_at(A100, "torch-eager"), seed=0, share=0.3)
    assert len(trial.test) == 1050
    assert 80.0 <= trial.covered_percent <= 99.0


def test_folds_keep_a_shape_together() -> None:
    keys = [(1,), (2,), (1,), (3,)]
    parts = folds(keys)
    assert sorted(index for part in parts for index in part) == [0, 1, 2, 3]
    assert any({0, 2} <= part for part in parts)
    with pytest.raises(UsageError, match="more shapes"):
        folds([(1,), (1,)])


def test_the_typical_host_is_the_geometric_mean_of_the_known() -> None:
    assert typical_host_s() == pytest.approx((0.685e-3 * 1.25e-3 * 0.55e-3 * 0.57e-3 * 0.85e-3) ** 0.2)
    table = eager_coefficients()
    block = block_launches() * table["launch_s"].value + table["block_s"].value
    assert block == pytest.approx(typical_host_s(), rel=0.01)
    assert len(KNOWN_HOSTS) == 5


def test_the_host_term_counts_the_launches_of_a_real_block() -> None:
    from latmodel.model.architecture import Attention, Block, FeedForward
    from latmodel.model.formats import Numbers
    from latmodel.model.step import Step
    from latmodel.model.transformer import context_ops, dense_ops

    block = Block(Attention(8.0, 8.0, 64.0), FeedForward(2048.0))
    numbers, step = Numbers(2.0, 2.0, 2.0), Step(1.0, 127.0)
    ops = [*dense_ops(block, 512.0, 1.0, TRANSFORMERS, numbers), *context_ops(block, step, TRANSFORMERS, numbers)]
    assert sum(op.kernels for op in ops) == block_launches()


def test_only_the_measured_frameworks_runtime_takes_every_correction() -> None:
    residuals = {"prefill": np.full(400, 0.1), "decode": np.full(400, -0.2)}
    parts = host_runtimes("toy", residuals, {"batch_size": (1.0, 4096.0)}, ["gemm", "decode"])  # type: ignore[arg-type]
    assert parts["vllm"].corrected == ["gemm", "decode"]
    assert parts["cuda-graph"].corrected == ["gemm"]
    # Kernels of a serving framework on another board; PyTorch launches another framework's besides.
    apart = {"vllm": BOARDS_APART, "cuda-graph": FRAMEWORKS_APART, "transformers-eager": FRAMEWORKS_APART}
    for name, spread in apart.items():
        scores = parts[name].conformal_scores["decode"]
        assert np.mean(np.square(scores)) == pytest.approx(0.2**2 + spread**2, rel=0.2)
    assert parts["vllm"].ranges["batch_size"] == (1.0, 64.0)  # what its step was seen with
    assert parts["cuda-graph"].ranges["batch_size"] == (1.0, 4096.0)


def test_errors_of_kernels_cancel_in_a_block() -> None:
    draw = np.random.default_rng(0)
    rows, residuals = np.repeat([1.0, 16.0, 1024.0], 1000), 0.1 * draw.standard_normal(3000)
    found = blocks_by_phase(rows, residuals, {"prefill": [], "decode": []})  # type: ignore[arg-type]
    # Four products weighed by the seconds of a Llama block: the square root of the sum of squared weights is 0.62.
    assert np.std(found["decode"]) == pytest.approx(0.1 * np.sqrt(np.sum(WEIGHED**2)), rel=0.1)
    # An error that all kernels share does not.
    shared = blocks_by_phase(rows, np.full(3000, 0.1), {"prefill": [0.1], "decode": [0.1]})  # type: ignore[arg-type]
    assert np.allclose(shared["prefill"], 0.1) and np.allclose(shared["decode"], 0.1)


def test_a_setup_moves_window_whole_like_any_coefficient() -> None:
    setup: Setup = start_at(A100, "torch-eager").moved({"device.decode.window_whole": 0.0})
    assert coefficient_values(setup.device)["decode.window_whole"] == 0.0
    assert "device.decode.window_whole" not in make.device_priors()  # it is chosen, not fitted


@pytest.mark.parametrize(
    ("sizes", "narrow"), [([(64, 4096), (4096, 4096)], True), ([(4096, 255)], True), ([(256, 256)], False)]
)
def test_one_narrow_product_asks_for_knots_of_narrow_ones(sizes: list[tuple[int, int]], narrow: bool) -> None:
    rows = [OperatorObservation(op="gemm", m=16, n=n, k=k, noise=0.01, **COMMON) for n, k in sizes]
    assert grid_of("gemm", rows) == gemm_grid(narrow=narrow, float8=False)
    assert gemm_grid(narrow=True, float8=False) != gemm_grid(narrow=False, float8=False)
