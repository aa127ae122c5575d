"""`calibrate` of an engine that runs whole models: its samples, the law fitted to them, a runtime in a profile."""

import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from latmodel.device.engine_options import EngineOptions
from latmodel.device.machine import cpu_model, machine_key
from latmodel.device.profile import (
    Coefficient,
    DevicePart,
    Profile,
    Provenance,
    Quality,
    RangeName,
    RuntimePart,
    SheetPart,
)
from latmodel.device.profile_file import read_profile, write_profile
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import DTYPE_BYTES
from latmodel.model.formats import CACHE_BYTES
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ...engines.whole.whole_model import Child
from ...engines.whole.whole_models import find_whole_model_engine
from ...measure.rounds import Log
from ...measure.session import device_lock, open_samples
from ...published.llama_cpp.devices import NOMINAL_BANDWIDTH, NOMINAL_CORES, Device
from ...published.llama_cpp.generations import UNKNOWN
from ...published.llama_cpp.law import Row, row_of
from ...published.llama_cpp.own import OwnFit, fit_own
from ...sources.llama_bench import SpeedTest
from .cases import LOADS, EngineCase, cases, fingerprint, measure_engine

Say = Callable[[str], None]
CACHE_BYTES_OF_CPU = 32e6  # the law needs none
NOMINAL_PEAK = 1e11  # nor a peak: its rates are absolute


@dataclass(frozen=True)
class EngineRequest:
    """What a calibration of an engine is told to do."""

    engine: str
    weights: str
    options: EngineOptions = field(default_factory=EngineOptions)
    effort: str = "quick"
    out: Path = Path("profiles/cpu.json")
    resume: bool = True


def calibrate_engine(request: EngineRequest, say: Say) -> tuple[Profile, OwnFit]:
    """Measure, fit, and write the profile; one that is there keeps its other runtimes and formats.

    Raises:
        UsageError: the engine cannot run the format, or is not installed; the profile has it under other options.
        LatmodelError: nothing could be measured.
        NoisyError: another calibration runs.
    """
    engine = find_whole_model_engine(request.engine)
    if request.weights not in engine.formats:
        raise UsageError(f"{engine.name} has no weights in {request.weights}: choose from {', '.join(engine.formats)}")
    before = read_profile(request.out) if request.out.exists() else None
    _same_options(request, before)
    with Child(request.engine) as child:
        version = child.version
    loads = LOADS[request.effort]
    plan = cases(engine.few_rows)
    binding = {
        "engine": version, "weights": request.weights, **request.options.model_dump(), "cpu": cpu_model(),
        "plan": fingerprint(plan, loads),
    }  # fmt: skip
    samples = request.out.with_suffix(f".{request.engine}-{request.weights}.samples.jsonl")
    with device_lock("cpu"):
        log = open_samples(samples, binding, request.resume)
        if log.records:
            say(f"resuming: {len(log.records)} samples are in {samples}")
        with kept_models(samples.with_suffix(".models")) as folder:
            measure_engine(request.engine, request.weights, request.options, loads, log, say, folder, plan)
        try:
            fitted = fit_own(rows_of(log, request, before), engine.query_tile(request.options), loads_of(log))
        except ValueError as error:
            raise LatmodelError(f"the law does not fit what was measured in {samples}: {error}") from None
        profile = _profile(request, version, fitted, before)
        write_profile(profile, request.out)
        log.end()
    return profile, fitted


