"""Device time of pointwise kernels: traffic, of which a cache holds some between two passes."""

from ..arrays import Array, maximum
from ..model.ops import OpCost
from .coefficients import PointwiseCoefficients, Sheet


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients, sheet: Sheet) -> Array:
    """Seconds of pointwise kernels beyond their floors: what the cache holds between two passes is read from there.

    nbytes / cache rate + max(nbytes − held, 0) · (1 / memory rate − 1 / cache rate), with the maximum drawn outside;
    memory rate = B · bandwidth_efficiency, cache rate = cache_speedup times that (and strided_rate of it over views),
    held = passes · cache_share · C. At least summed_s for each value of a row that a norm adds up. Views that are not
    contiguous are walked value by value, slower than the cache gives them; one block of threads adds up a row, which
    takes its time however few rows there are.
    """
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached = per_byte / c.cache_speedup
    held_s = (c.cache_share * sheet.cache_bytes) * op.passes * (per_byte - cached)
    nbytes = op.activation_bytes
    walked = cached / c.strided_rate if op.strided else cached
    seconds = maximum(nbytes * walked, nbytes * per_byte - held_s)
    # A plain zero: nothing is summed.
    return seconds if type(op.k) is float and op.k == 0.0 else maximum(seconds, op.k * c.summed_s)
