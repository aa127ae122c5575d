"""How well kernels that no fit saw are predicted: `python benchmarks/operators.py [--part kernels,…] [--cards h100,…]`.

kernels      10 % of a card's shapes are fitted, the others predicted: plain roofline, law, corrected law, coverage
extrapolate  GEMM: fitted to n, k <= 4096, larger ones predicted
cards        each card predicted from its data sheet and a law fitted to the cards of other chips
sources      fitted to aiconfigurator's A100, predicting Vidur's
models       host fitted to one row: Shortened LLaMA's pruned models, single layers on an RTX 3090 Ti
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from published_layers import mli_layers, shortened_llama
from scipy.optimize import least_squares

from calibration.fit import make
from calibration.fit.kernels import FAMILIES, PLAIN, PRODUCTS, fit_kernels, held_out_trial, log_residuals, start_at
from calibration.observations.operators import OperatorObservation, cost_of
from calibration.published.cards import PHASES
from calibration.published.datasheet_prior import CHIPS, NVIDIA, OTHER, card_residuals, chip_residuals, other_chips
from calibration.sources import aiconfigurator, vidur
from latmodel.device.card_law import sheet_of
from latmodel.device.datasheets import datasheet
from latmodel.device.profile import FLOAT8
from latmodel.laws.coefficients import Sheet
from latmodel.predict.intervals import conformal_quantile

Vector = NDArray[np.float64]
DTYPE = "bfloat16"
NARROWEST = 256  # of n and k, as in the published comparison
EXTRAPOLATED_FROM = 4096
FIT_SHARE = 0.1
# Largest error that is hoped for, percent.
GOALS = {"gemm": 6.0, "gemm8": 8.0, "prefill": 6.0, "decode": 8.0}
LOOSER_GEMM = dict.fromkeys(("nvidia-a100-sxm4-80gb", "nvidia-l40s"), 8.0)


class Table(NamedTuple):
    """A titled table of text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def rows_of(card: str, family: str, *, windows: bool = False) -> tuple[list[OperatorObservation], int]:
    """Rows of a card's family and how many implausible ones were left out; windowed attention apart."""
    found = aiconfigurator.read(card, family)
    kept = [r for r in found.rows if (windows or not r.window) and (r.op != "gemm" or min(r.n, r.k) >= NARROWEST)]
    return kept, found.dropped.get("implausible: faster than the data sheet", 0)


def roofline_residuals(
    train: Sequence[OperatorObservation], test: Sequence[OperatorObservation], sheet: Sheet
) -> Vector:
    """The plain roofline with two efficiencies fitted to the same rows: max(FLOPs / peak e, bytes / bandwidth e)."""

    def logs(rows: Sequence[OperatorObservation], x: Vector) -> Vector:
        cost = cost_of(rows[0].op, rows, PLAIN)
        compute = np.asarray(cost.flops) / (sheet.peak_flops_per_s * np.exp(x[0]))
        memory = np.asarray(cost.bytes) / (sheet.bandwidth_bytes_per_s * np.exp(x[1]))
        measured = np.array([row.seconds for row in rows])
        return np.asarray(np.log(np.maximum(compute, memory) / measured))

    start = np.log([0.7, 0.8])
    best = least_squares(lambda x: logs(train, x), start, loss="soft_l1", f_scale=0.1).x
    return logs(test, best)


def kernels(cards: Sequence[str], seeds: int) -> Table:
    """10 % fitted, the rest held out by shape."""
    rows = []
    for card in cards:
        eight = FLOAT8 in datasheet(card).peak_flops_per_s
        for family in (*PRODUCTS, "prefill", "decode") if eight else FAMILIES:
            for windows in (False,) if family in PRODUCTS else (False, True):
                rows.append(_kernel_row(card, family, seeds, windows))
    columns = ("card", "kernel", "fitted", "held out", "implausible", "roofline", "law", "corrected", "goal", "covered")
    return Table("Kernels held out: 10 % of shapes fitted, MAPE on the others", columns, rows)


def _kernel_row(card: str, family: str, seeds: int, windows: bool) -> tuple[str, ...]:
    rows, dropped = rows_of(card, family, windows=windows)
    sheet = sheet_of(datasheet(card), DTYPE)
    trials = [held_out_trial(family, rows, start_at(sheet, "vllm"), seed, FIT_SHARE) for seed in range(seeds)]
    held = set(trials[0].test)
    train = [row for i, row in enumerate(rows) if i not in held]
    peak = sheet.float8_flops_per_s if family == "gemm8" else sheet.peak_flops_per_s
    plain = roofline_residuals(train, [rows[i] for i in trials[0].test], sheet._replace(peak_flops_per_s=peak))
    goal = LOOSER_GEMM.get(card, GOALS[family]) if family == "gemm" else GOALS[family]
    label = PHASES.get(family, family) + (", windows too" if windows else "")
    return (
        card, label, str(trials[0].fitted_rows), str(len(trials[0].test)),
        str(dropped), percent([plain]), percent([t.law for t in trials]), percent([t.corrected for t in trials]),
        f"{goal:.0f} %", f"{np.mean([t.covered_percent for t in trials]):.0f} %",
    )  # fmt: skip


