"""Profiles of cards that nobody measured: the data sheet, with the law of a calibrated sibling or of all such cards.

`datasheet_prior.json` (made by `python -m calibration.published.datasheet_prior`) holds the mean coefficients over the
cards with published kernels, and intervals from leaving each of those cards out in turn. A card whose chip was
calibrated on another takes that one's coefficients (`chips`); the intervals stay those of cards left out.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from ..laws.coefficients import Sheet
from ..laws.priors import CPU_PRIORS
from .chips import at_memory, memory_ratio, power_factor, shares_waves
from .datasheets import DataSheet, datasheet
from .power import lowered_values, sustained_share
from .prior import datasheet_prior
from .profile import FLOAT8, Coefficient, Profile, RuntimePart, SheetPart

# Runtimes that not every kind of device has.
RUNTIME_KINDS = {"cuda-graph": ("cuda", "rocm"), "torch-compile": ("cuda", "rocm")}
APART = 0.1  # standard deviation between cards of one chip in log units: an assumption
COMPUTE, BANDWIDTH, TILE = "gemm.compute_efficiency", "gemm.bandwidth_efficiency", "gemm.tile_bandwidth"
PRICED = ("bfloat16", "float16", "float32")
TWINS = {"bfloat16": "float16", "float16": "bfloat16"}


def native_dtype(card: DataSheet) -> str:
    """The 16-bit type that the hardware multiplies, bfloat16 first; float32 where it has neither."""
    return next(dtype for dtype in PRICED if dtype in card.peak_flops_per_s)


def sheet_of(card: DataSheet, dtype: str) -> Sheet:
    """Data-sheet constants for one dtype; float16 and bfloat16 stand in for each other where one is not given."""
    rates = card.peak_flops_per_s
    peak = rates.get(dtype) or rates.get(TWINS.get(dtype, "")) or rates["float32"]
    float8 = rates.get(FLOAT8, 0.0)
    return Sheet(peak, card.bandwidth_bytes_per_s, float(card.sm_count), float(card.l2_bytes), float8, card.matrix_rows)


def sheet_part(card: DataSheet) -> SheetPart:
    """The data sheet as a profile keeps it."""
    rates = {dtype: sheet_of(card, dtype).peak_flops_per_s for dtype in PRICED}
    if FLOAT8 in card.peak_flops_per_s:
        rates[FLOAT8] = card.peak_flops_per_s[FLOAT8]
    return SheetPart(
        peak_flops_per_s=rates,  # type: ignore[arg-type]
        bandwidth_bytes_per_s=card.bandwidth_bytes_per_s,
        memory_bytes=float(card.memory_bytes),
        sm_count=float(card.sm_count),
        cache_bytes=float(card.l2_bytes),
        source=card.source[:2000],
        matrix_rows=card.matrix_rows,
    )


def datasheet_profile(card: DataSheet, sibling: Profile | None = None) -> Profile:
    """The profile of a card from its data sheet, with the coefficients of a calibrated sibling if there is one.

    On a CPU one thread dispatches and computes, so host and device time add. Errors of cards left out are NVIDIA's, and
    stand in the profiles of NVIDIA's cards alone. Another maker's GPUs get the interval that those left on the one
    measured card that is not theirs; a CPU, whose law is another, gets none.
    """
    prior = datasheet_prior()
    scores = {} if card.kind == "cpu" else prior["scores"]["nvidia" if card.kind == "cuda" else "other"]
    errors = prior["errors"] if card.kind == "cuda" else []
    dtype = native_dtype(card)
    runtimes = {}
    for name, template in prior["runtimes"].items():
        if card.kind in RUNTIME_KINDS.get(name, (card.kind,)):
            note = _note(card, dtype, template["note"], sibling)
            part = {**template, "conformal_scores": scores.get(name, {}), "note": note}
            # Kernels that are the runtime's own: of a GPU, at the rate that the card is priced at.
            own = template.get("device", {}).get("bfloat16")
            part["device"] = {dtype: own} if own and card.kind != "cpu" else {}
            if card.kind == "cpu":
                loss = {"value": 1.0, "stderr_log": 0.0, "status": "fixed"}
                part["coefficients"] = {**template["coefficients"], "overlap_loss": loss}
            if sibling is not None and name in sibling.runtimes:
                part |= _as_sibling(card, sibling, sibling.runtimes[name], part)
            runtimes[name] = part
    return Profile.model_validate_json(
        json.dumps(
            {
                "schema_version": 2,
                "name": card.name,
                "gpu": card.name,
                "title": card.title,
                "device": {
                    "sheet": sheet_part(card).model_dump(mode="json"),
                    "coefficients": {dtype: _cpu_law() if card.kind == "cpu" else _device_law(card, dtype, sibling)},
                    "corrections": _corrections(card, sibling),
                },
                "runtimes": runtimes,
                "quality": {"kind": "data-sheet", "errors": errors},
                "provenance": {**prior["provenance"], "notes": [*prior["provenance"]["notes"], card.notes[:2000]]},
            }
        )
    )


def _device_law(card: DataSheet, dtype: str, sibling: Profile | None) -> dict[str, Any]:
    """The sibling's law, or the common one, on this card."""
    table: dict[str, Any] = datasheet_prior()["coefficients"]
    if sibling is not None:
        table = _guessed(card, sibling, sibling.device.coefficients.get("bfloat16", {}))
    return _on_card(card, dtype, sibling, table)


