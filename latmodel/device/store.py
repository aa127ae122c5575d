"""Finding a profile by the name of a device, by its own name, or by its path."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import ProfileError, UnknownDeviceError
from ..runtimes.llama_cpp import LLAMA_CPP
from .datasheets import DataSheet, datasheet, datasheets
from .profile import NAME, Profile
from .profile_file import read_profile


def load_profile(name: str | os.PathLike[str], runtime: str | None = None) -> Profile:
    """The profile at a path (anything with a separator or ending in .json), or of that name or device.

    A device without a profile gets one from its data sheet alone, which says so. If `runtime` is llama.cpp and the
    profile has none of its own, what others published of it joins.

    Raises:
        ProfileError: none is found, or what is found is invalid.
        UnknownDeviceError: no device has that name.
    """
    text = os.fspath(name)
    if runtime != LLAMA_CPP.name:
        return _load(text)
    from .llama_cpp import find_published, published_profile

    try:
        profile = _load(text)
    except (UnknownDeviceError, ProfileError):
        # Others may have run llama.cpp on a device that has no data sheet here.
        if (published := find_published(text)) is None:
            raise
        return published_profile(published)
    return with_runtime(profile, runtime)


def device_name(text: str) -> str:
    """What profiles of a device call it: this machine's processor, a device with a data sheet, or one that others ran
    llama.cpp on.

    Raises:
        UnknownDeviceError: no device has that name.
    """
    if text == "cpu":
        return text
    try:
        return datasheet(text).name
    except UnknownDeviceError:
        from .llama_cpp import find_published

        if (published := find_published(text)) is None:
            raise
        return published


def with_runtime(profile: Profile, runtime: str | None) -> Profile:
    """The profile, with what others published of llama.cpp on its device if that is asked for and not in it.

    Raises:
        ProfileError: nothing is known of llama.cpp on its device.
    """
    if runtime != LLAMA_CPP.name or runtime in profile.runtimes:
        return profile
    from .llama_cpp import with_llama_cpp

    return with_llama_cpp(profile)


def _load(text: str) -> Profile:
    if os.sep in text or text.endswith(".json"):
        return read_profile(Path(text))
    found = find_profile(text) if NAME.fullmatch(text) else None
    if found is not None:
        return read_profile(found)
    if text == "cpu":
        raise ProfileError("no CPU is calibrated here yet: run `latmodel calibrate --gpu cpu`, or give --profile PATH")
    sheet = datasheet(text)
    found = find_profile(sheet.name)
    return _uncalibrated(sheet) if found is None else read_profile(found)


def _uncalibrated(card: DataSheet) -> Profile:
    """From its data sheet, and the packaged profile of a sibling if there is one (a user's own do not count)."""
    from .chips import sibling_of
    from .uncalibrated import datasheet_profile

    name = sibling_of(card)
    paths = [folder / f"{name}.json" for folder in packaged_folders()] if name else []
    found = next((path for path in paths if path.is_file()), None)
    return datasheet_profile(card, None if found is None else read_profile(found))


def find_profile(name: str) -> Path | None:
    """The first file of that name in the search order, if there is one."""
    for folder in profile_folders():
        path = folder / f"{name}.json"
        if path.is_file():
            return path
    return None


def list_profiles() -> dict[str, Path]:
    """Every profile that a name would find: name → path."""
    found: dict[str, Path] = {}
    for folder in profile_folders():
        for path in sorted(folder.glob("*.json")):
            if NAME.fullmatch(path.stem):
                found.setdefault(path.stem, path)
    return found


def list_uncalibrated() -> list[DataSheet]:
    """Devices that a name would find, but only by their data sheet."""
    return [sheet for sheet in datasheets() if find_profile(sheet.name) is None]


def profile_folders() -> Iterable[Path]:
    """Where profiles are looked for, in order: ./profiles, the user's data directory, the packaged ones."""
    yield Path("profiles")
    yield from _users_folders()
    yield from packaged_folders()


def _users_folders() -> Iterable[Path]:
    """The user's data directory as the system has it, then the one that latmodel 0.1 took on every system."""
    from platformdirs import user_data_path

    own = user_data_path("latmodel", appauthor=False) / "profiles"
    yield own
    before = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    if (older := Path(before) / "latmodel" / "profiles") != own:
        yield older


def packaged_folders() -> Iterable[Path]:
    """Where the packaged profiles are."""
    yield Path(__file__).parent.parent / "profiles"  # in the wheel
    yield Path(__file__).parent.parent.parent / "profiles"  # in a checkout


__all__ = [
    "UnknownDeviceError",
    "find_profile",
    "list_profiles",
    "list_uncalibrated",
    "load_profile",
    "profile_folders",
]
