"""Profiles of cards that this project never touched, from published kernel timings: `fit_card`.

The device part is fitted, with a learned correction where rows are many; what a host adds is a prior over published
hosts, and says so. Run as `python -m calibration.published.cards` to make the packaged ones anew.
"""

import argparse
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from latmodel.device.datasheets import DataSheet, datasheet
from latmodel.device.profile import (
    FLOAT8,
    FLOAT8_PHASE,
    Coefficient,
    DevicePart,
    ErrorRow,
    Phase,
    Profile,
    Provenance,
    Quality,
    RangeName,
    TableName,
)
from latmodel.device.profile_file import write_profile
from latmodel.errors import UsageError
from latmodel.laws.correction_part import CorrectionPart, Family
from latmodel.laws.priors import DEVICE_PRIORS, PYTORCH_ONLY, Prior, prior_values

from ..fit import make
from ..fit.kernels import (
    FAMILIES,
    Kernels,
    family_priors,
    fit_law,
    held_out_trial,
    log_residuals,
    start_at,
    values_of,
    with_correction,
)
from ..fit.residual import correction_part
from ..fit.setup import Setup
from ..observations.operators import OperatorObservation
from ..sources import aiconfigurator
from .boards import with_runtimes
from .families import SOURCES, TIMED, Evidence
from .hosts import host_runtimes
from .whole_blocks import BLOCK_PHASES, Vector, blocks_by_phase

DTYPE: Literal["bfloat16"] = "bfloat16"
PHASES = {"gemm8": FLOAT8_PHASE}  # names of families in reports, where they differ
LAW_ROWS = 6000  # rows that a law's handful of coefficients is fitted to; a correction sees all
FEW_ROWS = 1500  # below this no correction: rows of one or two models say nothing of the shapes between
# What one multiprocessor loads alone, bytes/s, as fitted to the kernels of another card of the chip (the L40S), and how
# sure that is of this one, log units.
TILE_BYTES_PER_S = {"nvidia-geforce-rtx-4090": 38.3e9}
TILE_SPREAD = 0.25
MAX_FOLDS = 12
SPLIT = "out of sample (fitted to 10 % of shapes)"
FEW_SPLIT = "out of sample (leave one layer shape out)"


@dataclass(frozen=True)
class Outcome:
    """One family's fit to all rows, and how a fit to fewer did on the others."""

    kernels: Kernels
    split: str
    residuals: list[float]  # log(predicted / measured) of held-out rows
    out: list[OperatorObservation]  # those rows


def fit_card(gpu: str, source: str = "aiconfigurator", data: Path = Path("../shared/data")) -> Profile:
    """The profile of a card from one published source.

    Args:
        gpu: any name of the card.
        source: "aiconfigurator" (the installed package), or "vidur" or "llmservingsim" (CSV files under `data`).
        data: the folder of published measurements.

    Raises:
        UsageError: the source is unknown, missing, or has nothing of this card.
    """
    if source not in SOURCES:
        raise UsageError(f"no such source: {source!r}; use one of: {', '.join(SOURCES)}")
    card = datasheet(gpu)
    families = SOURCES[source](card, data)
    outcomes = {family: _solve(card, family, evidence.rows) for family, evidence in families.items()}
    return _profile(card, source, families, outcomes)


def _solve(card: DataSheet, family: str, rows: list[OperatorObservation]) -> Outcome:
    start = start_at(make.sheet_of(card, rows[0].dtype), rows[0].runtime)
    law = fit_law(family, _some(rows, LAW_ROWS), start, _priors(card, family, rows))
    if len(rows) < FEW_ROWS:
        return Outcome(law, FEW_SPLIT, *_leave_shapes_out(family, rows, start))
    trial = held_out_trial(family, rows, start, seed=0)
    return Outcome(with_correction(law, rows), SPLIT, trial.corrected.tolist(), [rows[i] for i in trial.test])


def _priors(card: DataSheet, family: str, rows: list[OperatorObservation]) -> dict[str, Prior]:
    """A family's priors; of a card whose rows do not show it, what a multiprocessor of its chip loads."""
    priors, name = family_priors(family, hot=any(row.hot for row in rows)), "device.gemm.tile_bandwidth"
    loaded = TILE_BYTES_PER_S.get(card.name)
    if loaded is not None and name in priors:
        value = loaded * card.sm_count / card.bandwidth_bytes_per_s
        priors[name] = priors[name]._replace(value=value, spread=TILE_SPREAD)
    return priors


def _leave_shapes_out(
    family: str, rows: Sequence[OperatorObservation], start: Setup
) -> tuple[list[float], list[OperatorObservation]]:
    """Residual of each row from a fit that saw no row of its layer shape, and the rows in that order."""
    residuals: list[float] = []
    left: list[OperatorObservation] = []
    for fold in folds([shape_key(row) for row in rows]):
        out = [rows[i] for i in fold]
        kept = [row for i, row in enumerate(rows) if i not in fold]
        residuals += log_residuals(fit_law(family, kept, start), out).tolist()
        left += out
    return residuals, left


def folds(keys: Sequence[tuple[int, ...]]) -> list[set[int]]:
    """Rows of one key stay together; keys go round at most `MAX_FOLDS` folds, two at least."""
    number = {key: i for i, key in enumerate(sorted(set(keys)))}
    count = min(MAX_FOLDS, len(number))
    if count < 2:
        raise UsageError("rows of one shape cannot be held out from each other; give a source with more shapes")
    return [{i for i, key in enumerate(keys) if number[key] % count == fold} for fold in range(count)]


