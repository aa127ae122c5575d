"""Two timelines of a forward pass: the host issues kernels, the device runs them.

With a queue between them each block takes `max(host, device)`, plus the share of the shorter that does not hide
(`loss`: 0 on an ideal GPU, 1 on a CPU, where one thread does both).
"""

from .arrays import Array, maximum, minimum, where


def overlapped(host_s: Array, device_s: Array, loss: float) -> Array:
    """Seconds of work whose host and device parts overlap: max + loss · min."""
    return maximum(host_s, device_s) + loss * minimum(host_s, device_s)


def mean_overlapped(host_s: Array, first_s: Array, last_s: Array, loss: float) -> Array:
    """Mean of `overlapped` while the device time grows evenly from `first_s` to `last_s` (host constant).

    Closed form of (1 − loss) · mean max(h, d) + loss · (h + mean d); the mean of max(h, d) − h over a straight line is
    the integral of a ramp: (r₂² − r₁²) / 2(d₂ − d₁) with r = max(d − h, 0).
    """
    first_over, last_over = maximum(first_s - host_s, 0.0), maximum(last_s - host_s, 0.0)
    span = last_s - first_s
    flat = span <= 1e-12 * last_s
    crossing = 0.5 * (last_over - first_over) * (last_over + first_over) / where(flat, 1.0, span)
    mean_over = where(flat, last_over, crossing)
    return (host_s + mean_over) * (1.0 - loss) + loss * (host_s + 0.5 * (first_s + last_s))
