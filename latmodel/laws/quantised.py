"""Device time of dequantising weights in registers, beyond the product that does so."""

from ..arrays import Array
from ..model.ops import OpCost
from .coefficients import Sheet

# Instructions a second of one multiprocessor: 64 lanes at 1.41 GHz, an A100's (NVIDIA's Ampere whitepaper). Sheets hold
# no clock: what a kernel's `instructions` were fitted on stands for all.
LANE_RATE = 64.0 * 1.41e9


def dequantize_seconds(op: OpCost, sheet: Sheet) -> Array:
    """`flops` instructions spread over all multiprocessors: flops / (multiprocessors · LANE_RATE)."""
    return op.flops * (1.0 / (sheet.sm_count * LANE_RATE))
