"""From a fit to a profile, by hand: priors that are moved, what is left out, scores, tables and ranges."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from calibration_support import GPU_SHEET, RUNTIME, case

from calibration.fit import make
from calibration.fit.fit import Fitted, Stop
from calibration.observations.record import Observation
from latmodel.device.profile import Coefficient
from latmodel.laws.coefficients import coefficient_values
from latmodel.laws.priors import CPU_PRIORS, DEVICE_PRIORS, RUNTIME_PRIORS, Prior

START = make.setup_at_priors(GPU_SHEET, {RUNTIME: "transformers", "cuda-graph": "torch"})


def row(seconds: float = 1.0, phase: str = "decode", **changes: Any) -> Observation:
    return case("row", phase).observation("toy", "wall", seconds, 0.01, ()).model_copy(update=changes)


def test_whose_kernels_a_runtime_launches() -> None:
    names = ("transformers-eager", "cuda-graph", "torch-compile", "vllm", "my-own")
    assert [make.implementation_of(name) for name in names] == [
        "transformers",
        "cuda-graph",
        "compiled",
        "serving",
        "torch",
    ]


def test_a_fit_starts_at_the_priors_and_a_graph_without_launches() -> None:
    device = coefficient_values(START.device)
    assert device["gemm.floor_s"] == DEVICE_PRIORS["gemm.floor_s"].value
    assert device["prefill.write_s"] == 0.0  # a serving framework's alone
    graph, eager = START.runtimes["cuda-graph"][0], START.runtimes[RUNTIME][0]
    assert (graph.launch_s, graph.block_s, graph.prefill_block_s, graph.pass_s, graph.token_s) == (0, 0, 0, 4e-5, 1e-5)
    assert (eager.launch_s, eager.pass_s) == (RUNTIME_PRIORS["launch_s"].value, RUNTIME_PRIORS["pass_s"].value)
    assert [implementation.name for _, implementation in START.runtimes.values()] == ["transformers", "torch"]


def test_what_only_hot_loops_show_is_free_in_hot_loops_alone() -> None:
    cold, hot = make.device_priors(), make.device_priors(hot=True)
    fixed = {f"device.{name}" for name, prior in DEVICE_PRIORS.items() if prior.spread == 0.0}
    assert fixed == {"device.decode.window_whole"} and not fixed & hot.keys()
    families = {name.split(".")[1] for name in hot.keys() - cold.keys()}
    assert families == {"gemm", "prefill", "decode"}
    assert hot.keys() - cold.keys() == {
        "device.prefill.write_s", "device.gemm.cache_rate", "device.prefill.cache_speedup",
        "device.decode.cache_speedup",
        *(f"device.{family}.cache_{what}" for family in families for what in ("share", "width")),
    }  # fmt: skip
    # Of pointwise kernels the cache shows in any run.
    assert {"device.pointwise.cache_share", "device.pointwise.cache_speedup"} <= cold.keys()
    assert cold["device.gemm.floor_s"] == DEVICE_PRIORS["gemm.floor_s"]


def test_priors_of_a_runtime() -> None:
    eager, graph, vllm = (make.runtime_priors(name) for name in (RUNTIME, "cuda-graph", "vllm"))
    assert eager == {f"runtime.{RUNTIME}.{name}": prior for name, prior in RUNTIME_PRIORS.items()}
    assert vllm.keys() - {name.replace(RUNTIME, "vllm") for name in eager} == {
        "runtime.vllm.step_s", "runtime.vllm.sequence_s"
    }  # fmt: skip
    assert graph.keys() == {f"runtime.cuda-graph.{name}" for name in ("pass_s", "token_s", "gap_s", "overlap_loss")}
    assert graph["runtime.cuda-graph.pass_s"].value == 4e-5 and graph["runtime.cuda-graph.token_s"].value == 1e-5
    assert graph["runtime.cuda-graph.token_s"].spread == RUNTIME_PRIORS["token_s"].spread


PRIORS = {"device.a": Prior(1.0, 0.4, 0.1, 9.0, "a"), "runtime.r.b": Prior(1.0, 0.7, 0.1, 9.0, "b")}


def fitted(value: float, error: float, status: Any = "fitted") -> Coefficient:
    return Coefficient(value=value, stderr_log=error, status=status)


@pytest.mark.parametrize(("error", "spread"), [(0.04, 0.05), (0.0, 0.03), (0.9, 0.4)])
def test_a_prior_moved_to_another_board_s_fit(error: float, spread: float) -> None:
    """As sure as the fit and two boards' difference of 3 % together, and no less than before."""
    found = make.tightened(PRIORS, {"device.a": fitted(2.0, error), "device.other": fitted(3.0, 0.1)})
    assert found["device.a"] == Prior(2.0, pytest.approx(spread), 0.1, 9.0, "a")
    assert found["runtime.r.b"] == PRIORS["runtime.r.b"] and found.keys() == PRIORS.keys()
    assert make.tightened(PRIORS, {"device.a": fitted(2.0, 0.03)}, apart=0.04)["device.a"].spread == pytest.approx(0.05)


