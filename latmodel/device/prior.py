"""What calibrated cards have in common: the packaged `datasheet_prior.json`, read on first use."""

import json
import pkgutil
from functools import cache
from typing import Any

from ..errors import ProfileError


@cache
def datasheet_prior() -> dict[str, Any]:
    """The file as it is: coefficients, scores, runtimes, errors, energy a FLOP by architecture, provenance.

    Raises:
        ProfileError: it is missing.
    """
    raw = pkgutil.get_data("latmodel.device", "datasheet_prior.json")
    if raw is None:  # only a loader that cannot read data gives None
        raise ProfileError("latmodel/device/datasheet_prior.json is missing: reinstall latmodel")
    content: dict[str, Any] = json.loads(raw)
    return content
