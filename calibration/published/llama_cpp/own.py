"""The law of llama.cpp fitted to runs of one's own, of one device in one format."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latmodel.device.profile import Coefficient
from latmodel.laws.coefficients import GGML_FITTED
from latmodel.laws.priors import GGML_PRIORS

from .effects import CPU_START
from .folds import log_ratios
from .hierarchy import Effect, Fitted, fit_hierarchy
from .law import Problem, Row, ggml_of

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
EFFECTS = tuple(Effect(name, "all", lambda _row: "all", spread) for name, spread in FREE.items())


class OwnFit(NamedTuple):
    """Coefficients of one format, the time of a pass, and held-out errors by phase as |log ratio|."""

    table: dict[str, Coefficient]
    pass_s: float
    held_out: dict[str, list[float]]
    rows: int

    def mape_percent(self, phase: str) -> float:
        """Mean absolute percentage error of shapes left out."""
        return 100.0 * statistics.fmean(abs(float(np.expm1(value))) for value in self.held_out[phase])


def fit_own(rows: Sequence[Row]) -> OwnFit:
    """Fit to all rows, of one device in one format; errors from leaving out each width in turn.

    Raises:
        ValueError: the fit did not converge.
    """
    held_out: dict[str, list[float]] = {"prefill": [], "decode": []}
    widths = sorted({row.test.config.hidden_size for row in rows})
    for width in widths:
        others = [row for row in rows if row.test.config.hidden_size != width]
        own = [row for row in rows if row.test.config.hidden_size == width]
        for row, ratio in zip(own, log_ratios(_fit(others), own), strict=True):
            held_out[row.test.phase].append(abs(ratio))
    held_out["response"] = sorted(held_out["prefill"] + held_out["decode"])
    values = _fit(rows).coefficients(rows[:1])
    law = ggml_of({name: float(value[0]) for name, value in values.items()}, rows[0].device.cores)
    table = {}
    for name in GGML_FITTED:
        prior = GGML_PRIORS[f"ggml.{name}"]
        table[f"ggml.{name}"] = Coefficient(
            value=min(max(float(getattr(law, name)), prior.low), prior.high), status="fitted"
        )
    return OwnFit(table, float(values["pass_s"][0]), held_out, len(rows))


def _fit(rows: Sequence[Row]) -> Fitted:
    problem = Problem(rows)
    return fit_hierarchy(rows, problem.predict, problem.seconds, START, EFFECTS, np.full(len(rows), NOISE))
