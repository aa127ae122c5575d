"""`latmodel fit`: observations from files → a profile, and the report on them."""

import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from latmodel.device.datasheets import DataSheet, datasheet
from latmodel.device.machine import machine_key
from latmodel.device.profile import DevicePart, Profile, Provenance, Quality, RuntimePart
from latmodel.device.profile_file import write_profile
from latmodel.device.store import load_profile
from latmodel.errors import ProfileError, UsageError
from latmodel.model.config import DType

from ..fit import make
from ..fit.few_rows import check_against, host_range, joined_ranges, joined_scores, merged_duplicates, shape_key, usable
from ..fit.fit import Fitted
from ..fit.outcome import measured_layers
from ..fit.report import fit_report
from ..fit.start import Subject, refinement, subject
from ..observations.record import Observation, read_observations
from ..observations.table import read_table
from ..published import cards as published
from ..published.families import SOURCES
from ..sources import depth_width

UNKNOWN_OVERHEAD = 0.6e9  # bytes of a runtime that nobody measured
# What rows of times say nothing of stays as the profile has it.
KEPT = ("memory_cache_copies", "unpack_moves", "formats", "corrected", "extrapolation_factor", "engine", "dtypes")
MAX_FOLDS = 20  # cross-validation leaves out this many groups of rows in turn at most


def fit_observations(
    gpu: str, files: Sequence[Path], form: str, prior: str | None, out: Path | None, attention: str | None = None
) -> Iterator[str]:
    """Fit, write the profile, and yield the lines of the report; `attention` is how the measured runs attended.

    Raises:
        UsageError: no file, an unknown format, or a row that is wrong; file, row and field are named.
        ProfileError: the device is unknown, the prior is of another device, or the profile cannot be written.
    """
    name = "cpu" if gpu == "cpu" else datasheet(gpu).name
    if form in SOURCES:
        if prior is not None:
            raise UsageError(f"--prior does not apply to --from {form}: those fits start at the data sheet")
        if attention is not None:
            raise UsageError(f"--attention does not apply to --from {form}: those are kernels, not runs")
        yield from _fit_published(datasheet(gpu), files, form, out)
        return
    if form not in READERS:
        raise UsageError(f"--from {form!r} is not known; use one of: {', '.join((*READERS, *SOURCES))}")
    if not files:
        raise UsageError("give at least one --observations FILE; `latmodel fit --template` prints one to fill in")
    read = [row for path in files for row in READERS[form](path)]
    yield from fit_rows(name, read, [path.name for path in files], prior, out, attention)


def fit_rows(
    name: str,
    read: Sequence[Observation],
    sources: Sequence[str],
    prior: str | None,
    out: Path | None,
    attention: str | None = None,
) -> Iterator[str]:
    """Fit observations of one device, write the profile, and yield the lines of the report.

    Raises:
        UsageError: nothing usable, or rows that contradict each other.
        ProfileError: rows of another device, or the profile cannot be written.
    """
    rows = usable(read)
    if not rows:
        raise UsageError("the files hold no usable observation; `latmodel fit --template` says what the columns are")
    others = sorted({row.gpu for row in rows if _device_name(row.gpu) != name})
    if others:
        raise ProfileError(f"observations are of {others[0]}, not of {name}; give --gpu {others[0]}")
    known = _prior(name, prior)
    device = subject(name, known)
    rows, warnings = merged_duplicates(rows)
    warnings += _unlike_the_profile(device, rows, known, attention)
    profile, fitted = build(device, rows, known, sources, attention)
    path = out or Path("profiles") / f"{name}.json"
    write_profile(profile, path)
    yield fit_report(fitted, profile, rows[0].dtype, "table")
    yield from (f"warning: {line}" for line in warnings)
    yield f"wrote {path}"


def _device_name(gpu: str) -> str:
    return "cpu" if gpu == "cpu" else datasheet(gpu).name


def _unlike_the_profile(
    device: Subject, rows: Sequence[Observation], prior: Profile | None, attention: str | None
) -> list[str]:
    """Warnings on rows that are unlike each other, by what the profile (or the data sheet) leads to expect of them."""
    start = refinement(device, rows[0].dtype, sorted({row.runtime for row in rows}), prior, attention).start
    return check_against(rows, [-residual for residual in make.residuals_at(start, rows)])


def _fit_published(card: DataSheet, files: Sequence[Path], form: str, out: Path | None) -> Iterator[str]:
    """A profile from published kernels: of an installed package, or of the folder of tables given as the only file."""
    if len(files) > 1:
        raise UsageError(f"--from {form} takes one --observations at most: the folder of published tables")
    profile = published.fit_card(card.name, form, *files)
    path = out or Path("profiles") / f"{card.name}.json"
    write_profile(profile, path)
    yield f"{profile.title}: kernels of {profile.provenance.source}"
    for row in profile.quality.errors:
        yield f"{row.phase:10s} {row.mape_percent:5.1f} % MAPE of {row.rows} rows {row.split}"
    yield from (f"note: {note}" for note in profile.provenance.notes)
    yield f"wrote {path}"


