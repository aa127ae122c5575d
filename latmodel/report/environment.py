"""What is on this machine, found without loading what is not needed."""

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from ..device.store import profile_folders
from .column import Column
from .text import OutputFormat, render

COLUMNS = [
    Column("name", lambda row: row["name"]),
    Column("value", lambda row: row["value"], wraps=True),
]
PACKAGES = ("numpy", "torch", "transformers", "scipy", "scikit-learn", "matplotlib", "nvidia-ml-py")


def environment() -> dict[str, Any]:
    """Versions, processors, accelerators, folders of profiles, by name; None where something is not there."""
    from ..version import __version__

    return {
        "latmodel": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        **{name: _version(name) for name in PACKAGES},
        "accelerator": _accelerator(),
        "profile_folders": [str(folder) for folder in profile_folders() if folder.is_dir()],
        "profile_folders_missing": [str(folder) for folder in profile_folders() if not folder.is_dir()],
    }


def environment_text(output_format: OutputFormat) -> str:
    """The environment as a table of names and values, or as one object."""
    known = environment()
    if output_format not in ("table", "md"):
        return render([known], output_format, [], single=True)
    rows = [{"name": name, "value": _shown(value)} for name, value in known.items()]
    return render(rows, output_format, COLUMNS)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{one:.2f}" if isinstance(one, float) else str(one) for one in value) or "none"
    return "not installed" if value is None else str(value)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


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