def test_another_host_may_be_twice_as_slow() -> None:
    both = {"device.a": fitted(2.0, 0.01), "runtime.r.b": fitted(2.0, 0.01)}
    loose = make.tightened(PRIORS, both, loosen_hosts=True)
    assert loose["runtime.r.b"].spread == 0.5 and loose["device.a"].spread < 0.04
    assert make.tightened(PRIORS, both)["runtime.r.b"].spread < 0.04
    wide = make.tightened(PRIORS, {"runtime.r.b": fitted(2.0, 0.65)}, loosen_hosts=True)
    assert wide["runtime.r.b"].spread == pytest.approx(math.hypot(0.65, 0.03))


class Recorded:
    """A problem whose fit tells which rows it saw; its coefficient counts them."""

    def __init__(self) -> None:
        self.begins: list[Any] = []

    def solve(self, rows: list[Observation], begin: Any = None) -> Any:
        self.begins.append(begin)
        names = [one.name for one in rows]
        return SimpleNamespace(names=names, coefficients={"a": fitted(float(len(rows)), 0.1)})


@pytest.mark.parametrize("warm", [True, False])
def test_each_group_is_predicted_by_a_fit_to_the_others(warm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(name=name) for name in "abcde"]
    groups = ["y", "x", "y", "z", "x"]
    seen: dict[str, list[str]] = {}

    def residuals_of(found: Any, some: list[Observation]) -> list[float]:
        seen.update({one.name: found.names for one in some})
        return [float(ord(one.name)) for one in some]

    monkeypatch.setattr(make, "residuals_of", residuals_of)
    one, told = Recorded(), list[tuple[int, int]]()
    held_out = make.leave_out(one, rows, groups, lambda *at: told.append(at), warm=warm)  # type: ignore[arg-type]
    assert held_out == [float(ord(name)) for name in "abcde"]
    assert seen == {"a": ["b", "d", "e"], "c": ["b", "d", "e"], "b": ["a", "c", "d"], "e": ["a", "c", "d"],
                    "d": ["a", "b", "c", "e"]}  # fmt: skip
    assert told == [(1, 3), (2, 3), (3, 3)]
    # From the fit to all five rows, or from the priors.
    assert one.begins == ([None] + [{"a": 5.0}] * 3 if warm else [None] * 3)


def test_a_residual_is_that_of_its_own_row_at_any_coefficients() -> None:
    rows = [row(2.0), row(3.0, "prefill"), row(4.0)]
    base = make.residuals_at(START, [row(1.0), row(1.0, "prefill"), row(1.0)])
    assert make.residuals_at(START, rows) == pytest.approx(
        [b - math.log(s) for b, s in zip(base, (2, 3, 4), strict=True)]
    )
    found = Fitted(START, {}, {}, {}, Stop(0.0, 0.0, ""))
    assert make.residuals_of(found, rows) == make.residuals_at(START, rows)


def test_the_mean_absolute_percentage_error() -> None:
    assert make.mape_percent([math.log(1.1), math.log(0.7)]) == pytest.approx(20.0)


def test_errors_are_told_by_phase_to_three_digits() -> None:
    rows = [row(), row(), row(phase="prefill")]
    first, second = make.error_rows("here", rows, [math.log(1.1), math.log(0.9), math.log(1.0123456)])
    assert (first.split, first.phase, first.rows, first.mape_percent) == ("here", "prefill", 1, 1.235)
    assert (second.phase, second.rows, second.mape_percent) == ("decode", 2, 10.0)


def test_scores_are_sorted_sizes_of_residuals_by_phase() -> None:
    rows = [row(), row(), row(phase="prefill"), row()]
    found = make.conformal_scores(rows, [-0.3, 0.123456, 0.02, 0.2])
    assert found == {"prefill": [0.02], "decode": [0.1235, 0.2, 0.3]}


