"""Profiles of cards that nobody measured: the data sheet, with the law of a calibrated sibling or of all such cards.

`datasheet_prior.json` (made by `python -m calibration.published.datasheet_prior`) holds the mean coefficients over the
cards with published kernels, and intervals from leaving each of those cards out in turn. A card whose chip was
calibrated on another takes that one's coefficients (`chips`, `card_law`); the intervals stay those of cards left out,
but for a runtime that only siblings have.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from ..laws.priors import CPU_PRIORS
from .card_law import PRICED, eager_floors, law_values, native_dtype, sheet_of
from .chips import shares_waves
from .datasheets import DataSheet, datasheet
from .power import sustained_share
from .prior import datasheet_prior
from .profile import FLOAT8, Coefficient, Profile, RuntimePart, SheetPart

# Runtimes that not every kind of device has.
RUNTIME_KINDS = {"cuda-graph": ("cuda", "rocm"), "torch-compile": ("cuda", "rocm")}
# Runtimes that a card has only where a sibling's kernels were timed in them.
FROM_SIBLINGS = ("vllm",)
APART = 0.1  # standard deviation between cards of one chip in log units: an assumption
# Factor on the errors of what was derived from another card or runtime and not measured, in log units.
DERIVED = 2.0


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
    errors = prior["errors"] if card.kind == "cuda" else []
    dtype = native_dtype(card)
    law = _cpu_law() if card.kind == "cpu" else _device_law(card, sibling)
    return Profile.model_validate_json(
        json.dumps(
            {
                "schema_version": 2,
                "name": card.name,
                "gpu": card.name,
                "title": card.title,
                "device": {
                    "sheet": sheet_part(card).model_dump(mode="json"),
                    "coefficients": {dtype: law},
                    "corrections": _corrections(card, sibling),
                },
                "runtimes": _runtimes(card, sibling, law),
                "quality": {"kind": "data-sheet", "errors": errors},
                "provenance": {**prior["provenance"], "notes": [*prior["provenance"]["notes"], card.notes[:2000]]},
            }
        )
    )


def _runtimes(card: DataSheet, sibling: Profile | None, law: Mapping[str, Any]) -> dict[str, Any]:
    """Those of every such card, and those that a sibling's kernels were timed in."""
    prior, dtype = datasheet_prior(), native_dtype(card)
    scores = {} if card.kind == "cpu" else prior["scores"]["nvidia" if card.kind == "cuda" else "other"]
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
            if name == "transformers-eager" and card.kind != "cpu":
                part["device"] = {dtype: _eager_kernels(card, law, part)}
            runtimes[name] = part
    for name in FROM_SIBLINGS:
        if sibling is not None and name in sibling.runtimes:
            runtimes[name] = _derived(card, sibling, sibling.runtimes[name])
    return runtimes


def _eager_kernels(card: DataSheet, law: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """The runtime's own kernels, with the shortest ones of eager mode."""
    own: dict[str, Any] = next(iter(part["device"].values()), {})
    table, gap_s = {**law, **own}, part["coefficients"]["gap_s"]["value"]
    floors = {name: table[name]["value"] for name in ("gemm.floor_s", "pointwise.floor_s")}
    least = eager_floors(card, floors, gap_s)
    return own | {name: {**table[name], "value": s} for name, s in least.items() if s != floors[name]}


def _device_law(card: DataSheet, sibling: Profile | None) -> dict[str, Any]:
    """The sibling's law, or the common one, on this card."""
    if sibling is not None:
        return _guessed(card, sibling, sibling.device.coefficients.get("bfloat16", {}))
    table: dict[str, Any] = datasheet_prior()["coefficients"]
    values = law_values(card, None, {name: one["value"] for name, one in table.items()})
    return {name: {**one, "value": values[name]} for name, one in table.items()}


def _as_sibling(card: DataSheet, sibling: Profile, theirs: RuntimePart, mine: dict[str, Any]) -> dict[str, Any]:
    """What a runtime has of the sibling's: its kernels, the gaps between them, and where a graph is replayed its host.

    The host of a runtime that launches kernels one by one is no property of the chip: it stays a guess.
    """
    coefficients = _guessed(card, sibling, theirs.coefficients)
    if mine["implementation"] == "transformers":
        coefficients = {**mine["coefficients"], "gap_s": coefficients["gap_s"]}
    own = {name: _guessed(card, sibling, table) for name, table in theirs.device.items()}
    return {"coefficients": coefficients, "device": own, "corrected": _corrected(card, sibling, theirs)}


def _derived(card: DataSheet, sibling: Profile, theirs: RuntimePart) -> dict[str, Any]:
    """A whole runtime of a card of the same chip, whose kernels were timed in it, with twice that one's errors."""
    part = theirs.model_dump(mode="json")
    own = {name: _guessed(card, sibling, table) for name, table in theirs.device.items()}
    note = f"kernels and step of {sibling.title}, the same chip, on the data sheet of {card.title}: derived, not timed"
    return {
        **part,
        "coefficients": _guessed(card, sibling, theirs.coefficients),
        "device": own,
        "corrected": _corrected(card, sibling, theirs),
        "note": "; ".join([_note(card, native_dtype(card), part["note"], sibling), note]),
        "conformal_scores": derived_scores(theirs),
    }


def derived_scores(source: RuntimePart) -> dict[Any, list[float]]:
    """|log residuals| of a runtime that was derived from another one, not measured: `DERIVED` times its."""
    return {phase: [DERIVED * score for score in scores] for phase, scores in source.conformal_scores.items()}


def _corrected(card: DataSheet, sibling: Profile, theirs: RuntimePart) -> list[str]:
    return list(theirs.corrected) if shares_waves(card, datasheet(sibling.gpu)) else []


def _guessed(card: DataSheet, sibling: Profile, table: Mapping[str, Coefficient]) -> dict[str, Any]:
    """Another card's coefficients on this one: not fitted, and no surer than two cards of a chip are alike."""
    values = law_values(card, datasheet(sibling.gpu), {name: one.value for name, one in table.items()})
    return {
        name: {"value": values[name], "stderr_log": math.hypot(one.stderr_log, APART), "status": "prior"}
        if one.value > 0.0 and one.status != "fixed" else {**one.model_dump(mode="json"), "value": values[name]}
        for name, one in table.items()
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
