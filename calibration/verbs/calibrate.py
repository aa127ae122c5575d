"""`calibrate`, composed: device → plan → samples → observations → fit → profile. Torch is imported here and below."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latmodel.device.datasheets import DataSheet, datasheet, slug
from latmodel.device.profile import NAME, SheetPart, write_profile
from latmodel.errors import LatmodelError, NoisyError, ProfileError, UnknownDeviceError, UsageError
from latmodel.laws.coefficients import Sheet
from latmodel.model.config import ModelConfig
from latmodel.predict.predictor import special_layers
from latmodel.report.progress import Progress, no_progress

from ..fit.make import Problem, sheet_part
from ..fit.outcome import About, Calibrated, calibrated
from ..fit.start import problem
from ..measure.cases import Case
from ..measure.plan import CPU, GPU, Plan, make_plan
from ..measure.samples import Lab, Log, measure
from ..measure.session import SampleFile, device_lock, open_samples
from ..measure.summary import Level, combine, drift_range, noise_level, observations, reference_level
from ..observations.decoder_config import DecoderConfig
from ..observations.evidence import FORMULAS, model_of, work_of
from ..observations.record import Observation, write_records

if TYPE_CHECKING:
    from ..devices.device import Hardware
    from ..engines.runtimes import Runtime

Say = Callable[[str], None]
BUSY = 0.5  # load per processor, ours left out, above which a warning is due


@dataclass(frozen=True)
class Request:
    """What the user asked of a calibration."""

    gpu: str
    device: str | None = None
    runtimes: tuple[str, ...] = ("transformers-eager",)
    dtype: str = "bfloat16"
    effort: str = "quick"
    threads: int | None = None
    out: Path | None = None
    resume: bool = True
    seed: int = 0
    max_noise: float = 0.15
    like: ModelConfig | DecoderConfig | None = None


@dataclass(frozen=True)
class Prepared:
    """A device, found and checked, with a plan for each runtime and the fit that will follow."""

    hardware: "Hardware"
    gpu: str
    sheet: SheetPart
    plans: Mapping[str, Plan]
    problem: Problem
    path: Path
    request: Request

    def estimate_s(self) -> float:
        """Expected duration, from the prior's expectation of each case."""
        return sum(
            plan.estimate_s(lambda case, name=name: expected_seconds(case, self.problem, name))  # type: ignore[misc]
            for name, plan in self.plans.items()
        )

    @property
    def samples_path(self) -> Path:
        """Where samples are kept as they come."""
        return self.path.with_suffix(".samples.jsonl")

    @property
    def observations_path(self) -> Path:
        """Where the observations that were fitted are written, for `latmodel fit` and `verify --update`."""
        return self.path.with_suffix(".observations.jsonl")


def prepare(request: Request) -> Prepared:
    """Find the device, check that it is the one named, plan.

    Raises:
        LatmodelError: there is no such device here.
        ProfileError: the device present is not the one named.
        UsageError: an unknown runtime or device, or a package that is missing.
    """
    from ..devices.device import detect
    from ..engines.runtimes import runtime

    hardware = detect("cpu" if request.gpu == "cpu" and request.device is None else request.device, request.threads)
    gpu, card = identify(request, hardware)
    sheet = _sheet(hardware, card, request.dtype)
    constants = Sheet(
        sheet.peak_flops_per_s[request.dtype], sheet.bandwidth_bytes_per_s, sheet.sm_count, sheet.cache_bytes,  # type: ignore[index]
    )  # fmt: skip
    runtimes = {name: _fitting(runtime(name), hardware, request.like) for name in request.runtimes}
    layers = special_layers(request.like.architecture()) if request.like is not None else ()
    scale = CPU if hardware.kind == "cpu" else GPU
    plans = {
        name: make_plan(request.effort, name, request.dtype, scale, hardware.cache_bytes, request.like, request.seed)
        for name in runtimes
    }
    task = problem(hardware.kind, constants, runtimes, layers)
    return Prepared(hardware, gpu, sheet, plans, task, profile_path(request, gpu), request)


