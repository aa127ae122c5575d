"""Observations of a calibration → profile: fit, held-out error, cross-validated intervals, provenance."""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latmodel.device.profile import DevicePart, ErrorRow, Profile, Provenance, Quality, RuntimePart, SheetPart
from latmodel.model.config import DType

from ..observations.decoder_config import DecoderConfig
from ..observations.record import Observation, shape_of
from . import make
from .few_rows import ENOUGH, is_usable
from .fit import Fitted
from .make import Problem

# A wall time within so much of its kernels' replay is the device's: the two are then one measurement, not two.
SAME_TIME = 1.05
FOLDS = 7  # no divisor in common with 6: every sixth shape of a plan is misaligned, and they may not share a fold


@dataclass(frozen=True)
class Calibrated:
    """A fitted profile, the fit behind it, and the residual of every fitted observation from a fit that had not seen
    it."""

    profile: Profile
    fitted: Fitted
    observations: tuple[Observation, ...]
    held_out: tuple[float, ...]


@dataclass(frozen=True)
class About:
    """What a profile says of itself besides numbers. `implementations` gives that of each runtime, `machine` the key of
    the machine where it was measured (empty for one that no user has)."""

    name: str
    gpu: str
    title: str
    host: str
    source: str
    notes: tuple[str, ...]
    implementations: Mapping[str, str]
    memory_overhead_bytes: float = 0.0
    machine: str = ""


def calibrated(problem: Problem, sheet: SheetPart, rows: Sequence[Observation], about: About) -> Calibrated:
    """Fit everything, and measure the error on what a fit had not seen.

    The held-out shapes of the plan judge a fit to the others. The profile itself is fitted to all; its intervals come
    from `FOLDS` fits that each leave as small a share of the shapes out. Every fit starts from the priors and makes all
    choices itself: a held-out shape is one that nothing has seen.
    """
    dtype, rows = rows[0].dtype, independent(rows)
    fitted = problem.solve(rows)
    apart = [i for i, row in enumerate(rows) if "held-out" in row.flags]
    errors = [*make.error_rows("in sample", rows, [fitted.residuals[i] for i in range(len(rows))])]
    if apart:
        without = problem.solve([row for i, row in enumerate(rows) if i not in set(apart)])
        chosen = [rows[i] for i in apart]
        errors += make.error_rows("held-out shapes", chosen, make.residuals_of(without, chosen))
    held_out = make.leave_out(problem, rows, folds(rows), warm=False)
    walls = [i for i, row in enumerate(rows) if is_scored(row)]
    scored, scores = [rows[i] for i in walls], [held_out[i] for i in walls]
    errors += make.error_rows(f"cross-validated ({FOLDS} folds of shapes)", scored, scores)
    profile = fitted_profile(fitted, sheet, dtype, rows, about, held_out, errors)
    return Calibrated(profile, fitted, tuple(rows), tuple(held_out))


def fitted_profile(
    fitted: Fitted, sheet: SheetPart, dtype: DType, rows: Sequence[Observation], about: About,
    held_out: Sequence[float] = (), errors: Sequence[ErrorRow] = (),
) -> Profile:  # fmt: skip
    """A fit as a profile; without held-out residuals it has no intervals."""
    return Profile(
        schema_version=2, name=about.name, gpu=about.gpu, title=about.title,
        device=DevicePart(sheet=sheet, coefficients={dtype: make.device_table(fitted)}),
        runtimes={name: _runtime(fitted, name, rows, held_out, about) for name in about.implementations},
        quality=Quality(kind="calibrated", errors=list(errors)),
        provenance=_provenance(rows, about, errors),
    )  # fmt: skip


def independent(rows: Sequence[Observation]) -> list[Observation]:
    """The rows without replays that their own wall times repeat.

    Under a graph, and where the device binds, both clocks see the same kernels with the same error of the formulas:
    counted twice they pull twice as hard as their shape is worth, and split the optimum (21 starts on an H100 ended
    within 1.3 % of one cost with them; without, all but one of 20 within 0.3 %).
    """
    walls = {(row.runtime, row.name): row.seconds for row in rows if row.timing == "wall" and row.part == "blocks"}
    return [
        row for row in rows
        if row.timing != "device" or walls.get((row.runtime, row.name), math.inf) > SAME_TIME * row.seconds
    ]  # fmt: skip


def folds(rows: Sequence[Observation]) -> list[str]:
    """A fold for each observation: all rows of a shape are in one, shapes are dealt out in order."""
    shapes = {shape: index for index, shape in enumerate(dict.fromkeys(shape_of(row) for row in rows))}
    return [f"fold {shapes[shape_of(row)] % FOLDS}" for row in rows]


def _runtime(
    fitted: Fitted, name: str, rows: Sequence[Observation], held_out: Sequence[float], about: About
) -> RuntimePart:
    mine = [i for i, row in enumerate(rows) if row.runtime == name]
    blocks = [i for i in mine if is_scored(rows[i])]
    scores = _scores([rows[i] for i in blocks], [held_out[i] for i in blocks]) if held_out else {}
    ranges = make.measured_ranges([rows[i] for i in blocks]) if blocks else {}
    ranges.pop("num_hidden_layers", None)  # the depth of the ring: time is affine in depth, whatever it is
    return make.runtime_part(
        fitted, name, host=about.host, machine=about.machine, conformal_scores=scores, ranges=ranges,
        memory_overhead_bytes=about.memory_overhead_bytes, layers=sorted(measured_layers(rows)),
    )  # fmt: skip


def _scores(rows: Sequence[Observation], held_out: Sequence[float]) -> dict[str, list[float]]:
    """|log residuals| by phase, of rows that nothing speaks against where there are `ENOUGH` of them.

    Of a time whose rounds disagree by far the residual is the measurement's, and says little of a prediction.
    """
    scores = make.conformal_scores(rows, held_out)
    sure = [i for i, row in enumerate(rows) if is_usable(row)]
    own = make.conformal_scores([rows[i] for i in sure], [held_out[i] for i in sure])
    return {phase: own[phase] if len(own.get(phase, ())) >= ENOUGH else some for phase, some in scores.items()}


def is_scored(row: Observation) -> bool:
    """Whether a row is of a planned shape, by the clock that users see; others only surround them."""
    return row.config is not None or (row.part == "blocks" and row.timing == "wall")


def measured_layers(rows: Sequence[Observation]) -> set[str]:
    """Kinds of layers besides attention and feed-forward layers among the rows."""
    configs = {row.config for row in rows if row.config is not None}
    return {name for text in configs for name in DecoderConfig(text).architecture().special_layers}


def _provenance(rows: Sequence[Observation], about: About, errors: Sequence[ErrorRow]) -> Provenance:
    shapes = len({shape_of(row) for row in rows})
    worst = max((row.mape_percent for row in errors if row.split.startswith("held-out")), default=None)
    notes = (*about.notes, *([] if worst is None else [f"held-out error at most {worst:.1f} % in either phase"]))
    return Provenance(
        source=about.source, date=datetime.date.today().isoformat(),
        rows=f"{len(rows)} times of {shapes} shapes", made_by="latmodel calibrate",
        notes=[note[:2000] for note in notes],
    )  # fmt: skip