def extrapolate(cards: Sequence[str], seeds: int) -> Table:
    """Fitted to a tenth of the smaller GEMMs, the larger ones predicted."""
    rows = []
    for card in cards:
        found, _ = rows_of(card, "gemm")
        small = [row for row in found if max(row.n, row.k) <= EXTRAPOLATED_FROM]
        large = [row for row in found if max(row.n, row.k) > EXTRAPOLATED_FROM]
        sheet = sheet_of(datasheet(card), DTYPE)
        laws, corrected = [], []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(small))[: int(FIT_SHARE * len(small))]
            train = [small[i] for i in order]
            fitted = fit_kernels("gemm", train, start_at(sheet, "vllm"))
            laws.append(log_residuals(fitted, large, corrected=False))
            corrected.append(log_residuals(fitted, large))
        plain = roofline_residuals(train, large, sheet)
        rows.append((card, str(len(train)), str(len(large)), percent([plain]), percent(laws), percent(corrected)))
    columns = ("card", "fitted", "held out", "roofline", "law", "corrected")
    return Table("GEMM beyond what was fitted: n, k <= 4096 fitted, larger ones predicted (goal 10 %)", columns, rows)


def cards_left_out() -> Table:
    """Data sheet and the law of other chips; coverage of those chips' pooled interval.

    The interval of a card comes from residuals of the other chips' cards under laws that saw neither their own chip
    nor this card's.
    """
    rows: list[tuple[str, ...]] = []
    mape: dict[str, dict[str, float]] = {family: {} for family in FAMILIES}
    covered: dict[str, dict[str, float]] = {family: {} for family in FAMILIES}
    for card in (*NVIDIA, OTHER):
        residuals = card_residuals(card, other_chips(card))
        others = {other: card_residuals(other, other_chips(card, other)) for other in other_chips(card)}
        for family in FAMILIES:
            width = conformal_quantile(
                np.abs(chip_residuals({name: found[family] for name, found in others.items()})).tolist(), 0.9
            )
            mape[family][card] = make.mape_percent(residuals[family].tolist())
            covered[family][card] = 100.0 * float(np.mean(np.abs(residuals[family]) <= width))
        errors = (f"{mape[family][card]:.1f} %" for family in FAMILIES)
        rows.append((card, *errors, *(f"{covered[family][card]:.0f} %" for family in FAMILIES)))
    means = (f"{chip_mean(mape[family]):.1f} %" for family in FAMILIES)
    rows.append(("mean of NVIDIA's chips", *means, *(f"{chip_mean(covered[family]):.0f} %" for family in FAMILIES)))
    columns = ("card left out", *FAMILIES, *(f"{family} covered" for family in FAMILIES))
    return Table("Cards left out: data sheet only (goal: GEMM 20 %, coverage 85-95 % on average)", columns, rows)


def chip_mean(by_card: Mapping[str, float]) -> float:
    """Mean over NVIDIA's chips of the mean over each chip's cards."""
    return float(np.mean([np.mean([by_card[card] for card in chip]) for chip in CHIPS]))


def sources(data: Path) -> Table:
    """Fitted to one source's A100, predicting another's, cold."""
    card = datasheet("a100")
    rows, _ = rows_of(card.name, "gemm")
    other = [row for row in vidur.read(data, card)["gemm"][0] if min(row.n, row.k) >= NARROWEST]
    order = np.random.default_rng(0).permutation(len(rows))[: int(FIT_SHARE * len(rows))]
    fitted = fit_kernels("gemm", [rows[i] for i in order], start_at(sheet_of(card, DTYPE), "vllm"))
    fitted_runtime = next(iter(fitted.setup.runtimes))
    other = [row.model_copy(update={"runtime": fitted_runtime}) for row in other]
    found = []
    for label, low, high in (("m < 8", 1, 7), ("m >= 8", 8, 10**9)):
        some = [row for row in other if low <= row.m <= high]
        law, corrected = log_residuals(fitted, some, corrected=False), log_residuals(fitted, some)
        found.append((label, str(len(some)), percent([law]), percent([corrected])))
    columns = ("rows", "count", "law", "corrected")
    return Table("Vidur's A100 from aiconfigurator's, GEMM (goal 12 % for m >= 8)", columns, found)


def models(data: Path) -> Table:
    """Whole models and layers, the host fitted on one row of each."""
    rows = []
    for label, errors in (*shortened_llama(data), *mli_layers(data)):
        worst = 100 * max(abs(np.expm1(e)) for e in errors)
        rows.append((label, str(len(errors)), percent([np.array(errors)]), f"{worst:.1f} %"))
    return Table("Host fitted on one row, kernels from the profile", ("rows", "count", "MAPE", "worst"), rows)


def percent(residuals: Sequence[Any]) -> str:
    """MAPE of log residuals."""
    return f"{make.mape_percent(np.concatenate(residuals).tolist()):.1f} %"


def tables(parts: Sequence[str], cards: Sequence[str], seeds: int, data: Path) -> list[Table]:
    """The tables asked for, in order."""
    known: dict[str, Callable[[], Table]] = {
        "kernels": lambda: kernels(cards, seeds),
        "extrapolate": lambda: extrapolate(cards, seeds),
        "cards": cards_left_out,
        "sources": lambda: sources(data),
        "models": lambda: models(data),
    }
    return [known[part]() for part in parts]


PARTS = ("kernels", "extrapolate", "cards", "sources", "models")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--part", default=",".join(PARTS), help="which tables, separated by commas")
    parser.add_argument("--cards", default=",".join(NVIDIA), help="cards of the first two tables")
    parser.add_argument("--seeds", type=int, default=1, help="random splits to average over")
    options = parser.parse_args()
    cards = [datasheet(name).name for name in options.cards.split(",")]
    for part in options.part.split(","):
        for found in tables([part], cards, options.seeds, options.data):
            print(plain_text(found), flush=True)


def plain_text(found: Table) -> str:
    """A table for a terminal."""
    widths = [max(len(row[i]) for row in (found.columns, *found.rows)) for i in range(len(found.columns))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in (found.columns, *found.rows)
    ]
    return "\n".join([f"\n{found.title}", *lines])


if __name__ == "__main__":
    main()
