"""Make `latmodel/device/datasheet_prior.json`: what calibrated cards share, and how far a card strays from that.

One law fitted to the kernels of all published cards at once, and leave-one-chip-out: each card's kernels predicted
from its data sheet and a law fitted to the cards of other chips. NVIDIA cards take the errors of all chips, each chip
weighing the same, for their interval; other makers' those of the one card that is not NVIDIA's, predicted from
NVIDIA's.
"""

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from latmodel.device.card_law import TILE, TIMES, full_rates
from latmodel.device.datasheets import datasheet
from latmodel.device.hosts import is_measured
from latmodel.device.profile import Phase, Profile
from latmodel.device.profile_file import read_profile
from latmodel.laws.coefficients import Sheet
from latmodel.laws.priors import DEVICE_PRIORS, PYTORCH_ONLY

from ..fit import make
from ..fit.fit import fit
from ..fit.kernels import FAMILIES, Kernels, family_priors, log_residuals, start_at, values_of
from ..fit.setup import Setup
from ..observations.evidence import Evidence
from ..observations.operators import OperatorObservation, operator_evidence
from ..sources import aiconfigurator
from . import compiled
from .hosts import host_runtimes
from .whole_blocks import BLOCK_PHASES, Vector, blocks_by_phase

DTYPE: Literal["bfloat16"] = "bfloat16"
# Cards by chip: an H200 is an H100 with other memory. The B300, GB200 and GB300 are the B200 once more.
CHIPS = (
    ("nvidia-a100-sxm4-80gb",), ("nvidia-h100-80gb-hbm3", "nvidia-h200"), ("nvidia-b200",), ("nvidia-l40s",),
    ("nvidia-rtx-pro-6000-blackwell-server-edition",),
)  # fmt: skip
NVIDIA = tuple(card for chip in CHIPS for card in chip)
PATH = Path("latmodel/device/datasheet_prior.json")
OTHER = "intel-arc-pro-b60-graphics"
ROWS = 3000  # of each family and card, to judge by
CHIP_SCORES = 60  # of each chip and phase, evenly by rank
POOLED_ROWS = 400  # of each, to fit by
POOLED_NOISE = 0.15  # one law for all cards is off by this much
LEAST_SPREAD = 0.05
NARROWEST = 256
EAGER, SHORTEST = "transformers-eager", ("gemm.floor_s", "pointwise.floor_s")
UNBOUND = 0.85  # share of the peak from which a card is not held back by its power limit


def sample(card: str, family: str, count: int) -> list[OperatorObservation]:
    """Some rows of a card's family: without windows, and no product narrower than `NARROWEST`."""
    rows = aiconfigurator.read(card, family).rows
    rows = [r for r in rows if not r.window and (r.op != "gemm" or min(r.n, r.k) >= NARROWEST)]
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:count]]


def on_sheet(piece: Evidence, sheet: Sheet) -> Evidence:
    """The same rows, predicted on their own card whatever the fit's."""
    return replace(piece, predict=lambda target: piece.predict(target._replace(sheet=sheet)))


def pooled(cards: Sequence[str], family: str) -> Setup:
    """One law for all of the cards: each row on its own data sheet, the coefficients shared."""
    pieces = []
    for card in cards:
        rows = [row.model_copy(update={"noise": POOLED_NOISE}) for row in sample(card, family, POOLED_ROWS)]
        sheet = make.sheet_of(datasheet(card), DTYPE)
        pieces += [on_sheet(piece, sheet) for piece in operator_evidence(rows)]
    return fit(pieces, start_at(sheet, rows[0].runtime), family_priors(family, hot=True)).setup


def card_residuals(card: str, others: Sequence[str]) -> dict[str, np.ndarray]:
    """log(predicted / measured) by family of a card's kernels, from its data sheet and the law of the other cards."""
    residuals: dict[str, np.ndarray] = {}
    for family in FAMILIES:
        setup = replace(pooled(others, family), sheet=make.sheet_of(datasheet(card), DTYPE))
        residuals[family] = log_residuals(Kernels(family, setup, {}), sample(card, family, ROWS))
    return residuals


