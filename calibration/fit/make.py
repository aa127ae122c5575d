"""From a fit to a profile: priors from a data sheet, cross-validation, conformal scores, errors, the file's parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latmodel.device.card_law import sheet_of
from latmodel.device.profile import FLOAT8, Coefficient, ErrorRow, RuntimePart
from latmodel.device.uncalibrated import sheet_part
from latmodel.laws.coefficients import RuntimeCoefficients, Sheet, coefficient_values, device_coefficients
from latmodel.laws.priors import (
    DEVICE_PRIORS,
    ENGINE_PRIORS,
    GRAPH_PRIORS,
    RUNTIME_PRIORS,
    SERVED_ONLY,
    Prior,
    prior_values,
)
from latmodel.model.architecture import LAYER_SIZES
from latmodel.model.config import CONFIG_FIELDS
from latmodel.runtimes.registry import IMPLEMENTATIONS

from ..observations.evidence import Evidence, evidence, model_of
from ..observations.record import Observation
from .fit import UNDETERMINED, Fitted, fit, log_ratios
from .setup import Setup

BOARD_SPREAD = 0.03  # how far two boards of one type differ, in log units: what one board says of another is no surer
HOST_SPREAD = 0.5  # how far two hosts differ: 0.55 to 1.25 ms a layer are published for one software stack
# Of gemm, prefill and decode: seen in hot loops alone.
HOT_ONLY = ("cache_speedup", "cache_rate", "cache_share", "cache_width")
__all__ = ["RuntimePart", "sheet_of", "sheet_part"]  # beside all that is defined here

_KERNELS = {
    "transformers-eager": "transformers",
    "cuda-graph": "cuda-graph",
    "torch-compile": "compiled",
    "vllm": "serving",
}
# Runtimes that replay a device graph on CUDA: the host launches one graph a pass and no kernel or block of it.
GRAPHS = ("cuda-graph", "torch-compile")
NO_LAUNCHES = {"launch_s": 0.0, "block_s": 0.0, "prefill_block_s": 0.0}
# Launching a graph that exists, and taking the token: tens of microseconds in NVIDIA's guidance on CUDA graphs.
GRAPH_VALUES = {"pass_s": 4e-5, "token_s": 1e-5}
PHASES = ("prefill", "decode", "response")


def implementation_of(runtime: str) -> str:
    """Whose kernels a runtime launches; PyTorch's where it is not known better."""
    return _KERNELS.get(runtime, "torch")


def setup_at_priors(sheet: Sheet, runtimes: Mapping[str, str], kind: str = "cuda") -> Setup:
    """Where a fit starts when nothing is known; `runtimes` gives the implementation of each on a device of `kind`."""
    table = {}
    for name, implementation in runtimes.items():
        values = prior_values(RUNTIME_PRIORS) | (GRAPH_VALUES | NO_LAUNCHES if _replays(name, kind) else {})
        table[name] = (RuntimeCoefficients(**values), IMPLEMENTATIONS[implementation])
    device = prior_values(DEVICE_PRIORS) | dict.fromkeys(SERVED_ONLY, 0.0)
    return Setup(sheet, device_coefficients(device), table)


def device_priors(hot: bool = False) -> dict[str, Prior]:
    """Priors of a device's coefficients; what only a serving framework's kernels in a hot loop show is left out unless
    `hot`."""
    return {
        f"device.{name}": prior
        for name, prior in DEVICE_PRIORS.items()
        if prior.spread > 0.0 and (hot or not _shown_hot(name))
    }


def _shown_hot(name: str) -> bool:
    family, bare = name.split(".")
    return name in SERVED_ONLY or (family != "pointwise" and bare in HOT_ONLY)


def _replays(runtime: str, kind: str) -> bool:
    return runtime in GRAPHS and kind == "cuda"


