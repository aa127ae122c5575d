"""What binds a pass or a response: the host, the memory, or the arithmetic."""

from ..arrays import Array, indicator
from .forward import Cost, Forecast, Load


def bound_code(times: Forecast, blocks: Cost, head: Cost, new_tokens: Array) -> Array:
    """What holds the largest share of the response: 0 the host, 1 memory, 2 compute.

    Each phase counts for the one that binds it, so that it is what binds the longer phase.
    """
    decode_s = times.step_s * new_tokens
    prefill, decode = times.prefill_s >= decode_s, times.prefill_s < decode_s
    device_in_prefill, compute_in_prefill = binding(times.prefill_host_s, blocks.prefill, head.prefill)
    device_in_decode, compute_in_decode = binding(times.decode_host_s, blocks.last, head.last)
    device = (prefill & device_in_prefill) | (decode & device_in_decode)
    compute = (prefill & compute_in_prefill) | (decode & compute_in_decode)
    return indicator(device, times.prefill_s) + indicator(compute, times.prefill_s)


def binding(host_s: Array, blocks: Load, head: Load) -> tuple[Array, Array]:
    """Whether the device binds a pass; whether its arithmetic does: it takes half of the kernels' time or more."""
    device = host_s < blocks.seconds
    return device, device & (2.0 * (blocks.compute_s + head.compute_s) >= blocks.seconds + head.seconds)
