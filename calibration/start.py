"""Where a fit of calibration measurements starts, and which coefficients it may move."""

from collections.abc import Iterable, Mapping

from latmodel.coefficients import (
    CPU_PRIORS,
    DEVICE_PRIORS,
    RUNTIME_PRIORS,
    Prior,
    RuntimeCoefficients,
    Sheet,
    device_coefficients,
    prior_values,
)
from latmodel.implementation import IMPLEMENTATIONS

from .fit import Setup

# On a CPU one thread dispatches and computes: the timelines add, and nothing lies between two kernels.
SERIAL = {"overlap_loss": 1.0, "gap_s": 0.0}
# Seen only by microbenchmarks that repeat their operands; the ring keeps a calibration's weights cold.
HOT_ONLY = ("cache_speedup", "cache_share", "cache_width")


def starting_point(kind: str, sheet: Sheet, runtimes: Mapping[str, str]) -> tuple[Setup, dict[str, Prior]]:
    """Prior values of a device of `kind` ("cpu" or any accelerator) with runtimes (name → implementation), and the
    priors of what a fit may move, by `device.NAME` or `runtime.RUNTIME.NAME`."""
    device = CPU_PRIORS if kind == "cpu" else DEVICE_PRIORS
    fixed = SERIAL if kind == "cpu" else {}
    coefficients = RuntimeCoefficients(**{**prior_values(RUNTIME_PRIORS), **fixed})
    setup = Setup(
        sheet,
        device_coefficients(prior_values(device)),
        {name: (coefficients, IMPLEMENTATIONS[how]) for name, how in runtimes.items()},
    )
    free = {f"device.{name}": prior for name, prior in device.items() if prior.spread > 0 and not _is_hot_only(name)}
    for runtime in runtimes:
        free |= _runtime_priors(runtime, fixed)
    return setup, free


def _is_hot_only(name: str) -> bool:
    family, _, rest = name.partition(".")
    return family in ("gemm", "prefill", "decode") and rest in HOT_ONLY


def _runtime_priors(runtime: str, fixed: Iterable[str]) -> dict[str, Prior]:
    return {f"runtime.{runtime}.{name}": prior for name, prior in RUNTIME_PRIORS.items() if name not in fixed}
