"""Text of people → SI numbers, and back; the only parsers of durations, sizes and shapes."""

import re
from collections.abc import Mapping

from .errors import UsageError

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})\s*(us|µs|ms|s|min)?")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "": 1.0}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?)\s*(b|kb|mb|gb|tb|kib|mib|gib|tib)?", re.IGNORECASE)
_PRICE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})\s*/\s*(h|min|s)")
_PER_HOUR = {"h": 1.0, "min": 60.0, "s": 3600.0}
_POWER = re.compile(r"([0-9]{1,6}(?:\.[0-9]{0,6})?)\s*(w?)", re.IGNORECASE)
_WATTS = {"": 1.0, "w": 1.0}
_ENERGY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(mJ|J|kJ)?")
_JOULES = {"mj": 1e-3, "j": 1.0, "kj": 1e3, "": 1.0}
_COUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})\s*([kmbt]?)", re.IGNORECASE)
_THOUSANDS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_BYTES = {
    "": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
    "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40,
}  # fmt: skip
_SHAPE = re.compile(r"([0-9]{1,8})\s*[x×]\s*([0-9]{1,8})")


def _quantity(
    text: str, pattern: re.Pattern[str], units: Mapping[str, float], most: float, complaint: str, least: float = 0.0
) -> float:
    """A number and its unit, the groups of `pattern`, as a number of SI units above `least` (or at it) up to `most`.

    Raises:
        UsageError: it is none; `complaint` says what to write instead.
    """
    match = pattern.fullmatch(text.strip())
    value = float(match[1]) * units[(match[2] or "").lower()] if match else 0.0
    if not (value > 0.0 and least <= value <= most):
        raise UsageError(f"{text[:40]!r} is no {complaint}")
    return value


def parse_duration(text: str) -> float:
    """Seconds from "5.5s", "300ms", "20us", "2min" or a bare number of seconds.

    Raises:
        UsageError: anything else, zero, or more than 1e6 s.
    """
    return _quantity(text, _DURATION, _SECONDS, 1e6, "duration: write 5.5s, 300ms or 2min")


def parse_size(text: str) -> float:
    """Bytes from "24GB" (1e9), "24GiB" (2**30) or a bare number of bytes.

    Raises:
        UsageError: anything else, zero, or more than 1e15 bytes.
    """
    return _quantity(text, _SIZE, _BYTES, 1e15, "memory size: write 24GB or 24GiB")


def parse_energy(text: str) -> float:
    """Joules from "2J", "1.5kJ", "300mJ" or a bare number of joules.

    Raises:
        UsageError: anything else, zero, or more than 1e9 J.
    """
    return _quantity(text, _ENERGY, _JOULES, 1e9, "energy: write 2J or 300mJ")


def parse_count(text: str) -> float:
    """A number of parameters from "300M", "1.5B" or a bare number.

    Raises:
        UsageError: anything else, less than 1, or more than 1e15.
    """
    return _quantity(text, _COUNT, _THOUSANDS, 1e15, "number of parameters: write 300M or 1.5B", least=1.0)


def parse_power(text: str) -> float:
    """Watts from "275W" or a bare number of watts.

    Raises:
        UsageError: anything else, zero, or more than 1e5 W.
    """
    return _quantity(text, _POWER, _WATTS, 1e5, "power: write 275W")


def parse_price(text: str) -> float:
    """Money an hour from "0.5/h", "0.01/min" or "0.0002/s", in whatever currency.

    Raises:
        UsageError: anything else, a price without its unit of time, or none that is positive.
    """
    complaint = "price of the device: write 0.5/h, with its unit of time (/h, /min, /s)"
    return _quantity(text, _PRICE, _PER_HOUR, 1e9, complaint)


def parse_shape(text: str) -> tuple[int, int]:
    """(layers, hidden) from "80x576".

    Raises:
        UsageError: anything else.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text[:40]!r} is no shape: write layers x hidden, as in 80x576")
    return int(match[1]), int(match[2])


def parse_shape_or_none(text: str) -> tuple[int, int] | None:
    """(layers, hidden) from "80x576"; None for what is no shape."""
    return parse_shape(text) if _SHAPE.fullmatch(text.strip()) else None


def show_seconds(seconds: float) -> str:
    """Three figures with the unit that suits: 53.3 ms, 5.51 s, 840 µs."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            return f"{_three_figures(seconds / scale)} {unit}"
    raise AssertionError("unreachable")


def show_count(count: float) -> str:
    """Three figures with k, M, B, T: 11.3B."""
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{_three_figures(count / scale)}{unit}"
    return f"{count:.0f}"


def show_rate(rate: float) -> str:
    """Three figures, or whole above a thousand: 25.2, 7220."""
    return f"{rate:.3g}" if rate < 1000.0 else f"{rate:.0f}"


def show_bytes(size: float) -> str:
    """Three figures in binary units: 21.4 GiB."""
    for unit, scale in (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if size >= scale:
            return f"{_three_figures(size / scale)} {unit}"
    return f"{size:.0f} B"


def _three_figures(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"
