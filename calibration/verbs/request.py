"""What a calibration is told, and which device and file it means."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latmodel.device.datasheets import DataSheet, datasheet, slug
from latmodel.device.profile import NAME
from latmodel.errors import LatmodelError, ProfileError, UnknownDeviceError, UsageError
from latmodel.model.config import ModelConfig

from ..observations.decoder_config import DecoderConfig

if TYPE_CHECKING:
    from ..devices.hardware import Hardware


@dataclass(frozen=True)
class Request:
    """What a calibration is told to do."""

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
        card = datasheet(hardware.name)
    except UnknownDeviceError:
        card = None
    present = slug(hardware.name) if card is None else card.name
    if request.gpu == "cpu" or (named is not None and named.name != present):
        wanted = "cpu" if named is None else named.title
        raise ProfileError(
            f"--gpu says {wanted}, the device is a {hardware.name}; use --gpu {present} or another --device"
        )
    return present, card
