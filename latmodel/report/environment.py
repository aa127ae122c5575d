"""What is on this machine, found without loading what is not needed."""

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from ..device.store import profile_folders
from .text import Column

PACKAGES = ("numpy", "torch", "transformers", "scipy", "scikit-learn", "matplotlib", "nvidia-ml-py")


def environment() -> list[dict[str, Any]]:
    """Rows of what, and its value: versions, processors, accelerators, folders of profiles."""
    from ..version import __version__

    rows = [
        ("latmodel", __version__),
        ("python", platform.python_version()),
        ("system", platform.platform()),
        ("processors", str(os.cpu_count())),
        ("load", ", ".join(f"{load:.2f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"),
        *((name, _version(name)) for name in PACKAGES),
        ("accelerator", _accelerator()),
        *(("profiles in", f"{folder}{'' if folder.is_dir() else ' (none)'}") for folder in profile_folders()),
    ]
    return [{"what": what, "value": value} for what, value in rows]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _accelerator() -> str:
    """The accelerator that torch sees; torch is the only reliable witness, and is loaded for this verb alone."""
    if find_spec("torch") is None:
        return "unknown (install latmodel[calibrate])"
    import torch

    if not torch.accelerator.is_available():
        return "none"
    kind = torch.accelerator.current_accelerator()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else str(kind)
    return f"{name} ({kind})"


ENV_COLUMNS: list[Column] = [
    ("what", lambda row: row["what"]),
    ("value", lambda row: row["value"]),
]