def profile_path(request: Request, gpu: str) -> Path:
    """Where the profile is written: known before anything is measured.

    Raises:
        UsageError: it is a folder, or its name is none for a profile.
    """
    path = request.out or Path("profiles") / f"{gpu}.json"
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder; name a file in it, such as {path / 'mine.json'}")
    if not NAME.fullmatch(path.stem):
        raise UsageError(f"--out {path}: {path.stem[:40]!r} is no name for a profile; use letters, digits and . _ -")
    return path


def _fitting(one: "Runtime", hardware: "Hardware", like: ModelConfig | DecoderConfig | None) -> str:
    """The implementation of a runtime, if the device can run it and it can build the architecture."""
    if one.graph and hardware.kind != "cuda":
        raise UsageError(f"runtime {one.name} needs a CUDA device; try --runtime torch-eager")
    one.check(like)
    return one.on(hardware.kind)


def _named(gpu: str, hardware: "Hardware") -> DataSheet | None:
    """The data sheet of the device that the user named; None for a CPU, and for one without that is here."""
    if gpu == "cpu":
        return None
    try:
        return datasheet(gpu)
    except UnknownDeviceError:
        if slug(gpu) and slug(gpu) in slug(hardware.name):
            return None
        raise


def identify(request: Request, hardware: "Hardware") -> tuple[str, DataSheet | None]:
    """The name of the device's profile, and its data sheet if there is one.

    Raises:
        LatmodelError: a GPU is named where there is only a CPU.
        ProfileError: the device present is not the one named.
    """
    named = _named(request.gpu, hardware)
    if hardware.kind == "cpu":
        if named is not None and named.kind != "cpu":
            raise LatmodelError(
                f"there is no {named.title} here to calibrate, only a CPU; use its packaged profile, `latmodel fit` on "
                "times measured elsewhere, or --gpu cpu"
            )
        return "cpu" if named is None else named.name, None
    try:
        found = datasheet(hardware.name)
    except UnknownDeviceError:
        found = None
    present = slug(hardware.name) if found is None else found.name
    if request.gpu == "cpu" or (named is not None and named.name != present):
        asked = "cpu" if named is None else named.title
        raise ProfileError(
            f"--gpu says {asked}, the device is a {hardware.name}; use --gpu {present} or another --device"
        )
    return present, found


def _sheet(hardware: "Hardware", card: DataSheet | None, dtype: str) -> SheetPart:
    """The data sheet, or measured ceilings where there is none that fits (a CPU's promises all its cores)."""
    if card is not None:
        return sheet_part(card)
    from ..devices.device import ceilings

    flops, bandwidth = ceilings(hardware, dtype)
    return SheetPart(
        peak_flops_per_s={dtype: flops}, bandwidth_bytes_per_s=bandwidth, memory_bytes=hardware.memory_bytes,  # type: ignore[dict-item]
        sm_count=hardware.sm_count, cache_bytes=hardware.cache_bytes,
        source=f"measured with {hardware.threads} thread(s): a 1024-wide product, one read of a large array",
    )  # fmt: skip


def expected_seconds(case: Case, task: Problem, runtime: str) -> float:
    """Seconds of one pass of a case by the prior, before anything is measured."""
    timing = "loop" if case.part == "model" and case.phase == "decode" else "wall"
    row = case.observation("expected", timing, 1.0, 0.0, ())  # type: ignore[arg-type]
    target = task.start.target(runtime)
    return float(FORMULAS[(row.part, row.phase, row.timing)](model_of([row]), work_of([row], False), target)[0])


def calibrate(
    ready: Prepared, say: Say, progress: Progress = no_progress, labs: Callable[[str], Lab] | None = None
) -> Calibrated:
    """Measure what is planned, fit, and write the profile, its observations and its samples.

    `labs` gives the lab of each runtime where it is not the hardware's own (a simulated one).

    Raises:
        NoisyError: the device is in use by another calibration, or noise stays above `max_noise`.
        LatmodelError: nothing could be measured, or a file cannot be written.
    """
    from ..devices.device import TorchLab, clocks
    from ..devices.host import load_average
    from ..engines.runtimes import runtime

    request, hardware = ready.request, ready.hardware
    load = load_average()
    if hardware.kind == "cpu" and load is not None and load > BUSY:
        say(f"warning: load average {load:.1f}: other processes compete for this CPU; expect noise")
    with device_lock(hardware.lock):
        log = open_samples(ready.samples_path, binding(ready), request.resume)
        for line in log.problems:
            say(f"warning: {line}")
        if log.records:
            say(f"resuming: {len(log.records)} samples are in {ready.samples_path}")
        for name, plan in ready.plans.items():
            lab = TorchLab(hardware, runtime(name), request.dtype) if labs is None else labs(name)
            measure(lab, plan.cases, plan.references, _Prefixed(log, name), plan.rules, request.seed, progress)
        facts = (None if load is None else f"load average {load:.1f} at the start", clocks(hardware))
        done = conclude(ready, log, [fact for fact in facts if fact is not None], say)
        say(f"writing {ready.path}")
        # The profile last: where it is, its observations are too, whenever the process was killed.
        write_records(ready.observations_path, [row.model_dump(mode="json") for row in done.observations])
        write_profile(done.profile, ready.path)
        log.end()
    return done


