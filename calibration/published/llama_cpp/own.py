"""The law of llama.cpp fitted to runs of one's own, of one device in one format."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latmodel.device.profile import Coefficient
from latmodel.laws.coefficients import GGML_FITTED
from latmodel.laws.priors import GGML_PRIORS, OPTIONAL

from .effects import CPU_START
from .hierarchy import Effect, Fitted, Floats, fit_hierarchy
from .law import FEW_ROWS, Problem, Row, ggml_of

WIDE = 2.0  # log units around the start: the data decide
NARROW = 0.5  # of what single prompts and contexts hardly tell
FIXED = 0.1  # keys and values are read as weights are, so that what a head computes can be told from what it reads
NOISE = 0.03
START = {**CPU_START, "cache_ratio": 1.0}
FREE = {
    "bandwidth_efficiency": WIDE, "vector_flops_per_core": WIDE, "product_flops_per_core": WIDE, "launch_s": WIDE,
    "pass_s": WIDE, "attention_ratio": 1.0, "cache_ratio": FIXED,
    "token_attention_flops_per_core": WIDE, "unpack_passes": NARROW,
}  # fmt: skip
# Where passes of a few tokens were measured: they read the cache once for all of them.
FEW_FREE = {**FREE, "cache_ratio": WIDE, "narrow_cache": 1.0, **{f"{name}_core": WIDE for name in FEW_ROWS}}
FEW_START = {**START, "narrow_cache": 1.0, **{f"{name}_core": START["product_flops_per_core"] for name in FEW_ROWS}}
PACKED_ROWS = 4.0  # ggml's repack.cpp
Tiles = Mapping[str, float]
Loads = Mapping[str, Sequence[float]]  # log(time in one load / median over loads) by the name of the test


class OwnFit(NamedTuple):
    """Coefficients of one format, the time of a pass, and held-out errors by phase as |log ratio|.

    Phases are prefill and decode, and "step": a few tokens read behind a cache.
    """

    table: dict[str, Coefficient]
    pass_s: float
    held_out: dict[str, list[float]]
    rows: int
    of_loads: dict[str, list[float]]  # the same of single loads, which is what one run of a user's is

    def mape_percent(self, phase: str) -> float:
        """Mean absolute percentage error of shapes left out."""
        return 100.0 * statistics.fmean(abs(float(np.expm1(value))) for value in self.held_out[phase])

    @property
    def scores(self) -> dict[str, list[float]]:
        """Held-out errors that stand behind an interval, those of a response included."""
        found = {phase: self.of_loads[phase] for phase in ("prefill", "decode")}
        return {**found, "response": sorted(found["prefill"] + found["decode"])}


def fit_own(rows: Sequence[Row], query_tile: float = 0.0, loads: Loads | None = None) -> OwnFit:
    """Fit to all rows, of one device in one format; errors from leaving out each width in turn.

    `query_tile`: queries that the engine's attention takes together on this device, 0 for any number. Whether weights
    are packed is what fits better. `loads`: how single loads differ from the rows, their medians.

    Raises:
        ValueError: the fit did not converge.
    """
    tiles = _tiles(rows, query_tile)
    held_out: dict[str, list[float]] = {"prefill": [], "decode": [], "step": []}
    of_loads: dict[str, list[float]] = {"prefill": [], "decode": [], "step": []}
    for width in sorted({row.test.config.hidden_size for row in rows}):
        others = [row for row in rows if row.test.config.hidden_size != width]
        own = [row for row in rows if row.test.config.hidden_size == width]
        for row, ratio in zip(own, _log_ratios(_fit(others, tiles), own, tiles), strict=True):
            held_out[_phase(row)].append(abs(ratio))
            of_loads[_phase(row)] += [abs(ratio + shift) for shift in (loads or {}).get(row.test.model, (0.0,))]
    values = _fit(rows, tiles).coefficients(rows[:1])
    law = ggml_of({name: float(value[0]) for name, value in values.items()}, rows[0].device.cores)._replace(**tiles)
    for phase, errors in of_loads.items():
        # Loads of one case are alike, so that each case counts once, and so does the next one, whose loads may be worse
        # than all (`folds.scores`).
        if errors:
            errors.extend([max(errors)] * (len(errors) // len(held_out[phase]) - 1))
    return OwnFit(_table(law._asdict()), float(values["pass_s"][0]), held_out, len(rows), of_loads)


def _table(law: Mapping[str, float]) -> dict[str, Coefficient]:
    table = {}
    for name in GGML_FITTED:
        prior, value = GGML_PRIORS[f"ggml.{name}"], float(law[name])
        if value or f"ggml.{name}" not in OPTIONAL:
            table[f"ggml.{name}"] = Coefficient(value=min(max(value, prior.low), prior.high), status="fitted")
    return table


def _phase(row: Row) -> str:
    return "step" if row.test.phase == "prefill" and row.test.depth else row.test.phase


def _tiles(rows: Sequence[Row], query_tile: float) -> Tiles:
    """The tiles of the law: none where no pass of few tokens was measured."""
    if not any(_phase(row) == "step" for row in rows):
        return {}
    choices: list[Tiles] = [{"row_tile": tile, "query_tile": query_tile} for tile in (0.0, PACKED_ROWS)]
    return min(choices, key=lambda tiles: float(np.square(_log_ratios(_fit(rows, tiles), rows, tiles)).sum()))


def _log_ratios(fitted: Fitted, rows: Sequence[Row], tiles: Tiles) -> Floats:
    problem = Problem(rows, tiles)
    return np.asarray(np.log(problem.seconds / problem.predict(fitted.coefficients(rows))))


def _fit(rows: Sequence[Row], tiles: Tiles) -> Fitted:
    problem = Problem(rows, tiles)
    start, free = (FEW_START, FEW_FREE) if tiles else (START, FREE)
    effects = [Effect(name, "all", lambda _row: "all", spread) for name, spread in free.items()]
    return fit_hierarchy(rows, problem.predict, problem.seconds, start, effects, np.full(len(rows), NOISE))
