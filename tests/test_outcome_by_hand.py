"""A calibration's outcome with a fit that only counts its rows: folds, held-out shapes, what a profile says."""

import datetime
from typing import Any

import pytest
from calibration_support import GPU_SHEET, RUNTIME, case
from test_calibrate_simulated import sheet_part

from calibration.fit import make
from calibration.fit.fit import Fitted, Stop
from calibration.fit.make import Problem
from calibration.fit.outcome import (
    About,
    _scores,
    calibrated,
    fitted_profile,
    folds,
    independent,
    is_scored,
    measured_layers,
)
from calibration.observations.evidence import evidence
from calibration.observations.record import Observation

START = make.setup_at_priors(GPU_SHEET, {RUNTIME: "transformers", "cuda-graph": "torch"})
ABOUT = About(
    "toy", "toy-gpu", "Toy", "here", "simulated", ("a note",), {RUNTIME: "transformers"}, 3e8, "0123456789abcdef"
)


def row(name: str = "00-decode", seconds: float = 1.0, phase: str = "decode", **changes: Any) -> Observation:
    return case(name, phase).observation("toy", "wall", seconds, 0.01, ()).model_copy(update=changes)


def counting(pieces: Any, start: Any, *_: object) -> Fitted:
    """A fit whose launch takes 10 µs for every row that it saw; nothing else."""
    count = sum(len(piece.seconds) for piece in pieces)
    setup = start.moved({f"runtime.{RUNTIME}.launch_s": 1e-5 * count})
    residuals = {}
    for piece in pieces:
        residuals.update(zip(piece.index, make.log_ratios(piece, setup).tolist(), strict=True))
    return Fitted(setup, {}, {}, residuals, Stop(0.0, 0.0, ""))


def residual(one: Observation, seen: int) -> float:
    (value,) = make.residuals_at(START.moved({f"runtime.{RUNTIME}.launch_s": 1e-5 * seen}), [one])
    return value


def plan_rows(shapes: int) -> list[Observation]:
    """Two rows a shape; the first two shapes are held out."""
    flags = [("held-out",) if i < 2 else () for i in range(shapes)]
    return [
        row(f"{i:02d}-{phase}", 1.0 + i, phase, flags=flags[i])
        for i in range(shapes)
        for phase in ("prefill", "decode")
    ]


def test_shapes_are_dealt_to_seven_folds_in_order() -> None:
    rows = plan_rows(9)
    assert folds(rows) == [f"fold {i % 7}" for i in range(9) for _ in range(2)]
    assert folds([rows[4], rows[0], rows[5]]) == ["fold 0", "fold 1", "fold 0"]


def test_every_error_is_of_a_fit_that_had_not_seen_it() -> None:
    """Nine shapes: all of 18 rows, 14 without those held out, 14 without a fold of two shapes, 16 without one of one."""
    rows = plan_rows(9)
    done = calibrated(Problem(START, {}, counting), sheet_part("cuda"), rows, ABOUT)
    assert done.fitted.residuals == pytest.approx({i: residual(one, 18) for i, one in enumerate(rows)})
    alone = [i for i, fold in enumerate(folds(rows)) if fold not in ("fold 0", "fold 1")]
    expected = [residual(one, 16 if i in alone else 14) for i, one in enumerate(rows)]
    assert done.held_out == pytest.approx(expected) and done.observations == tuple(rows)
    errors = {(one.split, one.phase): one for one in done.profile.quality.errors}
    for split, seen, chosen in (("in sample", 18, rows), ("held-out shapes", 14, rows[:4])):
        for phase in ("prefill", "decode"):
            some = [residual(one, seen) for one in chosen if one.phase == phase]
            found = errors[split, phase]
            assert (found.rows, found.mape_percent) == (len(some), pytest.approx(make.mape_percent(some), abs=1e-3))
    decode = [value for value, one in zip(expected, rows, strict=True) if one.phase == "decode"]
    found = errors["cross-validated (7 folds of shapes)", "decode"]
    assert (found.rows, found.mape_percent) == (9, pytest.approx(make.mape_percent(decode), abs=1e-3))
    assert len(errors) == 6


def test_only_planned_walls_are_scored() -> None:
    """Heads, whole models and replays surround them; a decoder with a configuration is a planned shape."""
    assert is_scored(row(part="blocks")) and is_scored(row(part="model", timing="loop", config="{}"))
    assert not any(is_scored(row(**one)) for one in ({"timing": "device"}, {"part": "head"}, {"part": "model"}))
    rows = [*plan_rows(8), row("head-0", part="head"), row("00-decode", 0.1, timing="device")]
    done = calibrated(Problem(START, {}, counting), sheet_part("cuda"), rows, ABOUT)
    errors = {(one.split, one.phase): one.rows for one in done.profile.quality.errors}
    assert errors["in sample", "decode"] == 10
    assert errors["cross-validated (7 folds of shapes)", "decode"] == 8
    assert done.profile.runtimes[RUNTIME].ranges["hidden_size"] == (128.0, 128.0)


