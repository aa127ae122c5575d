"""What a power limit leaves of a device's peak in long matrix products.

A board that cannot feed its multiprocessors at the sheet's clock lowers clock and voltage until it can. With power as
f · V² and a voltage that grows with the clock f, the rate goes with power to an exponent between 1/3 (V ∝ f) and 1 (V
at its floor); `EXPONENT` lies between. What a multiprocessor sustains at so many watts is that of a fitted card of the
same architecture (`datasheet_prior.json`, `sustained`). Reading memory takes little power: decode of a small batch is
untouched.
"""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .datasheets import DataSheet, datasheet
from .prior import datasheet_prior
from .profile import Coefficient, Profile

EXPONENT = 2.0 / 3.0
LOWEST = 0.2  # of the sheet's power: an assumption; drivers differ in the lowest limit that they take
# Coefficients that a power limit lowers: rates of long products and of a prompt's attention (of llama.cpp, a ratio to
# the products').
BOUND = ("gemm.compute_efficiency", "prefill.compute_efficiency", "ggml.product_flops_per_s")


def sustained_share(card: DataSheet, peak_flops_per_s: float) -> float | None:
    """Share of the peak that long 16-bit products sustain within the sheet's power limit, where a fitted card tells.

    r · (w / w₀)^(2/3) · multiprocessors / peak: w watts a multiprocessor, and r FLOP/s of one at w₀ watts on a card of
    the same architecture whose limit binds. None where the sheet has no power or no such card is known.
    """
    fitted = datasheet_prior()["sustained"].get(card.architecture)
    if card.power_limit_w is None or fitted is None:
        return None
    watts = card.power_limit_w / card.sm_count
    rate = fitted["flops_per_s_per_sm"] * (watts / fitted["watts_per_sm"]) ** EXPONENT
    return float(rate * card.sm_count / peak_flops_per_s)


def lowered_values(values: Mapping[str, float], share: float) -> dict[str, float]:
    """Coefficients of which no rate of arithmetic is above `share` of the peak."""
    return {name: min(value, share) if name in BOUND else value for name, value in values.items()}


def with_power_limit(profile: Profile, power_w: float) -> Profile:
    """The profile of the same card under a lower limit, in watts: rates of arithmetic times (limit / sheet's)^(2/3).

    A card that its sheet's limit does not bind loses less than that: the answer is then the slower end. Intervals of
    prefill and response widen by what the exponent may be, from 1/3 to 1: log(sheet's / limit) / 3.

    Raises:
        UsageError: the card's power is not known from a source, or the limit is outside its range.
    """
    card = datasheet(profile.gpu)
    if card.power_limit_w is None or not card.power_source:
        raise UsageError(f"--power-limit: no sourced power limit of {card.title} is known; leave the option out")
    low, high = LOWEST * card.power_limit_w, card.power_limit_w
    if not low <= power_w <= high:
        raise UsageError(f"--power-limit: {card.title} takes {low:.0f} to {high:.0f} W, not {power_w:g} W")
    factor = (power_w / card.power_limit_w) ** EXPONENT
    wider = math.log(card.power_limit_w / power_w) / 3.0
    note = f"at {power_w:g} of {card.power_limit_w:g} W long products are priced {100 * (1 - factor):.0f} % slower"
    runtimes = {
        name: part.model_copy(
            update={
                "device": _scaled(part.device, factor),
                "formats": _scaled(part.formats, factor),
                "note": "; ".join(filter(None, (part.note, note))),
                "conformal_scores": {
                    phase: [score + (wider if phase != "decode" else 0.0) for score in scores]
                    for phase, scores in part.conformal_scores.items()
                },
            }
        )
        for name, part in profile.runtimes.items()
    }
    device = profile.device.model_copy(update={"coefficients": _scaled(profile.device.coefficients, factor)})
    return profile.model_copy(update={"device": device, "runtimes": runtimes})


def _scaled(tables: Mapping[Any, Mapping[str, Coefficient]], factor: float) -> dict[Any, dict[str, Coefficient]]:
    return {
        dtype: {
            name: one.model_copy(update={"value": one.value * factor}) if name in BOUND else one
            for name, one in table.items()
        }
        for dtype, table in tables.items()
    }
