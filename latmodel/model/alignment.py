"""Which sizes are whole multiples: of 8 for the fast path of tensor cores, of a format's blocks."""

from ..arrays import Array, floor, indicator, is_array


def all_aligned(*sizes: Array) -> bool:
    """True if every value of every size is a multiple of 8, so that alignment need not be priced."""
    return all(bool((misfit(size) == 0.0).all()) if is_array(size) else misfit(size) == 0.0 for size in sizes)


def misfit(size: Array) -> Array:
    """1 where a dimension is no multiple of 8, else 0: there the tensor cores' fast path is lost."""
    return uneven(size, 0.125)


def oddness(size: Array) -> Array:
    """1 where a dimension is odd, else 0: rows of 16-bit values then start at odd addresses."""
    return uneven(size, 0.5)


def uneven(size: Array, part: float) -> Array:
    """1 where `part` of a size is no whole number, else 0."""
    quotient = size * part
    return indicator(floor(quotient) != quotient, size)
