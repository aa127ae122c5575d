"""Profiles of cards that nobody measured: the data sheet, with the law that calibrated cards have in common.

`datasheet_prior.json` (made by `python -m calibration.published.datasheet_prior`) holds the mean coefficients over the
cards with published kernels, and intervals from leaving each of those cards out in turn.
"""

import json
from typing import Any

from ..laws.coefficients import Sheet
from ..laws.priors import CPU_PRIORS
from .datasheets import DataSheet
from .power import lowered_values, sustained_share
from .prior import datasheet_prior
from .profile import FLOAT8, Profile, SheetPart

RUNTIME_KINDS = {"cuda-graph": ("cuda", "rocm")}  # runtimes that not every kind of device has
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
    return Sheet(peak, card.bandwidth_bytes_per_s, float(card.sm_count), float(card.l2_bytes), float8)


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
    )


def datasheet_profile(card: DataSheet) -> Profile:
    """The profile of a card from its data sheet alone.

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
            part = {**template, "conformal_scores": scores.get(name, {}), "note": _note(card, dtype, template["note"])}
            # Kernels that are the runtime's own: of a GPU, at the rate that the card is priced at.
            own = template.get("device", {}).get("bfloat16")
            part["device"] = {dtype: own} if own and card.kind != "cpu" else {}
            if card.kind == "cpu":
                loss = {"value": 1.0, "stderr_log": 0.0, "status": "fixed"}
                part["coefficients"] = {**template["coefficients"], "overlap_loss": loss}
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
                    "coefficients": {dtype: _cpu_law() if card.kind == "cpu" else _device_law(card, dtype)},
                },
                "runtimes": runtimes,
                "quality": {"kind": "data-sheet", "errors": errors},
                "provenance": {**prior["provenance"], "notes": [*prior["provenance"]["notes"], card.notes[:2000]]},
            }
        )
    )


def _device_law(card: DataSheet, dtype: str) -> dict[str, Any]:
    """The common law; where the card's power limit leaves less of the peak than calibrated cards sustain, that."""
    table: dict[str, Any] = datasheet_prior()["coefficients"]
    share = sustained_share(card, sheet_of(card, dtype).peak_flops_per_s)
    return table if share is None else lowered_values(table, share)


def _cpu_law() -> dict[str, Any]:
    """No CPU's kernels are published: the priors of its law."""
    table = {}
    for name, prior in CPU_PRIORS.items():
        table[name] = {"value": prior.value, "stderr_log": prior.spread, "status": "prior"}
    return table


def _note(card: DataSheet, dtype: str, host: str) -> str:
    others = {"cpu": "priors", "cuda": "what calibrated cards reach of theirs"}.get(
        card.kind, "what calibrated cards, all NVIDIA's, reach of theirs (a guess: of other makers one card was tried)"
    )
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
