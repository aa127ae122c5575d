"""What an engine needs of its Python package: that it is there, and new enough."""

import importlib
from typing import Any

from latmodel.errors import UsageError


def engine_package(runtime: str, package: str, module: str, extra: str, oldest: tuple[int, ...]) -> Any:
    """The imported module of an engine's package.

    Raises:
        UsageError: it is not installed, cannot be loaded, or is older than `oldest`; with the command that helps.
    """
    install = f"pip install 'latmodel[{extra}]'"
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        missing = getattr(error, "name", None) in (None, module)
        told = "" if missing else f" ({str(error)[:100]})"
        raise UsageError(f"runtime {runtime} needs {package}{told}: {install}") from None
    version = str(getattr(found, "__version__", "0"))
    if version_of(version) < oldest:
        needed = ".".join(map(str, oldest))
        raise UsageError(f"{package} {version} is too old, {needed} is needed: {install} --upgrade")
    return found


def version_of(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "0.18.0rc1" → (0, 18)."""
    numbers = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
