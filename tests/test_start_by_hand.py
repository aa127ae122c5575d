"""Where a fit starts and what it may move: of a card, of a CPU, of times that refine a profile; which threshold wins."""

from types import SimpleNamespace
from typing import Any

import pytest
from calibration_support import CPU_SHEET, GPU_SHEET, RUNTIME

pytest.importorskip("scipy")

from calibration.fit import make
from calibration.fit.anneal import annealed_fit
from calibration.fit.make import Problem
from calibration.fit.start import CpuProblem, problem, refinement, subject
from latmodel.device.datasheets import datasheet
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.errors import ProfileError
from latmodel.laws.coefficients import coefficient_values
from latmodel.laws.priors import CPU_PRIORS, RUNTIME_PRIORS

CARD = load_profile("3090")
RECURRENT = {f"device.cpu.{name}" for name in ("conv_call_s", "conv_bandwidth", "scan_bandwidth")}
SOLVE = "device.cpu.solve_efficiency"


def test_a_card_is_fitted_in_all_that_cold_runs_show() -> None:
    one = problem("cuda", GPU_SHEET, {RUNTIME: "transformers", "cuda-graph": "torch"})
    assert one.free == make.runtime_priors(RUNTIME) | make.runtime_priors("cuda-graph") | make.device_priors()
    assert one.solver is annealed_fit and not isinstance(one, CpuProblem)
    assert one.start.runtimes[RUNTIME][0].gap_s == RUNTIME_PRIORS["gap_s"].value


def test_on_a_cpu_the_timelines_add_and_nothing_lies_between_kernels() -> None:
    one = problem("cpu", CPU_SHEET, {RUNTIME: "transformers-cpu"})
    assert isinstance(one, CpuProblem) and one.solver is annealed_fit
    runtime = one.start.runtimes[RUNTIME][0]
    assert (runtime.overlap_loss, runtime.gap_s) == (1.0, 0.0) and runtime.launch_s == RUNTIME_PRIORS["launch_s"].value
    of_runtime = {name for name in one.free if name.startswith("runtime.")}
    assert of_runtime == {
        f"runtime.{RUNTIME}.{name}" for name in RUNTIME_PRIORS if name not in ("overlap_loss", "gap_s")
    }
    assert one.free["device.cpu.call_s"] == CPU_PRIORS["cpu.call_s"]
    values = coefficient_values(one.start.device)
    assert values["cpu.call_s"] == CPU_PRIORS["cpu.call_s"].value


def test_a_coefficient_is_moved_by_its_owner_and_name_dots_and_all() -> None:
    start = problem("cuda", GPU_SHEET, {RUNTIME: "transformers", "llama.cpp": "torch"}).start
    moved = start.moved({"device.gemm.floor_s": 7e-6, "runtime.llama.cpp.launch_s": 3e-6})
    assert coefficient_values(moved.device)["gemm.floor_s"] == 7e-6
    assert coefficient_values(moved.device)["decode.floor_s"] == coefficient_values(start.device)["decode.floor_s"]
    assert moved.runtimes["llama.cpp"][0].launch_s == 3e-6 and moved.runtimes["llama.cpp"][1].name == "torch"
    assert moved.runtimes[RUNTIME] == start.runtimes[RUNTIME] and moved.target("llama.cpp").runtime.launch_s == 3e-6


@pytest.mark.parametrize(
    ("layers", "shown"),
    [((), set()), (("Mamba2",), RECURRENT), (("GatedDelta", "Experts"), {*RECURRENT, SOLVE}),
     (("Mamba2", "GatedDelta"), {*RECURRENT, SOLVE})],
)  # fmt: skip
def test_what_no_layer_shows_and_what_is_chosen_is_not_free(layers: tuple[str, ...], shown: set[str]) -> None:
    """Of all 18 coefficients of a CPU: the threshold of repacking is tried, those of recurrent layers need them."""
    one = problem("cpu", CPU_SHEET, {RUNTIME: "transformers-cpu"}, layers)
    of_device = {name for name in one.free if name.startswith("device.")}
    every = {f"device.{name}" for name in CPU_PRIORS} - {"device.cpu.repack_rows"}
    assert of_device == every - ({*RECURRENT, SOLVE} - shown)


@pytest.mark.parametrize(
    ("misfits", "chosen"), [((4.0, 3.0, 2.0, 1.0), 8.0), ((1.0, 3.0, 2.0, 4.0), 1.0), ((3.0, 1.0, 1.0, 2.0), 2.0),
                            ((3.0, 2.0, 1.0, 1.5), 4.0)],
)  # fmt: skip
def test_the_threshold_that_explains_best_is_kept_of_one_two_four_and_eight_rows(
    misfits: tuple[float, ...], chosen: float
) -> None:
    of_rows = dict(zip((1.0, 2.0, 4.0, 8.0), misfits, strict=True))
    begins: list[Any] = []

    def solver(_: Any, start: Any, __: Any, begin: Any) -> Any:
        begins.append(begin)
        rows = coefficient_values(start.device)["cpu.repack_rows"]
        return SimpleNamespace(misfit=of_rows[rows], rows=rows)

    base = problem("cpu", CPU_SHEET, {RUNTIME: "transformers-cpu"})
    found: Any = CpuProblem(base.start, base.free, solver).solve([], {"a": 1.0})
    assert found.rows == chosen and begins == [{"a": 1.0}] * 4


