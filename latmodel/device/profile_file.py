"""Profiles on disk: one JSON file of at most 1 MB, read as hostile input (no duplicate keys, no NaN), written whole."""

import json
from pathlib import Path

from pydantic import ValidationError

from ..errors import ProfileError
from ..model.config import describe
from ..strict_json import load_json, write_whole
from .profile import Profile

# 1: the first. 2 (2026-11): runtimes say on which machine their host was measured (`machine`); a 1 is read as a 2 that
# does not say. From latmodel 0.2 on a 2 may say which latmodel made it (`provenance.latmodel_version`), and which FFN
# and head sizes were measured (`ranges`); where it does not, nothing is said of those.
SCHEMA_VERSION = 2
READ_VERSIONS = (1, 2)
MAX_PROFILE_BYTES = 1_000_000


def read_profile(path: Path) -> Profile:
    """Read and check a profile.

    Raises:
        ProfileError: the file is missing, too large, not JSON, or breaks the schema; the key is named.
    """
    data = load_json(path, MAX_PROFILE_BYTES)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is not int or version not in READ_VERSIONS:
        raise ProfileError(
            f"{path}: schema_version is {str(version)[:20]}, this version reads 1 to {SCHEMA_VERSION}; fit anew"
        )
    if isinstance(data.get("provenance"), dict):
        data["provenance"].setdefault("latmodel_version", "")
    try:
        # Strict JSON mode: numbers stay numbers, but a whole number may stand where a real one is meant.
        return Profile.model_validate_json(json.dumps({**data, "schema_version": SCHEMA_VERSION}))
    except ValidationError as error:
        raise ProfileError(f"{path}: {describe(error, 'profile')}") from None


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile whole or not at all (a temporary file beside it is renamed over it).

    Raises:
        ProfileError: the path cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (profile.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        raise ProfileError(f"cannot write {path}: {error.strerror}; choose another --out") from None
