"""Before anything is measured: the device that is here, checked; the plan of each runtime, the fit that will follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from latmodel.device.datasheets import DataSheet
from latmodel.device.profile import SheetPart
from latmodel.errors import UsageError
from latmodel.laws.coefficients import Sheet
from latmodel.model.config import ModelConfig

from ..fit.make import Problem, sheet_part
from ..fit.start import problem
from ..measure.cases import Case
from ..measure.plan import CPU, GPU, Plan, make_plan
from ..observations.decoder_config import DecoderConfig
from ..observations.evidence import FORMULAS, model_of, work_of
from .request import Request, identify, profile_path

if TYPE_CHECKING:
    from ..devices.hardware import Hardware
    from ..engines.engine import Engine


@dataclass(frozen=True)
class Prepared:
    """A device, checked, with a plan for each runtime and the fit that will follow."""

    hardware: "Hardware"
    gpu: str
    sheet: SheetPart
    plans: Mapping[str, Plan]
    problem: Problem
    path: Path
    request: Request
    versions: Mapping[str, str] = field(default_factory=dict)  # of packages besides torch whose code is timed

    @property
    def source(self) -> str:
        """What a profile says of where its times come from."""
        software = {"torch": self.hardware.torch_version, **self.versions, "driver": self.hardware.driver}
        return "measured on this device with " + ", ".join(f"{name} {text}" for name, text in software.items())

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
    from ..devices.hardware import detect
    from ..engines.registry import find_engine

    hardware = detect("cpu" if request.gpu == "cpu" and request.device is None else request.device, request.threads)
    gpu, card = identify(request, hardware)
    sheet = _sheet(hardware, card, request.dtype)
    constants = Sheet(
        sheet.peak_flops_per_s[request.dtype], sheet.bandwidth_bytes_per_s, sheet.sm_count, sheet.cache_bytes,  # type: ignore[index]
    )  # fmt: skip
    engines = {name: find_engine(name) for name in request.runtimes}
    runtimes = {name: _fitting(engine, hardware, request.like) for name, engine in engines.items()}
    layers = request.like.architecture().special_layers if request.like is not None else ()
    plans = {name: plan_of(request, hardware, engine, request.like) for name, engine in engines.items()}
    task = problem(hardware.kind, constants, runtimes, layers)
    versions = {key: text for engine in engines.values() for key, text in engine.versions().items()}
    return Prepared(hardware, gpu, sheet, plans, task, profile_path(request, gpu), request, versions)


def plan_of(request: Request, hardware: "Hardware", engine: "Engine", like: ModelConfig | DecoderConfig | None) -> Plan:
    """The cases of one runtime on this device: over the whole range, or near an architecture."""
    return make_plan(
        request.effort, engine.name, request.dtype, CPU if hardware.kind == "cpu" else GPU, hardware.cache_bytes, like,
        request.seed,
        passes=not engine.replays(hardware.kind),  # a graph is of one token: each other number would need its own
    )  # fmt: skip


def _fitting(one: "Engine", hardware: "Hardware", like: ModelConfig | DecoderConfig | None) -> str:
    """The implementation of a runtime, if the device can run it and it can build the architecture."""
    if one.needs_cuda and hardware.kind != "cuda":
        raise UsageError(f"runtime {one.name} needs a CUDA device; try --runtime torch-eager")
    one.check(like)
    return one.on(hardware.kind)


def _sheet(hardware: "Hardware", card: DataSheet | None, dtype: str) -> SheetPart:
    """The data sheet, or measured ceilings where there is none that fits (a CPU's promises all its cores)."""
    if card is not None:
        return sheet_part(card)
    from ..devices.timers import ceilings

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
