"""Two timelines of a forward pass: the host issues kernels, the device runs them.

With a queue between them each block takes `max(host, device)`, plus the share of the shorter that does not hide
(`loss`: 0 on an ideal GPU, 1 on a CPU, where one thread does both).
"""

from ..arrays import Array, maximum, ordered

TINY_S = 1e-30


def overlapped(host_s: Array, device_s: Array, loss: float) -> Array:
    """Seconds of work whose host and device parts overlap: max + loss · min."""
    longer, shorter = ordered(host_s, device_s)
    return longer + loss * shorter


def mean_overlapped(host_s: Array, first_s: Array, last_s: Array, loss: float) -> Array:
    """Mean of `overlapped` while the device time grows evenly from `first_s` to `last_s` (host constant).

    Closed form of (1 − loss) · mean max(h, d) + loss · (h + mean d); the mean of max(h, d) − h over a straight line is
    the integral of a ramp: (r₂² − r₁²) / 2(d₂ − d₁) with r = max(d − h, 0).
    """
    first_longer, last_longer = maximum(first_s, host_s), maximum(last_s, host_s)
    # (r₂ − r₁) / (d₂ − d₁) is 1 where the whole line, were it flat, lies above or below: the tiny time makes it so.
    above = (last_longer - first_longer + TINY_S) / (last_s - first_s + TINY_S)
    over = ((first_longer - host_s) + (last_longer - host_s)) * above
    return host_s + over * (0.5 * (1.0 - loss)) + (first_s + last_s) * (0.5 * loss)