def _on_card(card: DataSheet, dtype: str, sibling: Profile | None, table: dict[str, Any]) -> dict[str, Any]:
    """Coefficients with what follows from the card's own sheet.

    Rates of arithmetic as its watts a multiprocessor sustain them: a calibrated card that its power limit binds says
    nothing of the rate without one, so that the common law's is taken, as far as the watts carry it. What one
    multiprocessor loads is its own and no share of the bandwidth (of a sibling: `at_memory`). And no rate puts the
    card behind a calibrated one that its sheet is ahead of, or before one that its sheet is behind.
    """
    prior, sheet, values = datasheet_prior(), sheet_of(card, dtype), {name: one["value"] for name, one in table.items()}
    share = sustained_share(card, sheet.peak_flops_per_s)
    if sibling is not None and COMPUTE in values:
        bound = prior["sustained"].get(card.architecture, {}).get("card") == sibling.gpu
        if bound and not (share is None and _alike(card, sibling)):
            values[COMPUTE] = prior["coefficients"][COMPUTE]["value"]
        else:
            values[COMPUTE] *= power_factor(card, datasheet(sibling.gpu))
    if sibling is None:
        values[TILE] = prior["tile_bytes_per_s"] * sheet.sm_count / sheet.bandwidth_bytes_per_s
    moved = {name: {**one, "value": values[name]} for name, one in table.items()}
    if share is not None:
        moved = lowered_values(moved, share)
    for name, most in ((BANDWIDTH, sheet.bandwidth_bytes_per_s), (COMPUTE, sheet.peak_flops_per_s)):
        if name in moved:
            moved[name] = {**moved[name], "value": _in_order(card, name, moved[name]["value"] * most) / most}
    return moved


def _alike(card: DataSheet, sibling: Profile) -> bool:
    """Whether a multiprocessor of both has about the same peak."""
    theirs = datasheet(sibling.gpu)
    return math.isclose(card.peak_16_bit / card.sm_count, theirs.peak_16_bit / theirs.sm_count, rel_tol=0.05)


def _in_order(card: DataSheet, name: str, rate: float) -> float:
    """A rate no lower than that of a calibrated card behind this one by its sheet, and no higher than of one ahead."""
    low, high = 0.0, math.inf
    for other, reached in datasheet_prior()["reached"].items():
        if card.is_ahead_of(datasheet(other)):
            low = max(low, reached[name])
        elif datasheet(other).is_ahead_of(card):
            high = min(high, reached[name])
    return max(min(rate, high), low)


def _as_sibling(card: DataSheet, sibling: Profile, theirs: RuntimePart, mine: dict[str, Any]) -> dict[str, Any]:
    """What a runtime has of the sibling's: its kernels, the gaps between them, and where a graph is replayed its host.

    The host of a runtime that launches kernels one by one is no property of the chip: it stays a guess.
    """
    dtype = native_dtype(card)
    coefficients = _guessed(card, sibling, theirs.coefficients)
    if mine["implementation"] == "transformers":
        coefficients = {**mine["coefficients"], "gap_s": coefficients["gap_s"]}
    own = {
        name: _on_card(card, dtype, sibling, _guessed(card, sibling, table)) for name, table in theirs.device.items()
    }
    corrected = list(theirs.corrected) if shares_waves(card, datasheet(sibling.gpu)) else []
    return {"coefficients": coefficients, "device": own, "corrected": corrected}


def _guessed(card: DataSheet, sibling: Profile, table: Mapping[str, Coefficient]) -> dict[str, Any]:
    """Another card's coefficients at this one's memory: not fitted, and no surer than two cards of a chip are alike."""
    return {
        name: {"value": one.value, "stderr_log": math.hypot(one.stderr_log, APART), "status": "prior"}
        if one.value > 0.0 and one.status != "fixed" else one.model_dump(mode="json")
        for name, one in at_memory(table, memory_ratio(sibling.device.sheet, sheet_part(card))).items()
    }  # fmt: skip


def _corrections(card: DataSheet, sibling: Profile | None) -> dict[str, Any]:
    """The sibling's learned correction of 16-bit products, where the card has its multiprocessors and its cache."""
    if sibling is None or not shares_waves(card, datasheet(sibling.gpu)):
        return {}
    kept = sibling.device.corrections.get("bfloat16", {})
    return {"bfloat16": {family: part.model_dump(mode="json") for family, part in kept.items()}} if kept else {}


def _cpu_law() -> dict[str, Any]:
    """No CPU's kernels are published: the priors of its law."""
    table = {}
    for name, prior in CPU_PRIORS.items():
        table[name] = {"value": prior.value, "stderr_log": prior.spread, "status": "prior"}
    return table


def _note(card: DataSheet, dtype: str, host: str, sibling: Profile | None) -> str:
    others = {"cpu": "priors", "cuda": "what calibrated cards reach of theirs"}.get(
        card.kind, "what calibrated cards, all NVIDIA's, reach of theirs (a guess: of other makers one card was tried)"
    )
    if sibling is not None:
        others = f"what {sibling.title}, of the same chip, reaches of its own"
    parts = [f"{card.title} is uncalibrated: its data sheet with {others}"]
    if dtype != "bfloat16":
        parts.append(f"no bfloat16 in its hardware: priced at the {dtype} rate, as extrapolated; use --dtype {dtype}")
    share = sustained_share(card, sheet_of(card, dtype).peak_flops_per_s)
    if share is not None and share < datasheet_prior()["coefficients"]["gemm.compute_efficiency"]["value"]:
        parts.append(
            f"long products at {100 * share:.0f} % of the peak, what {card.power_limit_w:.0f} W sustain "
            f"by the watts a multiprocessor of {datasheet_prior()['sustained'][card.architecture]['card']}: an estimate"
        )
    return "; ".join([*parts, host.replace("{gpu}", card.name)])