def test_a_subject_is_a_card_by_its_sheet_or_a_calibrated_cpu() -> None:
    card = subject("3090", None)
    assert (card.kind, card.name, card.title) == ("cuda", "nvidia-geforce-rtx-3090", datasheet("3090").title)
    assert card.sheet == make.sheet_part(datasheet("3090"))
    with pytest.raises(ProfileError, match="calibrate --gpu cpu"):
        subject("cpu", None)
    cpu = subject("cpu", CARD)
    assert (cpu.kind, cpu.name, cpu.title, cpu.sheet) == ("cpu", "cpu", CARD.title, CARD.device.sheet)


def with_values(**changes: tuple[float, str]) -> Profile:
    """The packaged RTX 3090 with some of its runtime's coefficients changed: value and status."""
    part = CARD.runtimes[RUNTIME]
    table = {
        **part.coefficients,
        **{
            name: part.coefficients[name].model_copy(update={"value": value, "stderr_log": 0.6, "status": status})
            for name, (value, status) in changes.items()
        },
    }
    runtimes = {**CARD.runtimes, RUNTIME: part.model_copy(update={"coefficients": table})}
    return CARD.model_copy(update={"runtimes": runtimes})


def test_without_a_profile_times_refine_the_data_sheet() -> None:
    one = refinement(subject("3090", None), "bfloat16", [RUNTIME, "my-own"], None)
    assert one.free == make.device_priors() | make.runtime_priors(RUNTIME) | make.runtime_priors("my-own")
    assert one.solver is annealed_fit and type(one) is Problem
    assert one.start.sheet == make.sheet_of(datasheet("3090"), "bfloat16")
    assert [implementation.name for _, implementation in one.start.runtimes.values()] == ["transformers", "torch"]


def test_the_gap_of_blocks_that_split_nothing_is_free_where_a_profile_has_it() -> None:
    name = "runtime.cuda-graph.unsplit_gap_s"
    h100 = load_profile("h100")
    one = refinement(subject("h100", None), "bfloat16", [RUNTIME, "cuda-graph"], h100)
    seen = h100.runtimes["cuda-graph"].coefficients["unsplit_gap_s"].value
    assert one.free[name].value == one.start.runtimes["cuda-graph"][0].unsplit_gap_s == seen > 0.0
    assert f"runtime.{RUNTIME}.unsplit_gap_s" not in one.free  # no graph
    for card, prior in (("3090", CARD), ("h100", None)):
        other = refinement(subject(card, None), "bfloat16", ["cuda-graph"], prior)
        assert name not in other.free and other.start.runtimes["cuda-graph"][0].unsplit_gap_s == 0.0


def test_with_a_profile_they_start_from_what_it_holds() -> None:
    """A host's coefficients stay within a factor of 1.65 (0.5) or what they were; what is fixed or nothing there is held."""
    prior = with_values(
        launch_s=(2e-5, "fitted"), pass_s=(3e-4, "undetermined"), token_s=(9e-4, "fixed"), block_s=(0.0, "fitted")
    )  # fmt: skip
    one = refinement(subject("3090", prior), "bfloat16", [RUNTIME, "my-own"], prior)
    start = one.start.runtimes
    assert (start[RUNTIME][0].launch_s, start[RUNTIME][1].name) == (2e-5, "transformers")
    assert start["my-own"][0].launch_s == RUNTIME_PRIORS["launch_s"].value  # of which the profile knows nothing
    free = {name.rsplit(".", 1)[1]: p for name, p in one.free.items() if name.startswith(f"runtime.{RUNTIME}.")}
    assert free["launch_s"].value == 2e-5 and free["launch_s"].spread == pytest.approx(0.6, rel=2e-3)
    assert free["pass_s"].value == 3e-4
    assert "token_s" not in free and "block_s" not in free
    assert (start[RUNTIME][0].token_s, start[RUNTIME][0].block_s) == (9e-4, 0.0)
    assert "runtime.my-own.token_s" in one.free
    known, _ = prior.device_table("bfloat16", RUNTIME)
    name = "gemm.bandwidth_efficiency"
    assert one.free[f"device.{name}"].value == known[name].value
    assert coefficient_values(one.start.device)[name] == known[name].value


def test_kernels_are_those_of_the_first_runtime_that_the_profile_has() -> None:
    other = refinement(subject("3090", CARD), "bfloat16", ["my-own"], CARD)
    assert coefficient_values(other.start.device) == coefficient_values(CARD.device_coefficients("bfloat16", None)[0])
    assert "runtime.my-own.launch_s" in other.free


def test_a_small_value_is_of_use() -> None:
    prior = with_values(launch_s=(2e-9, "fitted"))
    assert (
        refinement(subject("3090", prior), "bfloat16", [RUNTIME], prior).free[f"runtime.{RUNTIME}.launch_s"].value
        == 2e-9
    )


def test_a_cpu_is_refined_by_its_own_kind_of_fit() -> None:
    """Transformers' operators have counts of their own there; another framework's are as anywhere."""
    from latmodel.device.profile import DevicePart

    sheet = CARD.device.sheet
    cpu = CARD.model_copy(update={"device": DevicePart(sheet=sheet, coefficients={"bfloat16": {
        name: make.coefficient_table({name: p.value}, {}, "device.")[name] for name, p in CPU_PRIORS.items()}})})  # fmt: skip
    cpu = cpu.model_copy(update={"runtimes": {"cuda-graph": CARD.runtimes["cuda-graph"]}})
    one = refinement(subject("cpu", cpu), "bfloat16", [RUNTIME, "vllm"], cpu)
    assert all(name.startswith(("device.cpu.", "runtime.")) for name in one.free)
    assert [made.name for _, made in one.start.runtimes.values()] == ["transformers-cpu", "serving"]
    assert not any(name.endswith(".gap_s") for name in one.free)