def _prior(device: str, name: str | None) -> Profile | None:
    try:
        prior = load_profile(name or device)
    except ProfileError:
        if name is not None:
            raise
        return None
    if prior.gpu != device:
        raise ProfileError(f"prior {prior.name} is of {prior.gpu}, not of {device}; choose another --prior")
    return prior


def build(
    device: Subject,
    rows: Sequence[Observation],
    prior: Profile | None,
    files: Sequence[str],
    attention: str | None = None,
) -> tuple[Profile, Fitted]:
    """The profile that observations of one dtype and any runtimes make, refined from `prior` if there is one."""
    dtype = rows[0].dtype
    runtimes = sorted({row.runtime for row in rows})
    task = refinement(device, dtype, runtimes, prior, attention)
    fitted = task.solve(rows)
    groups = fold_names(rows)
    held_out = make.leave_out(task, rows, groups, warm=False) if len(set(groups)) > 1 else None
    errors = make.error_rows("in sample", rows, [fitted.residuals[i] for i in range(len(rows))])
    if held_out is not None:
        errors += make.error_rows("out of sample (cross-validation)", rows, held_out)
    parts = dict(prior.runtimes) if prior is not None else {}
    for name in runtimes:
        parts[name] = _runtime_part(task, fitted, name, rows, held_out, parts.get(name))
    notes = [] if prior is None else [f"refined from {prior.name} of {prior.provenance.date}"]
    notes += [] if attention is None else [f"the rows attended by {attention}: predict with --attention {attention}"]
    profile = Profile(
        schema_version=2, name=device.name, gpu=device.name, title=device.title,
        device=_device_part(device, fitted, dtype, prior, runtimes), runtimes=parts,
        quality=Quality(kind="calibrated", errors=errors),
        provenance=Provenance(
            source=", ".join(files)[:2000], date=datetime.date.today().isoformat(), rows=f"{len(rows)} observations",
            made_by="latmodel fit", notes=notes,
        ),
    )  # fmt: skip
    return profile, fitted


def _device_part(
    device: Subject, fitted: Fitted, dtype: DType, prior: Profile | None, runtimes: Sequence[str]
) -> DevicePart:
    """The common kernels: as fitted, unless the prior gives a runtime kernels of its own, which then take the fit.

    The fit was made under the prior's corrections (`refinement`), which the profile therefore keeps.
    """
    if prior is None:
        return DevicePart(sheet=device.sheet, coefficients={dtype: make.device_table(fitted)})
    if all(name in prior.runtimes and prior.runtimes[name].device for name in runtimes):
        return prior.device
    tables = {**prior.device.coefficients, dtype: make.device_table(fitted)}
    return prior.device.model_copy(update={"coefficients": tables})


def fold_names(rows: Sequence[Observation]) -> list[str]:
    """The fold of each row: all rows of one shape together, shapes go round at most `MAX_FOLDS` folds."""
    number = {key: index for index, key in enumerate(dict.fromkeys(map(shape_key, rows)))}
    return [f"fold {number[shape_key(row)] % MAX_FOLDS}" for row in rows]


def _runtime_part(
    task: make.Problem, fitted: Fitted, name: str, rows: Sequence[Observation], held_out: Sequence[float] | None,
    before: RuntimePart | None,
) -> RuntimePart:  # fmt: skip
    mine = [i for i, row in enumerate(rows) if row.runtime == name]
    some = [rows[i] for i in mine]
    scores = joined_scores(before, some, None if held_out is None else [held_out[i] for i in mine])
    own = {rows[0].dtype: make.device_table(fitted)} if before is not None and before.device else {}
    kept = {} if before is None else {field: getattr(before, field) for field in KEPT}
    return make.runtime_part(
        fitted, name, host="as observed", machine=machine_key(), note="", device=own, conformal_scores=scores, **kept,
        host_range=host_range(fitted, name, some, task.start.runtimes[name][0]),
        ranges=joined_ranges(before, some),
        layers=sorted(measured_layers(some).union(before.layers if before is not None else ())),
        memory_overhead_bytes=before.memory_overhead_bytes if before is not None else UNKNOWN_OVERHEAD,
    )  # fmt: skip


def _own(path: Path) -> list[Observation]:
    return read_table(path) if path.suffix == ".csv" else read_observations(path)


def _depth_width(path: Path) -> list[Observation]:
    rows = depth_width.read_rows(path)
    numbered = ((row, f"{path}: row {number}") for number, row in enumerate(rows, 1))
    return [seen for row, where in numbered for seen in depth_width.observations_of(row, where)]


READERS: dict[str, Callable[[Path], list[Observation]]] = {"latmodel": _own, "depth-width": _depth_width}
