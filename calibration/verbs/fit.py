"""`latmodel fit`: observations from files → a profile, and the report on them."""

import csv
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from latmodel.device.datasheets import DataSheet, datasheet
from latmodel.device.machine import machine_key
from latmodel.device.profile import DevicePart, Profile, Provenance, Quality, RuntimePart
from latmodel.device.profile_file import write_profile
from latmodel.device.store import load_profile
from latmodel.errors import ProfileError, UsageError
from latmodel.laws.priors import Prior
from latmodel.model.config import DType
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ..fit import make
from ..fit.fit import Fitted
from ..fit.outcome import measured_layers
from ..fit.report import fit_report
from ..fit.setup import Setup
from ..observations.record import Observation, observation, read_observations
from ..published import cards as published
from ..sources import depth_width

MAX_FOLDS = 20  # cross-validation leaves out this many groups of rows in turn at most
# Which kernels a runtime of that name runs; other names are taken for plain PyTorch.


def fit_observations(gpu: str, files: Sequence[Path], form: str, prior: str | None, out: Path | None) -> Iterator[str]:
    """Fit, write the profile, and yield the lines of the report.

    Raises:
        UsageError: no file, an unknown format, or a row that is wrong; file, row and field are named.
        ProfileError: the device is unknown, the prior is of another device, or the profile cannot be written.
    """
    card = datasheet(gpu)
    if form in published.SOURCES:
        yield from _fit_published(card, files, form, out)
        return
    if form not in READERS:
        raise UsageError(f"--from {form!r} is not known; use one of: {', '.join((*READERS, *published.SOURCES))}")
    if not files:
        raise UsageError("give at least one --observations FILE; see `latmodel fit --help`")
    rows = [row for path in files for row in READERS[form](path)]
    rows = [row for row in rows if "noisy" not in row.flags and "throttled" not in row.flags]
    if not rows:
        raise UsageError("the files hold no usable observation; see docs/calibration.md for the columns")
    others = sorted({row.gpu for row in rows if datasheet(row.gpu).name != card.name})
    if others:
        raise ProfileError(f"observations are of {others[0]}, not of {card.name}; give --gpu {others[0]}")
    profile, fitted = build(card, rows, _prior(card, prior), [str(path.name) for path in files])
    path = out or Path("profiles") / f"{card.name}.json"
    write_profile(profile, path)
    yield fit_report(fitted, profile, rows[0].dtype, "table")
    yield f"wrote {path}"


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


def _prior(card: DataSheet, name: str | None) -> Profile | None:
    try:
        prior = load_profile(name or card.name)
    except ProfileError:
        if name is not None:
            raise
        return None
    if prior.gpu != card.name:
        raise ProfileError(f"prior {prior.name} is of {prior.gpu}, not of {card.name}; choose another --prior")
    return prior


def build(
    card: DataSheet, rows: Sequence[Observation], prior: Profile | None, files: Sequence[str]
) -> tuple[Profile, Fitted]:
    """The profile that observations of one dtype and any runtimes make, refined from `prior` if there is one."""
    dtype = rows[0].dtype
    runtimes = sorted({row.runtime for row in rows})
    task = problem(card, dtype, runtimes, prior)
    fitted = task.solve(rows)
    groups = fold_names(rows)
    held_out = make.leave_out(task, rows, groups) if len(set(groups)) > 1 else None
    errors = make.error_rows("in sample", rows, [fitted.residuals[i] for i in range(len(rows))])
    if held_out is not None:
        errors += make.error_rows("out of sample (cross-validation)", rows, held_out)
    parts = dict(prior.runtimes) if prior is not None else {}
    for name in runtimes:
        parts[name] = _runtime_part(fitted, name, rows, held_out, parts.get(name))
    profile = Profile(
        schema_version=2, name=card.name, gpu=card.name, title=card.title,
        device=_device_part(card, fitted, dtype, prior, runtimes), runtimes=parts,
        quality=Quality(kind="calibrated", errors=errors),
        provenance=Provenance(
            source=", ".join(files)[:2000], date=datetime.date.today().isoformat(), rows=f"{len(rows)} observations",
            made_by="latmodel fit", notes=[f"refined from {prior.name} of {prior.provenance.date}"] if prior else [],
        ),
    )  # fmt: skip
    return profile, fitted


def _device_part(
    card: DataSheet, fitted: Fitted, dtype: DType, prior: Profile | None, runtimes: Sequence[str]
) -> DevicePart:
    """The common kernels: as fitted, unless the prior gives a runtime kernels of its own, which then take the fit."""
    if prior is None:
        return DevicePart(sheet=make.sheet_part(card), coefficients={dtype: make.device_table(fitted)})
    if all(name in prior.runtimes and prior.runtimes[name].device for name in runtimes):
        return prior.device
    tables = {**prior.device.coefficients, dtype: make.device_table(fitted)}
    return DevicePart(sheet=prior.device.sheet, coefficients=tables)