def test_a_plan_without_held_out_shapes_has_no_such_errors() -> None:
    rows = [one.model_copy(update={"flags": ()}) for one in plan_rows(8)]
    done = calibrated(Problem(START, {}, counting), sheet_part("cuda"), rows, ABOUT)
    assert {one.split for one in done.profile.quality.errors} == {"in sample", "cross-validated (7 folds of shapes)"}
    assert done.profile.provenance.notes == ["a note"]


@pytest.mark.parametrize(("wall", "kept"), [(1.049, False), (1.051, True), (0.5, False)])
def test_a_replay_that_its_wall_time_repeats_is_left_out(wall: float, kept: bool) -> None:
    rows = [row(seconds=wall), row(seconds=1.0, timing="device")]
    assert independent(rows) == (rows if kept else rows[:1])


def test_a_replay_without_a_wall_time_of_its_own_stays() -> None:
    alone = row(seconds=1.0, timing="device")
    for other in (row("01-decode"), row(runtime="cuda-graph"), row(part="model"), row(timing="host")):
        assert independent([other, alone]) == [other, alone]


def test_scores_are_of_usable_rows_where_those_are_nine() -> None:
    rows = [row() for _ in range(9)] + [row(flags=("noisy",))]
    off = [0.1] * 9 + [0.9]
    assert _scores(rows, off) == {"decode": [0.1] * 9}
    assert _scores(rows[1:], off[1:]) == {"decode": [0.1] * 8 + [0.9]}
    mixed = [*rows, row(phase="prefill", flags=("noisy",))]
    assert _scores(mixed, [*off, 0.7]) == {"decode": [0.1] * 9, "prefill": [0.7]}


def test_what_a_profile_says_of_itself() -> None:
    rows = plan_rows(3)
    fitted = counting(evidence(rows), START)
    errors = [
        *make.error_rows("in sample", rows, [0.5] * 6), *make.error_rows("held-out shapes", rows[:1], [0.02]),
        *make.error_rows("held-out shapes", rows[1:2], [0.03]),
    ]  # fmt: skip
    made = fitted_profile(fitted, sheet_part("cuda"), "float32", rows, ABOUT, [0.1] * 6, errors)
    assert (made.name, made.gpu, made.title, made.schema_version) == ("toy", "toy-gpu", "Toy", 2)
    assert (made.quality.kind, made.quality.errors) == ("calibrated", errors)
    said = made.provenance
    assert (said.source, said.made_by, said.rows) == ("simulated", "latmodel calibrate", "6 times of 3 shapes")
    assert said.date == datetime.date.today().isoformat()
    assert said.notes == ["a note", "held-out error at most 3.0 % in either phase"]
    assert made.device.coefficients.keys() == {"float32"}
    part = made.runtimes[RUNTIME]
    assert made.runtimes.keys() == {RUNTIME} and (part.host, part.machine) == ("here", "0123456789abcdef")
    assert part.memory_overhead_bytes == 3e8 and part.layers == []
    assert part.conformal_scores == {"prefill": [0.1] * 3, "decode": [0.1] * 3}
    assert "num_hidden_layers" not in part.ranges and part.ranges["hidden_size"] == (128.0, 128.0)


def test_a_runtime_takes_its_own_rows_and_without_residuals_no_intervals() -> None:
    rows = [row(), row(phase="prefill"), row("01-decode", runtime="cuda-graph", hidden_size=256, num_attention_heads=4)]
    about = About("toy", "toy", "Toy", "", "s", (), {RUNTIME: "transformers", "cuda-graph": "torch"})
    fitted = counting(evidence(rows), START)
    made = fitted_profile(fitted, sheet_part("cuda"), "float32", rows, about, [0.1, 0.2, 0.3])
    eager, graph = made.runtimes[RUNTIME], made.runtimes["cuda-graph"]
    assert eager.conformal_scores == {"prefill": [0.2], "decode": [0.1]} and graph.conformal_scores == {"decode": [0.3]}
    assert eager.memory_overhead_bytes == 0.0  # unless it is told
    assert eager.ranges["hidden_size"] == (128.0, 128.0) and graph.ranges["hidden_size"] == (256.0, 256.0)
    without = fitted_profile(fitted, sheet_part("cuda"), "float32", rows, about)
    assert without.runtimes[RUNTIME].conformal_scores == {} and without.runtimes[RUNTIME].ranges
    none = fitted_profile(fitted, sheet_part("cuda"), "float32", rows[:2], about, [0.1, 0.2])
    assert none.runtimes["cuda-graph"].ranges == {}


def test_long_notes_are_cut_to_what_a_profile_may_hold() -> None:
    about = About("toy", "toy", "Toy", "", "s", ("x" * 3000,), {RUNTIME: "transformers"})
    made = fitted_profile(counting(evidence([row()]), START), sheet_part("cuda"), "float32", [row()], about)
    assert made.provenance.notes == ["x" * 2000]


def test_kinds_of_layers_are_those_of_the_configurations() -> None:
    from test_calibrate_decoder import HYBRID

    assert measured_layers([row(), row(config=HYBRID.text)]) == {"GatedDelta", "Experts"}
    assert measured_layers([row()]) == set()