@contextmanager
def kept_models(folder: Path) -> Iterator[Path]:
    """Where models are kept while they are measured: beside the samples, so that a killed run leaves nothing elsewhere
    and the next one finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _same_options(request: EngineRequest, before: Profile | None) -> None:
    """A profile holds an engine under one set of options, with all its formats."""
    known = before.runtimes.get(request.engine) if before is not None else None
    if known is not None and known.engine is not None and known.engine != request.options:
        raise UsageError(
            f"{request.out} has {request.engine} with {known.engine.text()}, this run is with "
            f"{request.options.text()}: choose another --out"
        )


def rows_of(log: Log, request: EngineRequest, before: Profile | None = None) -> list[Row]:
    """What was measured, with what each computes.

    Raises:
        LatmodelError: nothing was measured.
    """
    device, runs = _device(before), IMPLEMENTATIONS[request.engine]
    if request.options.micro_batch is not None:
        runs = runs._replace(micro_batch=float(request.options.micro_batch))
    kept, engine = request.options.kv_cache, find_whole_model_engine(request.engine)
    cache_bytes = CACHE_BYTES[kept] if kept is not None else DTYPE_BYTES[engine.dtypes[0]]
    tests = tests_of(log, request.weights, cases(engine.few_rows))
    rows = [row_of(test, device, runs, cache_bytes) for test in tests]
    return [row for row in rows if row is not None]


def tests_of(log: Log, weights: str, plan: Sequence[EngineCase]) -> list[SpeedTest]:
    """The median over loads of each case, as tests.

    Raises:
        LatmodelError: nothing was measured.
    """
    times = _times(log)
    tests = [
        SpeedTest(
            "measured here", "this device", "CPU", "", None, case.name, case.config, weights, None,
            "decode" if case.phase == "decode" else "prefill", case.depth, case.tokens,
            statistics.median(times[case.name]),
        )
        for case in plan
        if case.name in times
    ]  # fmt: skip
    if not tests:
        raise LatmodelError("nothing could be measured: every model failed; the warnings above say why")
    return tests


def loads_of(log: Log) -> dict[str, list[float]]:
    """By case, log(time in a load / median over loads)."""
    return {case: [math.log(one / statistics.median(loads)) for one in loads] for case, loads in _times(log).items()}


def _times(log: Log) -> dict[str, list[float]]:
    """By case, the median of its repeats in each load: a verification takes medians too."""
    times: dict[str, list[float]] = {}
    for record in log.records:
        if record["kind"] == "sample":
            times.setdefault(str(record["case"]), []).append(statistics.median(record["wall_s"]))
    return times


def _device(before: Profile | None) -> Device:
    """This machine, at the bandwidth that its profile states; without one, at a nominal one."""
    bandwidth = NOMINAL_BANDWIDTH if before is None else before.device.sheet.bandwidth_bytes_per_s
    return Device("cpu", "this device", "cpu", "CPU", UNKNOWN, bandwidth, NOMINAL_CORES, None, "measured here")


def _cached(fitted: OwnFit) -> dict[RangeName, tuple[float, float]]:
    """The range of contexts behind which passes of several tokens were measured, if any were."""
    return {"cached_tokens": (0.0, float(max(case.depth for case in cases())))} if fitted.held_out["step"] else {}


def _profile(request: EngineRequest, version: str, fitted: OwnFit, before: Profile | None) -> Profile:
    known = before.runtimes.get(request.engine) if before is not None else None
    note = f"{version}, {request.options.text()}, {request.weights}: {fitted.rows} times of small models"
    # What must hold for every format is that of the last; only the law's own coefficients are kept apart.
    zero = Coefficient(value=0.0)
    coefficients = dict.fromkeys(("launch_s", "block_s", "prefill_block_s", "token_s", "gap_s"), zero)
    coefficients["pass_s"] = Coefficient(value=fitted.pass_s)
    coefficients["overlap_loss"] = Coefficient(value=1.0)
    only = find_whole_model_engine(request.engine).dtypes
    part = RuntimePart(
        implementation=request.engine, host=f"{cpu_model()}, {request.options.threads} thread(s)", note=note,
        machine=machine_key(), coefficients=coefficients,
        formats={**(known.formats if known is not None else {}), request.weights: fitted.table},
        conformal_scores=fitted.scores,  # type: ignore[arg-type]
        ranges={"batch_size": (1.0, 1.0), **_cached(fitted)}, engine=request.options,
        dtypes=list(only) if len(only) == 1 else [],
    )  # fmt: skip
    if before is not None:
        return before.model_copy(update={"runtimes": {**before.runtimes, request.engine: part}})
    from ...devices.host import available_memory

    sheet = SheetPart(
        peak_flops_per_s={"float32": NOMINAL_PEAK, "bfloat16": NOMINAL_PEAK, "float16": NOMINAL_PEAK},
        bandwidth_bytes_per_s=NOMINAL_BANDWIDTH, memory_bytes=available_memory(), sm_count=1.0,
        cache_bytes=CACHE_BYTES_OF_CPU,
        source="nominal: the law of an engine has absolute rates, fitted to this machine; memory as it was free",
    )  # fmt: skip
    return Profile(
        schema_version=2, name=request.out.stem, gpu="cpu", title=cpu_model(),
        device=DevicePart(sheet=sheet, coefficients={"float16": fitted.table}), runtimes={request.engine: part},
        quality=Quality(kind="calibrated"),
        provenance=Provenance(
            source=f"measured on this machine with {version}", date=str(date.today()), rows=f"{fitted.rows} times",
            made_by="latmodel calibrate",
        ),
    )  # fmt: skip