def test_many_scores_are_thinned_evenly_and_keep_both_ends() -> None:
    off = [i / 1000 for i in range(1001)]
    assert make.conformal_scores([row()] * 1001, off, limit=11)["decode"] == [i / 10 for i in range(11)]
    assert len(make.conformal_scores([row()] * 401, off[:401])["decode"]) == 400
    assert make.conformal_scores([row()] * 11, off[:11], limit=11)["decode"] == off[:11]


def test_a_table_holds_every_coefficient_rounded_or_fixed() -> None:
    spread = DEVICE_PRIORS["gemm.floor_s"].spread
    found = make.coefficient_table(
        {"gemm.floor_s": 1.0, "gemm.boost": 2.0, "gemm.boost_s": 3.0, "other": 4.0},
        {
            "device.gemm.floor_s": fitted(1.23456789, 0.69 * spread, "undetermined"),
            "device.gemm.boost": fitted(7.0, 0.71 * DEVICE_PRIORS["gemm.boost"].spread, "undetermined"),
            "device.gemm.boost_s": fitted(5.0, 0.123456, "boundary"),
            "device.unknown": fitted(9.0, 0.1),
        },
        "device.",
    )  # fmt: skip
    # What all stages together narrowed to 0.7 of the data sheet's spread counts as fitted.
    assert (found["gemm.floor_s"].value, found["gemm.floor_s"].status) == (1.2346, "fitted")
    assert (found["gemm.boost"].value, found["gemm.boost"].status) == (7.0, "undetermined")
    assert (found["gemm.boost_s"].stderr_log, found["gemm.boost_s"].status) == (0.123, "boundary")
    assert (found["other"].value, found["other"].status) == (4.0, "fixed") and len(found) == 4


def test_a_runtime_s_table_is_judged_by_its_own_priors() -> None:
    for name, prior in (("pass_s", RUNTIME_PRIORS["pass_s"]), ("step_s", Prior(1.3e-3, 0.40, 0, 1, ""))):
        for share, status in ((0.69, "fitted"), (0.71, "undetermined")):
            one = {f"runtime.r.{name}": fitted(1e-3, share * prior.spread, "undetermined")}
            assert make.coefficient_table({name: 1.0}, one, "runtime.r.")[name].status == status


def test_a_profile_s_parts_take_what_was_fitted() -> None:
    coefficients = {"device.gemm.floor_s": fitted(5e-6, 0.1), f"runtime.{RUNTIME}.pass_s": fitted(7e-4, 0.2)}
    found = Fitted(START, coefficients, {}, {}, Stop(0.0, 0.0, ""))
    table = make.device_table(found)
    assert table["gemm.floor_s"].value == 5e-6 and table["decode.floor_s"].status == "fixed"
    assert not any(name.startswith("float8.") for name in table) and "gemm.boost" in table
    part = make.runtime_part(found, RUNTIME, host="here", layers=["Mamba2"])
    assert (part.implementation, part.host, part.layers) == ("transformers", "here", ["Mamba2"])
    assert part.coefficients["pass_s"].value == 7e-4 and part.coefficients["token_s"].status == "fixed"


def test_ranges_of_sizes_and_of_positions() -> None:
    rows = [
        row(num_hidden_layers=3, hidden_size=256, prompt_tokens=40, new_tokens=9, batch_size=2),
        row(num_hidden_layers=7, hidden_size=128, prompt_tokens=60, new_tokens=1, intermediate_size=99, head_dim=32),
    ]
    assert make.measured_ranges(rows) == {
        "num_hidden_layers": (3.0, 7.0), "hidden_size": (128.0, 256.0), "prompt_tokens": (40.0, 61.0),
        "batch_size": (1.0, 2.0), "intermediate_size": (99.0, 384.0), "head_dim": (32.0, 64.0),
    }  # fmt: skip
    short = row(phase="prefill", prompt_tokens=4, new_tokens=0, cached_tokens=70)
    longer = make.measured_ranges([*rows, short, row(cached_tokens=90, prompt_tokens=2)])
    assert longer["cached_tokens"] == (0.0, 90.0) and longer["prompt_tokens"] == (40.0, 61.0)


def test_a_prior_of_a_cpu_is_judged_by_no_card_s() -> None:
    """Its names are in no table of cards: what the last stage left undetermined stays so."""
    name = next(iter(CPU_PRIORS))
    one = {f"device.{name}": fitted(1.0, 1e-3, "undetermined")}
    assert make.coefficient_table({name: 1.0}, one, "device.")[name].status == "undetermined"
