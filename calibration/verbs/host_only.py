"""`calibrate --host-only`: the host term of a runtime on this machine, from tiny blocks, under a profile's own kernels.

Tiny blocks leave the device idle, so that their wall time is the host's. What the kernels take is the profile's.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from latmodel.device.machine import machine_key
from latmodel.device.profile import Profile
from latmodel.device.profile_file import write_profile
from latmodel.device.store import load_profile
from latmodel.errors import LatmodelError, NoisyError, UsageError
from latmodel.laws.coefficients import HOST_TERMS
from latmodel.model.config import ModelConfig, Workload
from latmodel.report.progress import Progress, no_progress
from latmodel.runtimes.registry import IMPLEMENTATIONS
from latmodel.version import __version__

from ..fit import make
from ..fit.fit import Fitted
from ..fit.setup import Setup
from ..measure.bench import Lab
from ..measure.cases import Case, Part
from ..measure.cases import Phase as CasePhase
from ..measure.rounds import Record, measure
from ..measure.samples import Rules
from ..measure.summary import combine, noise_level, observations
from ..observations.record import Observation
from .calibrate import Say
from .request import Request, identify, profile_path

ON_A_CPU = (
    "--host-only needs the GPU: on a CPU one thread both dispatches and computes, and nothing tells them apart; "
    "run it on the machine with the {gpu}, give `latmodel fit` one run timed there, or calibrate this CPU: "
    "--gpu cpu --effort quick"
)
RULES = Rules(rounds=3, sample_s=0.5)  # eight cases three times: half a minute
DEPTHS = (4, 12)  # of tiny models and rings: what a block costs, apart from what a pass costs
TOKENS = 16


@dataclass
class Kept:
    """Samples in memory: a measurement of half a minute is begun anew, not resumed."""

    records: list[Record] = field(default_factory=list)

    def append(self, record: Record) -> None:
        """Keep a sample."""
        self.records.append(record)


@dataclass(frozen=True)
class HostFit:
    """A profile with a runtime's host term as measured, and the fit behind it."""

    profile: Profile
    fitted: Fitted


def host_cases(runtime: str, dtype: str) -> tuple[Case, ...]:
    """Rings of tiny blocks and tiny whole models, in both phases."""
    work = Workload(prompt_tokens=TOKENS, new_tokens=8, dtype=dtype)  # type: ignore[arg-type]
    parts: tuple[Part, ...] = ("blocks", "model")
    phases: tuple[CasePhase, ...] = ("prefill", "decode")
    return tuple(
        Case(f"{part}-{depth}-{phase}", part, phase, _tiny(depth), work, runtime)
        for part in parts
        for depth in DEPTHS
        for phase in phases
    )


def _tiny(depth: int) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=depth, hidden_size=128, intermediate_size=256, num_attention_heads=2, num_key_value_heads=1,
        head_dim=64, vocab_size=256,
    )  # fmt: skip


def measure_host(
    lab: Lab, runtime: str, dtype: str, gpu: str, max_noise: float, progress: Progress = no_progress
) -> list[Observation]:
    """Wall times of the tiny cases.

    Raises:
        LatmodelError: none of them could be measured.
        NoisyError: rounds differ by more than `max_noise`.
    """
    cases, log = host_cases(runtime, dtype), Kept()
    measure(lab, cases, cases[:2], log, RULES, 0, progress)
    combined = combine(log.records, cases)
    if not combined:
        raise LatmodelError(f"nothing could be measured with {runtime}: the device has no memory left; free some")
    if (noise := noise_level(combined)) > max_noise:
        raise NoisyError(
            f"noise between rounds is {100 * noise:.0f} %, more than --max-noise {100 * max_noise:.0f} %: "
            "quiet the machine and run again, or raise --max-noise"
        )
    return [row for row in observations(combined, gpu) if row.timing != "device"]


def fit_host(prior: Profile, runtime: str, rows: Sequence[Observation], host: str) -> HostFit:
    """The prior's profile with the host terms of `runtime` fitted to `rows`; device and kernels stay as they are.

    Raises:
        ProfileError: the profile has no such runtime, or no rate for the dtype of the rows.
    """
    _, part = prior.runtime(runtime)
    dtype = rows[0].dtype
    known = {f"runtime.{runtime}.{name}": part.coefficients[name] for name in HOST_TERMS}
    known = {name: item for name, item in known.items() if item.value > 0.0}
    free = make.tightened(make.runtime_priors(runtime), known, loosen_hosts=True)
    table = {runtime: (prior.runtime_coefficients(runtime), IMPLEMENTATIONS[part.implementation])}
    corrector = prior.corrector(dtype, runtime)
    correctors = {} if corrector is None else {runtime: corrector}
    start = Setup(prior.sheet(dtype), prior.device_coefficients(dtype, runtime)[0], table, correctors)
    fitted = make.Problem(start, {name: free[name] for name in known if name in free}).solve(rows)
    fitted_part = make.runtime_part(fitted, runtime, host=host).coefficients
    date = datetime.date.today().isoformat()
    changed = part.model_copy(
        update={
            "coefficients": {**part.coefficients, **{name: fitted_part[name] for name in HOST_TERMS}},
            "host": host, "machine": machine_key(), "host_range": (1.0, 1.0),  # what few rows left open is measured now
            "note": f"host time measured on {host}, {date}, by tiny blocks; kernels are those of {prior.name}, "
            f"{prior.quality.kind}: run `latmodel calibrate --gpu {prior.gpu}` without --host-only to measure them too",
        }
    )  # fmt: skip
    notes = [*prior.provenance.notes, f"{runtime}: host measured by `latmodel calibrate --host-only`, {date}"]
    profile = prior.model_copy(
        update={
            "runtimes": {**prior.runtimes, runtime: changed},
            "provenance": prior.provenance.model_copy(update={"notes": notes, "latmodel_version": __version__}),
        }
    )
    return HostFit(profile, fitted)


def calibrate_host(request: Request, say: Say, progress: Progress = no_progress) -> list[HostFit]:
    """Measure the host terms of the runtimes asked for, and write them into the profile of the GPU that is here.

    Raises:
        UsageError: a CPU is named, where host and device are one thread.
        LatmodelError: a CPU is all there is.
        ProfileError: the device present is not the one named, or its profile lacks the runtime.
        NoisyError: rounds differ by more than `max_noise`.
    """
    from ..devices.hardware import detect
    from ..devices.lab import TorchLab
    from ..engines.registry import find_engine
    from ..measure.session import device_lock

    if request.gpu == "cpu" or (request.device or "").startswith("cpu"):
        raise UsageError(ON_A_CPU.format(gpu="GPU"))
    hardware = detect(request.device, request.threads)
    if hardware.kind == "cpu":
        raise LatmodelError(ON_A_CPU.format(gpu=request.gpu))
    gpu, _ = identify(request, hardware)
    profile, path = load_profile(gpu), profile_path(request, gpu)
    fits = []
    with device_lock(hardware.lock):
        for name in request.runtimes:
            lab = TorchLab(hardware, find_engine(name), request.dtype)
            rows = measure_host(lab, name, request.dtype, gpu, request.max_noise, progress)
            fits.append(fit_host(profile, name, rows, hardware.host))
            profile = fits[-1].profile
            say(f"{name}: {len(rows)} times of tiny blocks and models")
    named = profile.model_copy(update={"name": path.stem})
    write_profile(named, path)
    return [HostFit(named, one.fitted) for one in fits]
