"""What a card that nobody measured reaches: another card's coefficients, or all cards' common ones, on its own sheet.

No rate puts a card behind a calibrated one that its sheet is ahead of, or before one that its sheet is behind. A card
with the common law is held between those with a calibrated sibling too; what no figure of a sheet scales (`TIMES`) is
no longer on it than on a calibrated card that it is ahead of, and in eager mode no shorter than on one ahead of it.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache

from ..laws.coefficients import Sheet
from .chips import at_memory, memory_ratio, power_factor, sibling_of
from .datasheets import DataSheet, datasheet, datasheets
from .power import lowered_values, sustained_share
from .prior import datasheet_prior
from .profile import FLOAT8

COMPUTE, BANDWIDTH, TILE = "gemm.compute_efficiency", "gemm.bandwidth_efficiency", "gemm.tile_bandwidth"
TIMES = ("gemm.floor_s", "gemm.split_k_s", "pointwise.summed_s")
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
    return Sheet(
        peak, card.bandwidth_bytes_per_s, float(card.sm_count), float(card.l2_bytes), float8, card.matrix_rows,
        peak / rates["float32"],
    )  # fmt: skip


def full_rates(sheet: Sheet) -> dict[str, float]:
    """What a coefficient of 1 stands for, in SI units: FLOP/s, bytes/s, bytes/s of one multiprocessor."""
    bandwidth = sheet.bandwidth_bytes_per_s
    return {COMPUTE: sheet.peak_flops_per_s, BANDWIDTH: bandwidth, TILE: bandwidth / sheet.sm_count}


def law_values(card: DataSheet, sibling: DataSheet | None, values: Mapping[str, float]) -> dict[str, float]:
    """Coefficients of a calibrated sibling (None: all cards' common ones) with what follows from the card's own sheet.

    What its memory gives: `at_memory`; of the common law, what one multiprocessor loads is its own and no share of the
    bandwidth. Rates of arithmetic as its watts a multiprocessor sustain them: a calibrated card that its power limit
    binds says nothing of the rate without one, so that the common law's is taken, as far as the watts carry it.
    """
    prior, sheet = datasheet_prior(), sheet_of(card, native_dtype(card))
    share, moved = sustained_share(card, sheet.peak_flops_per_s), dict(values)
    if sibling is None:
        moved[TILE] = prior["tile_bytes_per_s"] / full_rates(sheet)[TILE]
    else:
        moved = at_memory(values, memory_ratio(sibling, card))
        if COMPUTE in moved:
            bound = prior["sustained"].get(card.architecture, {}).get("card") == sibling.name
            if bound and not (share is None and _alike(card, sibling)):
                moved[COMPUTE] = prior["coefficients"][COMPUTE]["value"]
            else:
                moved[COMPUTE] *= power_factor(card, sibling)
    if share is not None:
        moved = lowered_values(moved, share)
    for name, full in full_rates(sheet).items():
        # What one multiprocessor loads is its chip's: a sibling's is as it was measured.
        if name in moved and (sibling is None or name != TILE):
            moved[name] = _in_order(card, name, moved[name] * full, common=sibling is None) / full
    if sibling is None:
        moved |= {name: _no_longer(card, name, moved[name]) for name in TIMES}
    return moved


def _alike(card: DataSheet, sibling: DataSheet) -> bool:
    """Whether a multiprocessor of both has about the same peak."""
    mine, theirs = (one.peak_16_bit / one.sm_count for one in (card, sibling))
    return math.isclose(mine, theirs, rel_tol=0.05)


def _in_order(card: DataSheet, name: str, rate: float, *, common: bool) -> float:
    """A rate no lower than that of a card behind this one by its sheet, and no higher than of one ahead."""
    low, high = 0.0, math.inf
    for other, reached in _rates(with_siblings=common):
        if card.is_ahead_of(other):
            low = max(low, reached[name])
        elif other.is_ahead_of(card):
            high = min(high, reached[name])
    return max(min(rate, high), low)


def _no_longer(card: DataSheet, name: str, seconds: float) -> float:
    """A time no longer than on any calibrated card that this one is ahead of by its sheet."""
    behind = [reached[name] for other, reached in _rates(with_siblings=False) if card.is_ahead_of(other)]
    return min([seconds, *behind])


def _rates(*, with_siblings: bool) -> Iterator[tuple[DataSheet, Mapping[str, float]]]:
    """Calibrated cards with their rates in SI units, and their siblings."""
    for name, reached in datasheet_prior()["reached"].items():
        yield datasheet(name), reached
    if with_siblings:
        yield from siblings_rates()


@cache
def siblings_rates() -> tuple[tuple[DataSheet, dict[str, float]], ...]:
    """What cards with a calibrated sibling reach, in SI units."""
    calibrated, found = datasheet_prior()["reached"], []
    for card in datasheets():
        name = sibling_of(card)
        if name is None or card.name in calibrated:
            continue
        sibling = datasheet(name)
        theirs, own = (full_rates(sheet_of(one, native_dtype(one))) for one in (sibling, card))
        values = law_values(card, sibling, {key: calibrated[name][key] / full for key, full in theirs.items()})
        found.append((card, {key: values[key] * full for key, full in own.items()}))
    return tuple(found)


def eager_floors(card: DataSheet, floors: Mapping[str, float], gap_s: float) -> dict[str, float]:
    """Seconds of the shortest kernels in eager mode, no quicker than on a card ahead that was timed so.

    Of most cards they were timed in graphs alone; an eager stream leaves a longer gap between two kernels, which a
    fit to eager runs counts to either.
    """
    least = dict(floors)
    for other, timed in datasheet_prior()["eager_floors"].items():
        if datasheet(other).is_ahead_of(card) and sibling_of(card) != other:
            least = {name: max(value, timed.get(name, 0.0) - gap_s) for name, value in least.items()}
    return least