def problem(card: DataSheet, dtype: DType, runtimes: Sequence[str], prior: Profile | None) -> make.Problem:
    """Start and priors: the data sheet's, moved to what a prior profile holds."""
    kernels = {name: make.implementation_of(name) for name in runtimes}
    start = make.setup_at_priors(make.sheet_of(card, dtype), kernels)
    free: Mapping[str, Prior] = make.device_priors()
    for name in runtimes:
        free = {**free, **make.runtime_priors(name)}
    if prior is None:
        return make.Problem(start, free)
    kernels_of = next((name for name in runtimes if name in prior.runtimes), None)
    device, _ = prior.device_coefficients(dtype, kernels_of)
    known = {f"device.{name}": item for name, item in prior.device_table(dtype, kernels_of)[0].items()}
    table = dict(start.runtimes)
    for name in runtimes:
        if name in prior.runtimes:
            part = prior.runtimes[name]
            table[name] = (prior.runtime_coefficients(name), IMPLEMENTATIONS[part.implementation])
            known |= {f"runtime.{name}.{key}": item for key, item in part.coefficients.items()}
    usable = {name: item for name, item in known.items() if item.value > 0.0 and item.status != "fixed"}
    return make.Problem(Setup(start.sheet, device, table), make.tightened(free, usable, loosen_hosts=True))


def fold_names(rows: Sequence[Observation]) -> list[str]:
    """The fold of each row: rows of one model stay together, models go round at most `MAX_FOLDS` folds."""
    models = [row.name or f"{row.num_hidden_layers}x{row.hidden_size}x{row.intermediate_size}" for row in rows]
    number = {name: index for index, name in enumerate(dict.fromkeys(models))}
    return [f"fold {number[name] % MAX_FOLDS}" for name in models]


def _runtime_part(
    fitted: Fitted, name: str, rows: Sequence[Observation], held_out: Sequence[float] | None, before: RuntimePart | None
) -> RuntimePart:
    mine = [i for i, row in enumerate(rows) if row.runtime == name]
    some = [rows[i] for i in mine]
    scores: dict[str, list[float]] = dict(before.conformal_scores) if before is not None else {}  # type: ignore[arg-type]
    if held_out is not None:
        scores |= make.conformal_scores(some, [held_out[i] for i in mine])
    own = {rows[0].dtype: make.device_table(fitted)} if before is not None and before.device else {}
    return make.runtime_part(
        fitted, name, host="as observed", machine=machine_key(), note="", device=own, conformal_scores=scores,
        ranges=make.measured_ranges(some),
        layers=sorted(measured_layers(some).union(before.layers if before is not None else ())),
        memory_overhead_bytes=before.memory_overhead_bytes if before is not None else 0.6e9,
    )  # fmt: skip


def _own(path: Path) -> list[Observation]:
    return _csv(path) if path.suffix == ".csv" else read_observations(path)


def _csv(path: Path) -> list[Observation]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            return [observation(_typed(row), f"{path}: row {number}") for number, row in enumerate(reader, 1)]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None


def _typed(row: Mapping[str | None, str | None]) -> dict[str, object]:
    """Cells of a CSV row as the types of an observation; empty cells are left out."""
    typed: dict[str, object] = {}
    for name, text in row.items():
        if name is None or text is None:
            raise UsageError("a row has another number of fields than the heading")
        if text == "":
            continue
        field = Observation.model_fields.get(name)
        if name == "flags":
            typed[name] = text.split()
        elif name == "tie_word_embeddings":
            typed[name] = {"true": True, "false": False}.get(text.lower(), text)
        elif field is not None and field.annotation is float:
            typed[name] = _number(text, float)
        elif field is not None and field.annotation is int:
            typed[name] = _number(text, int)
        else:
            typed[name] = text
    return typed


def _number(text: str, kind: Callable[[str], object]) -> object:
    try:
        return kind(text)
    except ValueError:
        return text  # the schema says what is wrong with it, and where


def _depth_width(path: Path) -> list[Observation]:
    rows = depth_width.read_rows(path)
    numbered = ((row, f"{path}: row {number}") for number, row in enumerate(rows, 1))
    return [seen for row, where in numbered for seen in depth_width.observations_of(row, where)]


READERS: dict[str, Callable[[Path], list[Observation]]] = {"latmodel": _own, "depth-width": _depth_width}
