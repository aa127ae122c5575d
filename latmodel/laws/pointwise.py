"""Device time of pointwise kernels: traffic, of which a cache holds some between two passes."""

from ..arrays import Array, maximum
from ..ops import OpCost
from .coefficients import PointwiseCoefficients, QuantizeCoefficients, Sheet


def pointwise_seconds(op: OpCost, c: PointwiseCoefficients | QuantizeCoefficients, sheet: Sheet) -> Array:
    """Seconds of pointwise kernels beyond their floors: what the cache holds between two passes is read from there.

    nbytes / cache rate + max(nbytes − held, 0) · (1 / memory rate − 1 / cache rate), with the maximum drawn outside.
    """
    per_byte = 1.0 / (sheet.bandwidth_bytes_per_s * c.bandwidth_efficiency)
    cached = per_byte / c.cache_speedup
    held_s = (c.cache_share * sheet.cache_bytes) * op.passes * (per_byte - cached)
    nbytes = op.activation_bytes
    return maximum(nbytes * cached, nbytes * per_byte - held_s)