def common(cards: Sequence[str], profiles: Sequence[Profile]) -> dict[str, tuple[float, float]]:
    """Each device coefficient of all cards' common law, and its spread over the cards in log units."""
    shared = {}
    law: dict[str, float] = {}
    for family in FAMILIES:
        law |= values_of(Kernels(family, pooled(cards, family), {}))
    for name, prior in DEVICE_PRIORS.items():
        if name in PYTORCH_ONLY:
            continue
        values = [p.device.coefficients[DTYPE][name].value for p in profiles]
        value = law.get(name, prior.value)
        # A yes or no is no size; what no published kernel shows is the prior's in every profile, which is no agreement.
        fixed = min(values) <= 0.0 or prior.spread == 0.0 or min(values) == max(values)
        shared[name] = (value, prior.spread if fixed else max(float(np.std(np.log(values), ddof=1)), LEAST_SPREAD))
    return shared


def phase_residuals(card: str, residuals: Mapping[str, Any]) -> dict[Phase, Vector]:
    """log(predicted / measured) of whole blocks by phase, from those of a card's kernels."""
    rows = [row.m for row in sample(card, "gemm", ROWS)]
    return blocks_by_phase(rows, residuals["gemm"], {phase: residuals[phase] for phase in BLOCK_PHASES})


def thinned(residuals: Vector, count: int) -> Vector:
    """Evenly by rank, `count` of them at most."""
    ordered = np.sort(residuals)
    return ordered[np.linspace(0, len(ordered) - 1, count).astype(int)] if len(ordered) > count else ordered


def other_chips(*cards: str) -> list[str]:
    """NVIDIA cards of chips that none of `cards` has."""
    return [card for chip in CHIPS if not set(chip) & set(cards) for card in chip]


