"""Where a fit starts and which coefficients it may move: of a calibration, and of times measured elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from latmodel.device.datasheets import datasheet
from latmodel.device.profile import Profile, SheetPart
from latmodel.errors import ProfileError
from latmodel.laws.coefficients import Sheet, device_coefficients
from latmodel.laws.priors import CPU_PRIORS, Prior, prior_values
from latmodel.model.config import DType
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ..observations.record import Observation
from . import make
from .anneal import annealed_fit
from .few_rows import law_error_before
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
    start = setup_at_priors(sheet, runtimes, kind)
    free: dict[str, Prior] = {}
    for runtime in runtimes:
        free |= runtime_priors(runtime, kind)
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


class Subject(NamedTuple):
    """The device that was measured."""

    name: str
    title: str
    kind: str  # "cpu", or any accelerator
    sheet: SheetPart


def subject(gpu: str, prior: Profile | None) -> Subject:
    """A card by its data sheet; a CPU, which has none, by the profile of a calibration.

    Raises:
        ProfileError: no such device, or a CPU that was never calibrated.
    """
    if gpu != "cpu":
        card = datasheet(gpu)
        return Subject(card.name, card.title, "cuda", make.sheet_part(card))
    if prior is None:
        raise ProfileError("a CPU has no data sheet to start from; run `latmodel calibrate --gpu cpu --effort quick`")
    return Subject("cpu", prior.title, "cpu", prior.device.sheet)


def refinement(
    device: Subject, dtype: DType, runtimes: Sequence[str], prior: Profile | None, attention: str | None = None
) -> make.Problem:
    """Start and priors: the data sheet's, moved to what a prior profile holds; what it learned of kernels stays.

    `attention` is how the rows to be fitted attended, where that is not the runtimes' own way.

    Raises:
        ProfileError: no such device, or a CPU that was never calibrated.
        UsageError: a runtime has no such attention.
    """
    base = _from_sheet(device, dtype, runtimes, prior)
    task = base if prior is None else _moved_to(prior, base, dtype, runtimes)
    if attention is None:
        return task
    table = {name: (own, way.with_attention(attention)) for name, (own, way) in task.start.runtimes.items()}
    return replace(task, start=replace(task.start, runtimes=table))


def _moved_to(prior: Profile, base: make.Problem, dtype: DType, runtimes: Sequence[str]) -> make.Problem:
    kernels_of = next((name for name in runtimes if name in prior.runtimes), None)
    coefficients, _ = prior.device_coefficients(dtype, kernels_of)
    known = {f"device.{name}": item for name, item in prior.device_table(dtype, kernels_of)[0].items()}
    table, correctors = dict(base.start.runtimes), {}
    for name in runtimes:
        if name in prior.runtimes:
            part = prior.runtimes[name]
            table[name] = (prior.runtime_coefficients(name), part.measured_as)
            known |= {f"runtime.{name}.{key}": item for key, item in part.coefficients.items()}
            if (corrector := prior.corrector(dtype, name)) is not None:
                correctors[name] = corrector
    usable = {name: item for name, item in known.items() if item.value > 0.0 and item.status != "fixed"}
    graphs = {key: one for name in runtimes for key, one in make.graph_priors(name).items() if key in usable}
    # What the profile holds fixed, or has not, stays so: a host that launches graphs spends nothing on kernels.
    others = tuple(f"runtime.{name}." for name in runtimes if name not in prior.runtimes)
    left = {name: one for name, one in {**base.free, **graphs}.items() if name in usable or name.startswith(others)}
    free = make.tightened(left, usable, loosen_hosts=True)
    solver = partial(annealed_fit, known_error=law_error_before(prior.runtimes.get(kernels_of or "")))
    return make.Problem(Setup(base.start.sheet, coefficients, table, correctors), free, solver)


def _from_sheet(device: Subject, dtype: DType, runtimes: Sequence[str], prior: Profile | None) -> make.Problem:
    if device.kind == "cpu":
        assert prior is not None, "a CPU has no data sheet"
        return problem("cpu", prior.sheet(dtype), {name: _on_a_cpu(name) for name in runtimes})
    start = make.setup_at_priors(_constants(device, dtype), {name: make.implementation_of(name) for name in runtimes})
    free: Mapping[str, Prior] = make.device_priors()
    for name in runtimes:
        free = {**free, **make.runtime_priors(name)}
    return make.Problem(start, free, annealed_fit)


def _on_a_cpu(runtime: str) -> str:
    own = f"{make.implementation_of(runtime)}-cpu"
    return own if own in IMPLEMENTATIONS else make.implementation_of(runtime)


def _constants(device: Subject, dtype: DType) -> Sheet:
    return make.sheet_of(datasheet(device.name), dtype)
