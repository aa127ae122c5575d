"""Energy and money of a response: watts of a data sheet times seconds, and a price of the device's time."""

import math
from typing import NamedTuple

from ..arrays import Array
from ..device.datasheets import datasheet
from ..device.power import LOWEST
from ..errors import UnknownDeviceError


class Power(NamedTuple):
    """Watts of a card at its limit, and where they are from: empty where no document is at hand."""

    watts: float
    source: str


class Energy(NamedTuple):
    """Joules; an end is None where none can be had."""

    joules: float
    low: float | None
    high: float | None


def power_of(gpu: str, limit_w: float | None = None) -> Power | None:
    """The power limit of a card's data sheet, or the lower one that was set; None where the sheet has none."""
    try:
        card = datasheet(gpu)
    except UnknownDeviceError:
        return None
    if card.power_limit_w is None:
        return None
    return Power(limit_w or card.power_limit_w, card.power_source)


def response_energy(watts: float, device_s: float, response_high_s: float | None, widest: float) -> Energy:
    """Joules that a card takes for a response: `device_s` seconds of kernels at its power limit of `watts`.

    What a card really draws is in no data sheet. The most it can: the limit for the whole response, at the upper end of
    the response's interval. The least: its kernels, at the lower end of their time (`widest` in log units), at a fifth
    of the limit, below which drivers let no card be set; nothing while it waits for the host. The computer around the
    card is not counted.
    """
    low = None if math.isnan(widest) else LOWEST * watts * device_s / math.exp(widest)
    high = None if response_high_s is None else watts * response_high_s
    return Energy(watts * device_s, low, high)


def cost_per_million(price_per_h: float, response_s: Array, tokens: float) -> Array:
    """Money for a million generated tokens on a device that costs `price_per_h` an hour, its prompt's time included."""
    return price_per_h / 3600.0 * response_s / tokens * 1e6
