"""Where a fit of calibration measurements starts, and which coefficients it may move."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from latmodel.laws.coefficients import Sheet, device_coefficients
from latmodel.laws.priors import CPU_PRIORS, Prior, prior_values

from ..observations.record import Observation
from .anneal import annealed_fit
from .fit import Fitted
from .make import Problem, runtime_priors, setup_at_priors
from .make import device_priors as gpu_priors
from .setup import Setup

# On a CPU one thread dispatches and computes: the timelines add, and nothing lies between two kernels.
SERIAL = {"overlap_loss": 1.0, "gap_s": 0.0}
# Rows from which a library repacks weights: a threshold, so it is tried, not fitted. Seen: 1 (bfloat16 with its own
# instructions: every product goes the same way), 2 (bfloat16 without) and 4 (float32).
REPACK_ROWS = (1.0, 2.0, 4.0, 8.0)
# Coefficients that a kind of layer alone depends on.
_RECURRENT = ("cpu.conv_call_s", "cpu.conv_bandwidth", "cpu.scan_bandwidth")
SHOWN_BY = {"Mamba2": _RECURRENT, "GatedDelta": (*_RECURRENT, "cpu.solve_efficiency")}


@dataclass(frozen=True)
class CpuProblem(Problem):
    """A fit that also chooses the repacking threshold: the one that explains the observations best."""

    def solve(self, observations: Sequence[Observation], begin: Mapping[str, float] | None = None) -> Fitted:
        best: Fitted | None = None
        for rows in REPACK_ROWS:
            one = replace(self, start=self.start.moved({"device.cpu.repack_rows": rows}))
            fitted = Problem.solve(one, observations, begin)
            best = fitted if best is None or fitted.misfit < best.misfit else best
        assert best is not None
        return best


def problem(kind: str, sheet: Sheet, runtimes: Mapping[str, str], layers: Iterable[str] = ()) -> Problem:
    """The fit for a device of `kind` ("cpu" or any accelerator) with runtimes (name → implementation).

    `layers` are the kinds measured besides attention and feed-forward layers: what only others show stays at its prior.
    """
    start = setup_at_priors(sheet, runtimes)
    free: dict[str, Prior] = {}
    for runtime in runtimes:
        free |= runtime_priors(runtime)
    if kind != "cpu":
        return Problem(start, free | gpu_priors(), annealed_fit)
    free = {name: prior for name, prior in free.items() if name.rsplit(".", 1)[1] not in SERIAL}
    shown = {name for layer in layers for name in SHOWN_BY.get(layer, ())}
    unseen = {name for names in SHOWN_BY.values() for name in names} - shown
    free |= {f"device.{name}": prior for name, prior in CPU_PRIORS.items() if prior.spread > 0 and name not in unseen}
    table = {
        name: (coefficients._replace(**SERIAL), implementation)
        for name, (coefficients, implementation) in start.runtimes.items()
    }
    return CpuProblem(Setup(sheet, device_coefficients(prior_values(CPU_PRIORS)), table), free, annealed_fit)