class _Prefixed:
    """The part of a log that belongs to one runtime."""

    def __init__(self, log: SampleFile, runtime: str) -> None:
        self._log, self._runtime = log, runtime

    @property
    def records(self) -> Sequence[dict[str, object]]:
        return [record for record in self._log.records if record.get("runtime") == self._runtime]

    def append(self, record: dict[str, object]) -> None:
        self._log.append({**record, "runtime": self._runtime})


def binding(ready: Prepared) -> dict[str, object]:
    """What must be the same for samples to mix."""
    return {
        **ready.hardware.binding(), "dtype": ready.request.dtype, "runtimes": list(ready.plans),
        "plan": "-".join(plan.fingerprint for plan in ready.plans.values()),
    }  # fmt: skip


def rows_of(log: Log, plans: Mapping[str, Plan], gpu: str) -> tuple[list[Observation], list[str], float]:
    """Observations of all runtimes, one line of note on each, and the noise of the noisiest."""
    rows: list[Observation] = []
    notes, worst = [], 0.0
    for name, plan in plans.items():
        records = [record for record in log.records if record.get("runtime", name) == name]
        found = combine(records, plan.cases)
        if not found:
            raise LatmodelError(
                f"nothing could be measured with {name}: every case was skipped; try --effort quick or --like"
            )
        noise, level = noise_level(found), reference_level(records)
        rows += observations(found, gpu)
        worst = max(worst, noise)
        skipped = sorted({record["case"] for record in records if record["kind"] == "skip"})
        notes.append(_note(name, noise, level, records, skipped))
    return rows, notes, worst


def _note(
    name: str, noise: float, level: Level, records: Sequence[Mapping[str, object]], skipped: Sequence[str]
) -> str:
    widest = max(math.expm1(high) for _, high in drift_range(records, level).values())  # type: ignore[arg-type]
    reference = ", ".join(f"{clock} {seconds:.6g} s" for clock, seconds in level.seconds.items())
    text = (
        f"{name}: noise {100 * noise:.1f} % between rounds, drift up to {100 * widest:.0f} % corrected "
        f"({100 * level.share:.0f} % of the reference's); reference {reference}"
    )
    return f"{text}; skipped {', '.join(skipped)}" if skipped else text


def conclude(ready: Prepared, log: Log, facts: Sequence[str], say: Say) -> Calibrated:
    """From samples to a fitted profile; `facts` of the machine are for its notes.

    Raises:
        NoisyError: noise above `max_noise`.
    """
    request, hardware = ready.request, ready.hardware
    rows, notes, noise = rows_of(log, ready.plans, ready.gpu)
    if noise > request.max_noise:
        raise NoisyError(
            f"noise between rounds is {100 * noise:.0f} %, more than --max-noise {100 * request.max_noise:.0f} %: "
            "quiet the machine and run again (samples are kept), or raise --max-noise"
        )
    for note in notes:
        say(note)
    about = About(
        name=ready.path.stem, gpu=ready.gpu, title=hardware.name, host=f"{hardware.host}, {hardware.threads} thread(s)",
        source=f"measured on this device with torch {hardware.torch_version}, driver {hardware.driver}",
        notes=(*notes, *facts),
        implementations={name: one.name for name, (_, one) in ready.problem.start.runtimes.items()},
    )  # fmt: skip
    return calibrated(ready.problem, ready.sheet, rows, about)