def runtime_priors(runtime: str, kind: str = "cuda") -> dict[str, Prior]:
    """Priors of a runtime's coefficients on a device of `kind`."""
    priors = RUNTIME_PRIORS | (ENGINE_PRIORS if implementation_of(runtime) == "serving" else {})
    if _replays(runtime, kind):
        priors = {name: prior for name, prior in priors.items() if name not in NO_LAUNCHES}
        priors |= {name: priors[name]._replace(value=value) for name, value in GRAPH_VALUES.items()}
    return {f"runtime.{runtime}.{name}": prior for name, prior in priors.items()}


def graph_priors(runtime: str) -> dict[str, Prior]:
    """Priors of what a graph's replay shows on some devices alone, for a runtime of such a device."""
    return {f"runtime.{runtime}.{name}": prior for name, prior in GRAPH_PRIORS.items()}


def tightened(
    priors: Mapping[str, Prior],
    coefficients: Mapping[str, Coefficient],
    *,
    apart: float = BOARD_SPREAD,
    loosen_hosts: bool = False,
) -> dict[str, Prior]:
    """Priors moved to what another fit fitted, as sure as that fit is, but no surer than the two are alike.

    `apart` is how far what was measured there differs from what will be here, in log units. With `loosen_hosts`
    runtime coefficients keep their wide spread: another host may be twice as slow.
    """
    moved = dict(priors)
    for name, fitted in coefficients.items():
        if name in moved:
            spread = min(moved[name].spread, float(np.hypot(fitted.stderr_log, apart)))
            if loosen_hosts and name.startswith("runtime."):
                spread = max(spread, HOST_SPREAD)
            moved[name] = moved[name]._replace(value=fitted.value, spread=spread)
    return moved


Solver = Callable[[Sequence[Evidence], Setup, Mapping[str, Prior], Mapping[str, float] | None], Fitted]


@dataclass(frozen=True)
class Problem:
    """A fit that can be done again on fewer rows: where it starts, what is free, what solves it."""

    start: Setup
    free: Mapping[str, Prior]
    solver: Solver = fit

    def solve(self, observations: Sequence[Observation], begin: Mapping[str, float] | None = None) -> Fitted:
        """Fit to the observations."""
        return self.solver(evidence(observations), self.start, self.free, begin)


def residuals_at(setup: Setup, observations: Sequence[Observation]) -> list[float]:
    """log(predicted / measured) of each observation with these coefficients."""
    residuals = [0.0] * len(observations)
    for piece in evidence(observations):
        for index, value in zip(piece.index, log_ratios(piece, setup).tolist(), strict=True):
            residuals[index] = value
    return residuals


def residuals_of(fitted: Fitted, observations: Sequence[Observation]) -> list[float]:
    """log(predicted / measured) of each observation, seen in the fit or not."""
    return residuals_at(fitted.setup, observations)


def leave_out(
    problem: Problem,
    observations: Sequence[Observation],
    groups: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    warm: bool = True,
) -> list[float]:
    """Residual of each observation from a fit that saw none of its group.

    `groups` names the group of each observation (its model, say). Every fit starts from the fit to all rows if `warm`,
    which is quicker, but leaves a descent that stops at the first kink nearer to rows that it must not see.
    """
    begin = {name: item.value for name, item in problem.solve(observations).coefficients.items()} if warm else None
    names = sorted(set(groups))
    held_out = [0.0] * len(observations)
    for done, group in enumerate(names):
        kept = [row for row, name in zip(observations, groups, strict=True) if name != group]
        out = [i for i, name in enumerate(groups) if name == group]
        fitted = problem.solve(kept, begin)
        for index, value in zip(out, residuals_of(fitted, [observations[i] for i in out]), strict=True):
            held_out[index] = value
        if progress is not None:
            progress(done + 1, len(names))
    return held_out


def mape_percent(residuals: Sequence[float]) -> float:
    """Mean absolute percentage error of predictions with these log residuals."""
    return 100.0 * float(np.mean(np.abs(np.expm1(residuals))))