def chip_residuals(residuals: Mapping[str, Vector]) -> Vector:
    """Residuals by card as one sample in which every chip weighs the same, however many rows and cards it has.

    Its quantiles are those of the mean of the chips' distributions (pooling CDFs; Dunn, Wasserman, Ramdas 2022,
    "Distribution-Free Prediction Sets for Two-Layer Hierarchical Models"). A row of a chip like these, drawn at random,
    is then covered about as often as the level says; a single chip may be covered much more or less, and five chips
    can promise none of them 90 %.
    """
    each = [thinned(residuals[card], CHIP_SCORES // len(chip)) for chip in CHIPS for card in chip if card in residuals]
    return np.concatenate(each)


def pooled_phases(tables: Mapping[str, Mapping[Phase, Vector]]) -> dict[Phase, Vector]:
    """`chip_residuals` by phase, from each card's by phase."""
    phases = next(iter(tables.values()))
    return {phase: chip_residuals({card: table[phase] for card, table in tables.items()}) for phase in phases}


def sustained(profiles: Sequence[Profile]) -> dict[str, dict[str, Any]]:
    """What a multiprocessor sustains in long 16-bit products, and at which power, by architecture.

    Of the cards whose power limit binds: one that sustains nearly its peak is held back by something else. Of several
    the one that makes most of its power.
    """
    best: dict[str, dict[str, Any]] = {}
    for profile in profiles:
        card = datasheet(profile.gpu)
        efficiency = profile.device.coefficients[DTYPE]["gemm.compute_efficiency"].value
        if card.power_limit_w is None or efficiency > UNBOUND:
            continue
        rate, watts = efficiency * card.peak_flops_per_s[DTYPE] / card.sm_count, card.power_limit_w / card.sm_count
        kept = best.get(card.architecture)
        if kept is None or rate / watts > kept["flops_per_s_per_sm"] / kept["watts_per_sm"]:
            row = {"flops_per_s_per_sm": float(f"{rate:.4g}"), "watts_per_sm": float(f"{watts:.4g}")}
            best[card.architecture] = {**row, "card": profile.gpu}
    return best


def measured(profiles: Sequence[Profile]) -> dict[str, Any]:
    """What calibrated cards reach in PyTorch's kernels, in SI units; the shortest ones where eager mode was timed, with
    the gap after them; and what one multiprocessor loads alone.

    The last is alike on all chips (31 to 109 GB/s) where its share of the bandwidth is not (1.3 to 6.3); the mean is
    over chips whose kernels show it.
    """
    reached, loaded, floors = {}, [], {}
    for profile in profiles:
        full, table = full_rates(profile.sheet(DTYPE)), profile.device_table(DTYPE, compiled.GRAPH)[0]
        full_of = full | dict.fromkeys(TIMES, 1.0)
        reached[profile.gpu] = {name: float(f"{table[name].value * most:.4g}") for name, most in full_of.items()}
        if profile.gpu in [cards[0] for cards in CHIPS]:
            loaded.append(profile.device.coefficients[DTYPE][TILE].value * full[TILE])
        if (eager := profile.runtimes.get(EAGER)) is not None and is_measured(eager):
            own, gap_s = profile.device_table(DTYPE, EAGER)[0], eager.coefficients["gap_s"].value
            floors[profile.gpu] = {name: float(f"{own[name].value + gap_s:.4g}") for name in SHORTEST}
    tile = float(f"{np.exp(np.mean(np.log(loaded))):.4g}")
    return {"reached": reached, "eager_floors": floors, "tile_bytes_per_s": tile}


def build(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The file's content, and lines that say what leaving each card out showed."""
    left_out = {}
    for name in (*NVIDIA, OTHER):
        left_out[name] = card_residuals(name, other_chips(name))
    lines = [
        f"{name:50s} " + "  ".join(f"{f} {make.mape_percent(r.tolist()):5.1f} %" for f, r in residuals.items())
        for name, residuals in left_out.items()
    ]
    spread = common(NVIDIA, [read_profile(folder / f"{name}.json") for name in NVIDIA])
    scores = {
        "nvidia": pooled_phases({name: phase_residuals(name, left_out[name]) for name in NVIDIA}),
        "other": phase_residuals(OTHER, left_out[OTHER]),
    }
    content = _content(spread, scores, left_out)
    provenance = content.pop("provenance")
    cards = [read_profile(path) for path in sorted(folder.glob("nvidia-*.json"))]
    every = [read_profile(path) for path in sorted(folder.glob("*.json"))]
    return {**content, "sustained": sustained(cards), **measured(every), "provenance": provenance}, lines


def _content(
    spread: Mapping[str, tuple[float, float]],
    scores: Mapping[str, Mapping[Phase, Vector]],
    left_out: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    runtimes = {who: host_runtimes("{gpu}", some, {}, [], beyond=1.0) for who, some in scores.items()}
    rate = spread[compiled.RATE][0]
    for parts in runtimes.values():
        parts[compiled.RUNTIME] = compiled.compiled_part(parts[compiled.GRAPH], "{gpu}", rate)
    kept = ("transformers-eager", compiled.GRAPH, compiled.RUNTIME)
    errors = [
        {
            "split": "out of sample (leave one chip out, data sheet only)", "phase": family,
            "rows": sum(len(left_out[name][family]) for name in NVIDIA),
            "mape_percent": round(float(np.mean([make.mape_percent(left_out[n][family].tolist()) for n in NVIDIA])), 2),
        }
        for family in FAMILIES
    ]  # fmt: skip
    return {
        "coefficients": {
            name: {"value": float(f"{value:.4g}"), "stderr_log": float(f"{error:.3g}"), "status": "prior"}
            for name, (value, error) in spread.items()
        },
        "scores": {
            who: {name: parts[name].model_dump(mode="json")["conformal_scores"] for name in kept}
            for who, parts in runtimes.items()
        },
        "runtimes": {
            name: runtimes["nvidia"][name].model_dump(mode="json", exclude={"conformal_scores"}) for name in kept
        },
        "errors": errors,
        "provenance": {
            "source": f"data sheet; one law fitted to the kernels of {', '.join(NVIDIA)}",
            "date": datetime.date.today().isoformat(), "rows": "none of this card",
            "made_by": "python -m calibration.published.datasheet_prior",
            "notes": ["uncalibrated: run `latmodel calibrate` on the card, or `latmodel fit` on times of your own"],
        },
    }  # fmt: skip


def write(profiles: Path, path: Path) -> None:
    """Fit to the cards of the folder of profiles, write the file, print what leaving each card out showed."""
    content, lines = build(profiles)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Write the file and print what leaving each card out showed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=Path, default=Path("profiles"))
    parser.add_argument("--out", type=Path, default=PATH)
    options = parser.parse_args()
    write(options.profiles, options.out)


if __name__ == "__main__":
    main()