def shape_key(row: OperatorObservation) -> tuple[int, ...]:
    """What makes two rows the same layer at different workloads."""
    if row.op == "gemm":
        return row.n, row.k
    if row.op == "attention":
        return row.heads, row.kv_heads, row.head_dim, row.tokens, row.context if row.tokens == 1 else 0
    return (int(row.moved_bytes),)


def _some(rows: list[OperatorObservation], count: int) -> list[OperatorObservation]:
    if len(rows) <= count:
        return rows
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:count]]


def _profile(
    card: DataSheet, source: str, families: Mapping[str, Evidence], outcomes: Mapping[str, Outcome]
) -> Profile:
    table = {name: Coefficient(value=value, stderr_log=DEVICE_PRIORS[name].spread, status="prior")
             for name, value in prior_values(DEVICE_PRIORS).items() if name not in PYTORCH_ONLY}  # fmt: skip
    fitted = {
        family: make.coefficient_table(values_of(o.kernels), o.kernels.coefficients, "device.")
        for family, o in outcomes.items()
    }
    float8 = {name.removeprefix(f"{FLOAT8}."): item for name, item in fitted.pop("gemm8", {}).items()}
    for coefficients in fitted.values():
        table |= coefficients
    corrections: dict[Family, CorrectionPart] = {}
    for family in FAMILIES:
        learnt = outcomes[family].kernels.correction if family in outcomes else None
        if learnt is not None:
            corrections[family] = correction_part(learnt)
    tables: dict[TableName, dict[str, Coefficient]] = {DTYPE: table}
    learned: dict[TableName, dict[Family, CorrectionPart]] = {DTYPE: corrections} if corrections else {}
    if float8:
        tables[FLOAT8] = float8
        learnt = outcomes["gemm8"].kernels.correction
        if learnt is not None:
            learned[FLOAT8] = {"gemm": correction_part(learnt)}
    errors = [
        ErrorRow(split=o.split, phase=PHASES.get(family, family), rows=len(o.residuals),
                 mape_percent=round(make.mape_percent(o.residuals), 3))
        for family, o in outcomes.items()
    ]  # fmt: skip
    dtype = families["gemm"].rows[0].dtype
    return Profile(
        schema_version=2,
        name=card.name,
        gpu=card.name,
        title=card.title,
        device=DevicePart(
            sheet=make.sheet_part(card),
            coefficients=tables,
            corrections=learned,
        ),
        runtimes=host_runtimes(
            card.name,
            phase_residuals(outcomes),
            _ranges(families),
            list(corrections),
            timed=TIMED[source],
        ),
        quality=Quality(kind="published", errors=errors),
        provenance=Provenance(
            source=", ".join(one.source for one in families.values()),
            date=datetime.date.today().isoformat(),
            rows=", ".join(f"{len(one.rows)} {PHASES.get(family, family)}" for family, one in families.items()),
            made_by=f"latmodel fit --gpu {card.name} --from {source}",
            notes=_notes(families, dtype),
        ),
    )


def _notes(families: Mapping[str, Evidence], dtype: str) -> list[str]:
    notes = [
        f"{family}: {count} rows left out ({reason})"
        for family, evidence in families.items()
        for reason, count in evidence.dropped.items()
    ]
    if dtype != DTYPE:
        notes.append(f"kernels are {dtype}: the card runs both 16-bit types at the same rate")
    return notes


def phase_residuals(outcomes: Mapping[str, Outcome]) -> dict[Phase, Vector]:
    """log(predicted / measured) of whole 16-bit blocks by phase, from held-out kernels (`whole_blocks`)."""
    products = outcomes["gemm"]
    rows = [row.m for row in products.out]
    attention = {phase: outcomes[phase].residuals if phase in outcomes else [] for phase in BLOCK_PHASES}
    return blocks_by_phase(rows, products.residuals, attention)


def _ranges(families: Mapping[str, Evidence]) -> dict[RangeName, tuple[float, float]]:
    """What was measured, in a model's dimensions; outside predictions are marked extrapolated."""
    gemms = families["gemm"].rows
    widths = [float(size) for row in gemms for size in (row.n, row.k)]
    ranges: dict[RangeName, tuple[float, float]] = {
        "hidden_size": (min(widths), max(widths)),
        "intermediate_size": (min(widths), max(widths)),
        "batch_size": (1.0, max(float(row.m) for row in gemms)),
    }
    heads = [row for phase in BLOCK_PHASES if phase in families for row in families[phase].rows]
    if heads:
        ranges["head_dim"] = (min(float(row.head_dim) for row in heads), max(float(row.head_dim) for row in heads))
    if "prefill" in families:
        ranges["prompt_tokens"] = (1.0, max(float(row.tokens) for row in families["prefill"].rows))
    return ranges


PACKAGED = {
    **dict.fromkeys(aiconfigurator.FOLDERS, "aiconfigurator"),
    "nvidia-a40": "vidur",
    "nvidia-geforce-rtx-4090": "llmservingsim",
}


def write(name: str, data: Path, folder: Path) -> None:
    """Fit a packaged card, with the runtimes that kernels alone do not show; write it, print its errors."""
    profile = with_runtimes(fit_card(name, PACKAGED[name], data), folder)
    write_profile(profile, folder / f"{name}.json")
    print(name, *(f"{row.phase} {row.mape_percent:.1f} % of {row.rows}" for row in profile.quality.errors), flush=True)


def main() -> None:
    """Write the packaged profiles, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("profiles"))
    parser.add_argument("cards", nargs="*", help="cards to fit; all if none is named")
    options = parser.parse_args()
    for name in [datasheet(card).name for card in options.cards] or PACKAGED:
        write(name, options.data, options.out)


if __name__ == "__main__":
    main()
