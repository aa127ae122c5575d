"""`verify` on the hardware present, and the refit that `--update` asks for. Imports torch."""

from dataclasses import replace
from pathlib import Path

from latmodel.device.datasheets import slug
from latmodel.device.machine import machine_key
from latmodel.device.profile_file import write_profile
from latmodel.device.store import find_profile
from latmodel.errors import ProfileError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

from ..devices.hardware import Hardware, detect
from ..devices.lab import TorchLab
from ..engines.registry import find_engine
from ..fit.outcome import About, calibrated, measured_layers
from ..fit.start import problem
from ..observations.decoder_config import DecoderConfig
from ..observations.record import write_records
from .since import drift_since_calibration
from .whole_models import RULES, Verified, as_observations, kept_observations, verify


def verify_here(
    predictor: Predictor,
    config: ModelConfig | DecoderConfig,
    workload: Workload,
    device: str | None,
    threads: int | None,
    limit_s: float,
    path: Path | None = None,
) -> Verified:
    """Run the model on this machine's device with the predictor's runtime.

    Where the calibration's samples are beside the profile (at `path`, or found by its name), its reference is timed
    around each phase, and how much slower the device has become is taken out.

    Raises:
        ProfileError: the profile is of another device than the one present.
        LatmodelError: the model does not fit, or did not come back.
        UsageError: the runtime, or Transformers, does not build the architecture.
    """
    wanted = "cpu" if predictor.profile.gpu == "cpu" and device is None else device
    hardware = detect(wanted, threads)
    _same_device(predictor, hardware)
    chosen = find_engine(predictor.runtime)
    chosen.check(config)
    lab = TorchLab(hardware, chosen, workload.dtype)
    file = Path(path) if path is not None else find_profile(predictor.profile.name)
    samples = None if file is None else file.with_suffix(".samples.jsonl")
    with drift_since_calibration(lab, predictor.runtime, workload.dtype, samples) as drift:
        return verify(lab, predictor, config, workload, replace(RULES, sample_s=limit_s), drift)


def _same_device(predictor: Predictor, hardware: Hardware) -> None:
    gpu = predictor.profile.gpu
    if (gpu == "cpu") == (hardware.kind == "cpu") and (gpu == "cpu" or gpu in slug(hardware.name)):
        return
    if hardware.kind == "cpu" and predictor.profile.title == hardware.name:
        return
    raise ProfileError(
        f"the profile is of {gpu}, the device here is {hardware.name}; give the profile of this device with --gpu or "
        "--profile, or calibrate it: latmodel calibrate"
    )


def refit(predictor: Predictor, row: Verified, path: Path | None) -> str:
    """Add the run to the profile's measurements, fit again, write the profile; returns a line that says so.

    Raises:
        UsageError: the measurements are not beside the profile.
    """
    profile = predictor.profile
    where = Path(path) if path is not None else find_profile(profile.name)
    assert where is not None, "a profile with measurements has a file"
    kept_path = where.with_suffix(".observations.jsonl")
    kept = kept_observations(kept_path)
    new = as_observations(row, predictor.runtime, profile.gpu)
    implementations = {name: part.implementation for name, part in profile.runtimes.items()}
    about = About(
        name=profile.name, gpu=profile.gpu, title=profile.title, host=profile.runtimes[predictor.runtime].host,
        source=profile.provenance.source, implementations=implementations, machine=machine_key(),
        notes=(*profile.provenance.notes, f"refitted with {len(new)} times of a verified model"),
    )  # fmt: skip
    dtype = row.workload.dtype
    kind, layers = "cpu" if profile.gpu == "cpu" else "cuda", measured_layers([*kept, *new])
    task = problem(kind, profile.sheet(dtype), implementations, layers)
    done = calibrated(task, profile.device.sheet, [*kept, *new], about)
    write_records(kept_path, [observed.model_dump(mode="json") for observed in done.observations])
    write_profile(done.profile, where)
    return f"refitted with {len(kept) + len(new)} observations: {where}"
