"""Which calibrated card stands for one that is known by its data sheet alone: the one that has its chip.

Cards of one chip have the same multiprocessors, kernels and libraries, so that they reach like shares of their sheets;
a law pooled over all chips would put a card behind, or before, a sibling that was measured. (Other chips of its
architecture were tried as well: 648 products of an RTX 4090 are 4.3 % off by the L40S's law and 5.9 % by the common
one, layers of an L4 6.5 and 7.0 %, but then each architecture's measured share of the peak decides which card is ahead:
an RTX 4070 would outrun an RTX 5070 by 10 %.)
"""

import math
from collections.abc import Mapping

from .datasheets import DataSheet
from .prior import datasheet_prior

# Chip → the calibrated card of it, which has a packaged profile, and cards that have none. Those of consumers stand
# apart: GDDR6X without error correction, and half the rate where sums are float32.
CHIPS = {
    "GA100": ("nvidia-a100-sxm4-80gb", ("nvidia-a100-sxm4-40gb", "nvidia-a100-80gb-pcie", "nvidia-a100-pcie-40gb",
                                        "nvidia-a30")),
    "GA102": ("nvidia-a40", ("nvidia-a10", "nvidia-a10g", "nvidia-rtx-a5000", "nvidia-rtx-a6000")),
    "GA102 (GeForce)": ("nvidia-geforce-rtx-3090", ("nvidia-geforce-rtx-3080", "nvidia-geforce-rtx-3080-12gb",
                                                    "nvidia-geforce-rtx-3080-ti", "nvidia-geforce-rtx-3090-ti")),
    "AD102": ("nvidia-l40s", ("nvidia-l40", "nvidia-rtx-6000-ada-generation")),
    "GH100": ("nvidia-h100-80gb-hbm3", ("nvidia-h100-pcie", "nvidia-h100-nvl", "nvidia-h200-nvl",
                                        "nvidia-gh200-480gb")),
    "GB202": ("nvidia-rtx-pro-6000-blackwell-server-edition",
              ("nvidia-rtx-pro-6000-blackwell-workstation-edition",
               "nvidia-rtx-pro-6000-blackwell-max-q-workstation-edition", "nvidia-geforce-rtx-5090")),
    "BMG-G21": ("intel-arc-pro-b60-graphics", ("intel-arc-b580-graphics",)),
}  # fmt: skip
SHARES = ("gemm", "prefill", "decode", "pointwise")  # families with a share of the data sheet's bandwidth
IDLE = ("decode.idle_split", "decode.idle_whole")  # bandwidth that few tiles cannot draw, against what many draw
# A sibling that has fewer watts a multiprocessor than a card that its own limit does not bind is somewhere between
# untouched and (watts / watts)^(2/3) (`power.EXPONENT`): the middle of both.
UNBOUND_EXPONENT = 1.0 / 3.0


def sibling_of(card: DataSheet) -> str | None:
    """The name of the calibrated card that has the chip of `card`; None where none was calibrated."""
    return next((calibrated for calibrated, cards in CHIPS.values() if card.name in cards), None)


def power_factor(card: DataSheet, sibling: DataSheet) -> float:
    """Factor on the sibling's share of the peak for the card's fewer watts a multiprocessor; 1 where not known."""
    if card.power_limit_w is None or sibling.power_limit_w is None:
        return 1.0
    watts = (card.power_limit_w / card.sm_count) / (sibling.power_limit_w / sibling.sm_count)
    return math.pow(min(watts, 1.0), UNBOUND_EXPONENT)


def shares_waves(card: DataSheet, sibling: DataSheet) -> bool:
    """Whether tiles and caches fall alike on both, so that a learned correction of one holds for the other."""
    return (card.sm_count, card.l2_bytes) == (sibling.sm_count, sibling.l2_bytes)


def memory_ratio(measured: DataSheet, other: DataSheet) -> float:
    """Bandwidth a multiprocessor on the measured card against that on the other."""
    theirs, mine = (card.bandwidth_bytes_per_s / card.sm_count for card in (measured, other))
    return theirs / mine


def at_memory(values: Mapping[str, float], ratio: float) -> dict[str, float]:
    """Coefficients of a measured card on another of its chip that has `ratio` times less bandwidth a multiprocessor.

    What a multiprocessor asks for is the chip's, what the memory gives is the card's. A share e of a bandwidth B is
    the lesser of both. On a slower memory b the chip asks for as much as it did, e · B, and gets at most the larger of
    e and the share that calibrated cards have in common. On a faster one e stays. What a single tile draws (and what
    few tiles leave idle) is the chip's: so many bytes a second, whatever the memory. (An A100 of 80 GB draws 0.77 of
    its 2.04 TB/s in products of few rows. One of 40 GB draws more than that share of its 1.56: whole models there are
    12 % too slow otherwise; argonne-lcf/LLM-Inference-Bench@4211f5d, batch 1.)
    """
    common = datasheet_prior()["coefficients"]
    moved = dict(values)
    for family in SHARES:
        name = f"{family}.bandwidth_efficiency"
        if name in values and ratio > 1.0:
            moved[name] = min(values[name] * ratio, max(values[name], common[name]["value"]))
    if "gemm.tile_bandwidth" in values:
        moved["gemm.tile_bandwidth"] = values["gemm.tile_bandwidth"] * ratio
    for name in IDLE:
        if name in values:
            key = "decode.bandwidth_efficiency"
            drawn = moved[key] / values[key] if key in values else 1.0
            moved[name] = values[name] * drawn / ratio
    return moved