def error_rows(split: str, observations: Sequence[Observation], residuals: Sequence[float]) -> list[ErrorRow]:
    """One row for each phase present."""
    rows = []
    for phase in PHASES:
        some = [r for row, r in zip(observations, residuals, strict=True) if row.phase == phase]
        if some:
            rows.append(ErrorRow(split=split, phase=phase, rows=len(some), mape_percent=round(mape_percent(some), 3)))
    return rows


def conformal_scores(
    observations: Sequence[Observation], held_out: Sequence[float], limit: int = 400
) -> dict[str, list[float]]:
    """|log residuals| on held-out rows by phase, thinned evenly by rank beyond `limit`."""
    scores: dict[str, list[float]] = {}
    for phase in PHASES:
        some = sorted(abs(r) for row, r in zip(observations, held_out, strict=True) if row.phase == phase)
        if len(some) > limit:
            some = [some[int(i)] for i in np.linspace(0, len(some) - 1, limit)]
        if some:
            scores[phase] = [float(f"{value:.4g}") for value in some]
    return scores


def coefficient_table(
    values: Mapping[str, float], fitted: Mapping[str, Coefficient], prefix: str
) -> dict[str, Coefficient]:
    """Every coefficient under its bare name: as fitted, or fixed where it was not free. Five figures are kept.

    A fit in stages calls a coefficient undetermined where its last stage added nothing; here it counts as fitted if all
    stages together narrowed the data sheet's prior.
    """
    wide = DEVICE_PRIORS if prefix == "device." else RUNTIME_PRIORS | ENGINE_PRIORS | GRAPH_PRIORS
    table = {}
    for name, value in values.items():
        one = fitted.get(prefix + name, Coefficient(value=value, status="fixed"))
        narrowed = name in wide and one.stderr_log <= UNDETERMINED * wide[name].spread
        status = "fitted" if one.status == "undetermined" and narrowed else one.status
        rounded = {"value": float(f"{one.value:.5g}"), "stderr_log": float(f"{one.stderr_log:.3g}")}
        table[name] = one.model_copy(update={**rounded, "status": status})
    return table


def device_table(fitted: Fitted) -> dict[str, Coefficient]:
    """The device's coefficients as a profile keeps them; those for 8-bit floats have a table of their own."""
    values = coefficient_values(fitted.setup.device)
    values = {name: value for name, value in values.items() if not name.startswith(f"{FLOAT8}.")}
    return coefficient_table(values, fitted.coefficients, "device.")


def runtime_part(fitted: Fitted, runtime: str, **others: object) -> RuntimePart:
    """A runtime's coefficients as a profile keeps them; `others` are the part's remaining fields."""
    coefficients, implementation = fitted.setup.runtimes[runtime]
    table = coefficient_table(coefficients._asdict(), fitted.coefficients, f"runtime.{runtime}.")
    return RuntimePart(implementation=implementation.name, coefficients=table, **others)  # type: ignore[arg-type]


def measured_ranges(observations: Sequence[Observation]) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each dimension that was measured; outside them predictions are marked extrapolated."""
    ranges = {}
    for name in ("num_hidden_layers", "hidden_size", "prompt_tokens", "batch_size"):
        values = [float(getattr(row, name)) for row in observations]
        ranges[name] = (min(values), max(values))
    shapes = {(row.config, *(getattr(row, name) for name in CONFIG_FIELDS)): row for row in observations}
    models = [model_of([row]) for row in shapes.values()]
    for size in LAYER_SIZES:
        extents = [extent for model in models if (extent := model.extents.get(size)) is not None]
        if extents:
            # Of rows of dimensions an extent is an array of one, of a whole configuration a number.
            lows, highs = ([float(np.min(end)) for end in ends] for ends in zip(*extents, strict=True))
            ranges[size] = (min(lows), max(highs))
    last = max(row.prompt_tokens + row.new_tokens for row in observations)
    first = min(row.prompt_tokens for row in observations if not row.cached_tokens)
    ranges["prompt_tokens"] = (float(first), float(last))
    if longest := max(row.cached_tokens for row in observations):
        ranges["cached_tokens"] = (0.0, float(longest))  # passes of several tokens over a cache were measured
    return ranges
