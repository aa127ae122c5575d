"""Finding a profile by the name of a device, by its own name, or by its path."""

import os
from pathlib import Path

from .errors import ProfileError, UnknownDeviceError
from .hardware import datasheet
from .profile import NAME, Profile, profile_folders, read_profile


def load_profile(name: str | os.PathLike[str]) -> Profile:
    """The profile at a path (anything with a separator or ending in .json), or of that name or device.

    Raises:
        ProfileError: none is found, or what is found is invalid.
        UnknownDeviceError: no device has that name.
    """
    text = os.fspath(name)
    if os.sep in text or text.endswith(".json"):
        return read_profile(Path(text))
    found = find_profile(text) if NAME.fullmatch(text) else None
    if found is not None:
        return read_profile(found)
    sheet = datasheet(text)
    found = find_profile(sheet.name)
    if found is None:
        raise ProfileError(f"no profile for {sheet.title}; run `latmodel calibrate --gpu {sheet.name}` on one")
    return read_profile(found)


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


__all__ = ["UnknownDeviceError", "find_profile", "list_profiles", "load_profile"]
