"""What can be wrong with times that someone measured, before they move a profile; and intervals from few of them."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from latmodel.device.hosts import block_launches
from latmodel.device.profile import RuntimePart
from latmodel.errors import UsageError
from latmodel.laws.coefficients import RuntimeCoefficients
from latmodel.model.config import CONFIG_FIELDS

from ..observations.evidence import evidence
from ..observations.record import Observation, shape_of
from . import make
from .fit import Fitted
from .objective import Vector, floored

EXCLUDED = ("noisy", "throttled", "drifting")  # flags of rows that are not fitted; "throttled:heat" is one
TELLS = ("seconds", "noise", "flags", "source", "name")  # fields that do not say what was run
CONTRADICTION = 0.25  # log units between two times of one run that no noise explains
ABSURD = math.log(8.0)  # of one row against the others: another unit, another model
ODD = math.log(1.4)  # the same, worth a word
FAR = math.log(30.0)  # of all rows against the profile: hosts of one device differ by three at most
UNITS = {1e3: "milliseconds", 1e6: "microseconds", 1e-3: "thousandths", 60.0: "minutes", 1 / 60.0: "minutes"}
TYPICAL_DEPTH = 32.0  # blocks of the model whose host time is meant
HOST_GRID = np.linspace(-2.0, 2.0, 401)  # log factors on a host's time
Range = tuple[float, float]
# How often rows are of something else than they say, and by how many log units: assumed, nobody has counted.
MISTAKEN, MISTAKEN_BY = 0.1, math.log(2.0)
HALF_WITHIN = 0.6745  # standard deviations of a normal distribution
ENOUGH = 9  # held-out rows from which their own 90 % quantile exists


def is_usable(row: Observation) -> bool:
    """Whether no flag speaks against a row."""
    return not any(flag.split(":")[0] in EXCLUDED for flag in row.flags)


def usable(rows: Sequence[Observation]) -> list[Observation]:
    """Rows without a flag that speaks against them."""
    return [row for row in rows if is_usable(row)]


def shape_key(row: Observation) -> tuple[object, ...]:
    """The model that a row is of: all its times are held out together, prefill and decode, whatever its name."""
    return (row.config, *(getattr(row, name) for name in CONFIG_FIELDS))


def merged_duplicates(rows: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """Rows without those that stand there twice, and a warning for each that does.

    Raises:
        UsageError: two rows give one run times that no noise explains.
    """
    kept: list[Observation] = []
    warnings: list[str] = []
    seen: dict[tuple[object, ...], list[int]] = {}
    for number, row in enumerate(rows, 1):
        key = tuple(value for name, value in row if name not in TELLS)
        for other in seen.setdefault(key, []):
            before = rows[other - 1]
            if abs(math.log(row.seconds / before.seconds)) > max(CONTRADICTION, 6.0 * max(row.noise, before.noise)):
                raise UsageError(
                    f"rows {other} and {number} ({_label(row)}) are times of one run, {before.seconds:.4g} s and "
                    f"{row.seconds:.4g} s: one is of another model, machine or unit; remove it"
                )
        if any(rows[other - 1].seconds == row.seconds for other in seen[key]):
            warnings.append(f"row {number} ({_label(row)}) repeats row {seen[key][0]} to the digit: counted once")
        else:
            kept.append(row)
        seen[key].append(number)
    return kept, warnings


def check_against(rows: Sequence[Observation], log_ratios: Sequence[float]) -> list[str]:
    """Warnings on rows that are unlike the others; `log_ratios` are log(measured / expected by the profile).

    Raises:
        UsageError: all rows, or one against the others, are off by so much that a unit or the model is wrong.
    """
    middle = statistics.median(log_ratios)
    if abs(middle) > FAR:
        factor = math.exp(middle)
        raise UsageError(
            f"times are {factor:.3g} times what this device takes by its profile: {_cause(factor)}; "
            "give SI seconds of one prefill or one decode step"
        )
    warnings = []
    if abs(middle) > ODD:
        warnings.append(
            f"times are {math.exp(middle):.2f} times what the profile leads to expect: taken as this host's, for host "
            "times differ most; times of narrow and of wide shapes tell host and device apart"
        )
    for number, (row, ratio) in enumerate(zip(rows, log_ratios, strict=True), 1):
        apart, factor = ratio - middle, math.exp(ratio - middle)
        if abs(apart) > ABSURD:
            raise UsageError(
                f"row {number} ({_label(row)}) is {factor:.3g} times what the other rows lead to expect: "
                f"{_cause(factor)}; correct or remove it"
            )
        if abs(apart) > max(ODD, 4.0 * row.noise):
            warnings.append(
                f"row {number} ({_label(row)}) took {factor:.2f} times what the others lead to expect: another "
                "machine, or a busy one? Leave it out if so"
            )
    return warnings


def _cause(factor: float) -> str:
    for unit, name in UNITS.items():
        if abs(math.log(factor / unit)) < math.log(2.0):  # hosts of one device differ by more than that seldom
            return f"{name} instead of seconds?"
    return "another unit, another model, or tokens summed that should be a mean?"


def _label(row: Observation) -> str:
    return row.name or f"{row.num_hidden_layers} x {row.hidden_size} {row.phase}"


def law_error_before(part: RuntimePart | None) -> float:
    """Standard deviation of the formulas' error (log units) by what a profile missed so far; 0 without a profile.

    Half of a normal distribution lies within 0.6745 standard deviations. A few rows cannot tell how far the formulas
    are off: believed to their noise alone, the device's error would be taken for a host that is slow.
    """
    scores = [] if part is None else [score for some in part.conformal_scores.values() for score in some]
    return statistics.median(scores) / HALF_WITHIN if scores else 0.0


def host_range(fitted: Fitted, runtime: str, rows: Sequence[Observation], expected: RuntimeCoefficients) -> Range:
    """Factors on the fitted host's time between which it lies nine times of ten, by what these rows say of it.

    The posterior of one factor on all of a host's times, on a grid: its prior is log-normal about the host that was
    expected (`HOST_SPREAD`), its likelihood that of the rows' log residuals (`_log_likelihood`). No standard error will
    do: where the device binds, a row says that the host is no slower, and of a faster one nothing.
    """
    host, _ = fitted.setup.runtimes[runtime]
    shift = math.log(_typical_s(expected) / _typical_s(host)) if _typical_s(host) > 0.0 else 0.0
    factors = np.exp(HOST_GRID)[:, None]
    slower = fitted.setup.target(runtime).on_slower_host(factors, factors)  # type: ignore[arg-type]
    residuals = np.empty((len(HOST_GRID), len(rows)))
    for piece in evidence(rows):
        residuals[:, piece.index] = np.log(np.asarray(piece.predict(slower), dtype=np.float64) / piece.seconds)
    logs = _log_likelihood(residuals, rows, fitted.law_error) - 0.5 * ((HOST_GRID - shift) / make.HOST_SPREAD) ** 2
    weight = np.cumsum(np.exp(logs - logs.max()))
    low, high = np.exp(np.interp([0.05, 0.95], weight / weight[-1], HOST_GRID)).tolist()
    return min(float(f"{low:.4g}"), 1.0), max(float(f"{high:.4g}"), 1.0)


def _log_likelihood(residuals: Vector, rows: Sequence[Observation], law_error: float) -> Vector:
    """Of log residuals [points, rows], up to a constant, at each point.

    Errors are the rows' noise and the formulas' own, which rows of a shape have in common. Or, `MISTAKEN` times of all,
    the rows are of something else than they say (another attention kernel, version, power limit), and all are off by
    one factor more: log-normal, a factor of two or so. Covariances of this form have closed inverses (Sherman and
    Morrison 1950).
    """
    weights = 1.0 / floored(np.array([row.noise for row in rows])) ** 2
    squares, slopes, curvature = np.zeros(len(residuals)), np.zeros(len(residuals)), 0.0
    shapes = list(map(shape_of, rows))
    for shape in set(shapes):
        mine = [i for i, one in enumerate(shapes) if one == shape]
        some, weight = residuals[:, mine], weights[mine]
        sums, shared = some @ weight, 1.0 + law_error**2 * weight.sum()
        squares += some**2 @ weight - law_error**2 * sums**2 / shared
        slopes += sums / shared
        curvature += weight.sum() / shared
    wider = 1.0 + MISTAKEN_BY**2 * curvature
    as_said = -0.5 * squares + math.log(1.0 - MISTAKEN)
    mistaken = -0.5 * (squares - MISTAKEN_BY**2 * slopes**2 / wider) + math.log(MISTAKEN / math.sqrt(wider))
    return np.asarray(np.logaddexp(as_said, mistaken))


def _typical_s(host: RuntimeCoefficients) -> float:
    """Host seconds of a decode step of a Llama of `TYPICAL_DEPTH` blocks."""
    block = block_launches() * host.launch_s + host.block_s
    return TYPICAL_DEPTH * block + host.pass_s + host.token_s + host.step_s


def joined_ranges(before: RuntimePart | None, rows: Sequence[Observation]) -> dict[str, tuple[float, float]]:
    """Ranges that were measured, by the profile before and by these rows.

    What the profile sets no bounds to, depth and in older files the sizes of layers, a few rows do not bound either.
    A range of cached tokens says that passes over a cache were measured at all, and is added.
    """
    ranges: dict[str, tuple[float, float]] = make.measured_ranges(rows)
    if before is not None and before.ranges:
        ranges = {name: own for name, own in ranges.items() if name in before.ranges or name == "cached_tokens"}
    for name, (low, high) in (before.ranges if before is not None else {}).items():
        mine = ranges.get(name, (low, high))
        ranges[name] = (min(low, mine[0]), max(high, mine[1]))
    return ranges


def joined_scores(
    before: RuntimePart | None, rows: Sequence[Observation], held_out: Sequence[float] | None
) -> dict[str, list[float]]:
    """|log residuals| by phase: the rows' own where they are `ENOUGH`, else beside the profile's.

    Fewer than `ENOUGH` stand with the profile's, none of which is smaller than the largest seen: as wide as before at
    least, and wider where the rows ask for it. A phase that was not measured keeps the profile's. A response that was
    not measured takes what its prefill and its decode steps take (`latmodel.predict.intervals`).
    """
    own = make.conformal_scores(rows, held_out) if held_out is not None else {}
    known: Mapping[str, Sequence[float]] = before.conformal_scores if before is not None else {}  # type: ignore[assignment]
    if "response" in own and "response" not in known:
        known = {**known, "response": [*known.get("prefill", []), *known.get("decode", [])]}
    scores = {phase: _wide(own.get(phase, []), known.get(phase, [])) for phase in make.PHASES}
    if len(own.get("response", [])) < ENOUGH and ("prefill" in own or "decode" in own):
        scores["response"] = []
    return {phase: some for phase, some in scores.items() if some}


def _wide(own: Sequence[float], known: Sequence[float]) -> list[float]:
    if len(own) >= ENOUGH or not own:
        return list(own or known)
    return sorted([*own, *(max(score, *own) for score in known)])[-400:]
