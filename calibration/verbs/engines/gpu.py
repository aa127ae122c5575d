"""`calibrate` of an engine that runs whole models on a GPU: its runs move the runtime that the device's profile has.

An engine's kernels are priced by the laws of a GPU, which the profile holds already; whole models of a few layers tell
how far this engine on this device is from them. There is no law of its own, as for an engine on a CPU.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latmodel.device.datasheets import datasheet
from latmodel.device.engine_options import EngineOptions
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.model.config import DType

from ...engines.whole.whole_model import Child
from ...engines.whole.whole_models import find_whole_model_engine
from ...measure.rounds import Log
from ...measure.session import device_lock, open_samples
from ...observations.record import Observation
from ..fit import fit_rows
from .cases import LOADS, Run, Shape, cases_of, fingerprint, measure_engine
from .cpu import Say, kept_models, tests_of

# Widths of models that people run, some layers of each; of a width, the deeper one tells a block by difference.
SHAPES: tuple[Shape, ...] = (
    (2048, 5632, 16, 16, (8, 16)), (3072, 8192, 24, 8, (6, 12)), (4096, 14336, 32, 8, (4, 8)),
)  # fmt: skip
RUNS: tuple[Run, ...] = (("prefill", 0, 512), ("prefill", 0, 2048), ("decode", 2048, 32), ("decode", 128, 64))
DTYPES: dict[str, DType] = {"bf16": "bfloat16", "f16": "float16"}
NOISE = 0.03  # of whole runs, as of other tools'


@dataclass(frozen=True)
class GpuEngineRequest:
    """What a calibration of an engine on a GPU is told to do."""

    engine: str
    gpu: str
    weights: str
    effort: str = "quick"
    out: Path | None = None  # None: profiles/DEVICE.json
    resume: bool = True


def calibrate_gpu_engine(request: GpuEngineRequest, say: Say) -> Iterator[str]:
    """Measure, fit, write the profile, and yield the lines of the report.

    Raises:
        UsageError: the engine is not installed or cannot run the format, or the profile has no such runtime.
        LatmodelError: nothing could be measured.
        NoisyError: another calibration runs.
    """
    engine, name = find_whole_model_engine(request.engine), datasheet(request.gpu).name
    if request.weights not in engine.formats:
        raise UsageError(f"{engine.name} has no weights in {request.weights}: choose from {', '.join(engine.formats)}")
    known = load_profile(name)
    if request.engine not in known.runtimes:
        raise UsageError(
            f"the profile of {known.title} has no runtime {request.engine}: it has {', '.join(known.runtimes)}"
        )
    with Child(request.engine) as child:
        version = child.version
    plan, out, loads = cases_of(SHAPES, RUNS), request.out or Path("profiles") / f"{name}.json", LOADS[request.effort]
    binding = {
        "engine": version, "weights": request.weights, "gpu": name, "plan": fingerprint(plan, loads),
    }  # fmt: skip
    samples = out.with_suffix(f".{request.engine}-{request.weights}.samples.jsonl")
    with device_lock(name):
        log = open_samples(samples, binding, request.resume)
        if log.records:
            say(f"resuming: {len(log.records)} samples are in {samples}")
        with kept_models(samples.with_suffix(".models")) as folder:
            measure_engine(request.engine, request.weights, EngineOptions(), loads, log, say, folder, plan)
        yield from fit_rows(name, observations_of(log, request, name, version), [samples.name], None, out)
        log.end()


def observations_of(log: Log, request: GpuEngineRequest, gpu: str, version: str) -> list[Observation]:
    """What was measured, as observations of whole models.

    Raises:
        LatmodelError: nothing was measured.
    """
    return [
        Observation(
            **test.config.model_dump(), gpu=gpu, runtime=request.engine, dtype=DTYPES[request.weights], noise=NOISE,
            source=version, seconds=test.seconds, phase="decode" if test.phase == "decode" else "prefill",
            timing="loop" if test.phase == "decode" else "wall",
            prompt_tokens=test.depth if test.phase == "decode" else test.tokens,
            new_tokens=test.tokens if test.phase == "decode" else 0,
        )
        for test in tests_of(log, request.weights, cases_of(SHAPES, RUNS))
    ]  # fmt: skip
