"""The one place that imports `calibration`, and notices when it is another distribution's or lacks its needs."""

from importlib import import_module
from types import ModuleType

from ..errors import LatmodelError


def load(module: str) -> ModuleType:
    """`calibration.MODULE` of this distribution.

    Raises:
        LatmodelError: it is shadowed by another distribution's package of that name, or an extra is not installed.
    """
    try:
        package = import_module("calibration")
    except ImportError:
        raise LatmodelError("the calibration package is missing; reinstall latmodel") from None
    if not getattr(package, "LATMODEL", False):
        where = getattr(package, "__file__", None) or "an unknown place"
        raise LatmodelError(
            f"`calibration` at {where} belongs to another distribution (uncertainty-calibration?); "
            "uninstall it and reinstall latmodel"
        )
    try:
        return import_module(f"calibration.{module}")
    except ModuleNotFoundError as error:
        raise LatmodelError(f"{error.name} is not installed; run `pip install 'latmodel[calibrate]'`") from None
