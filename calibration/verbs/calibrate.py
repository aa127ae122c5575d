"""`calibrate`, composed: device → plan → samples → observations → fit → profile. Torch is imported here and below."""

import math
from collections.abc import Callable, Mapping, Sequence

from latmodel.device.machine import machine_key
from latmodel.device.profile_file import write_profile
from latmodel.errors import LatmodelError, NoisyError
from latmodel.report.progress import Progress, no_progress

from ..fit.outcome import About, Calibrated, calibrated
from ..measure.bench import Lab
from ..measure.plan import Plan
from ..measure.rounds import Log, measure
from ..measure.session import SampleFile, device_lock, open_samples
from ..measure.summary import Level, combine, drift_range, noise_level, observations, reference_level
from ..observations.record import Observation, write_records
from .prepare import Prepared

Say = Callable[[str], None]
BUSY = 0.5  # load per processor, ours left out, above which a warning is due


def calibrate(
    ready: Prepared, say: Say, progress: Progress = no_progress, labs: Callable[[str], Lab] | None = None
) -> Calibrated:
    """Measure what is planned, fit, and write the profile, its observations and its samples.

    `labs` gives the lab of each runtime where it is not the hardware's own (a simulated one).

    Raises:
        NoisyError: the device is in use by another calibration, or noise stays above `max_noise`.
        LatmodelError: nothing could be measured, or a file cannot be written.
    """
    from ..devices.hardware import clocks
    from ..devices.host import load_average
    from ..devices.lab import TorchLab
    from ..engines.registry import find_engine

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
            lab = TorchLab(hardware, find_engine(name), request.dtype) if labs is None else labs(name)
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
        **ready.hardware.binding(), **ready.versions, "dtype": ready.request.dtype, "runtimes": list(ready.plans),
        "plan": "-".join(plan.fingerprint for plan in ready.plans.values()),
    }  # fmt: skip


def rows_of(log: Log, plans: Mapping[str, Plan], gpu: str) -> tuple[list[Observation], list[str], float]:
    """Observations of all runtimes, one line of note on each, and the noise of the noisiest."""
    rows: list[Observation] = []
    notes, worst = [], 0.0
    for name, plan in plans.items():
        records = [record for record in log.records if record.get("runtime", name) == name]
        combined = combine(records, plan.cases)
        if not combined:
            raise LatmodelError(
                f"nothing could be measured with {name}: every case was skipped; try --effort quick or --like"
            )
        noise, level = noise_level(combined), reference_level(records)
        rows += observations(combined, gpu)
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
        source=ready.source,
        notes=(*notes, *facts),
        implementations={name: one.name for name, (_, one) in ready.problem.start.runtimes.items()},
        machine=machine_key(),
    )  # fmt: skip
    return calibrated(ready.problem, ready.sheet, rows, about)
