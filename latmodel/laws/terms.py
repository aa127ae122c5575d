"""What every law says of an operator, and what it is told beside it."""

from dataclasses import dataclass

from ..arrays import Array, maximum, minimum
from .coefficients import DecodeCoefficients

Terms = tuple[Array, Array, Array]  # seconds beyond the floor, the floor, seconds of the arithmetic alone


@dataclass(slots=True)
class DecodeLaw:
    """One decode step's attention as a function of the context: `fixed + merge · ramp + per_position · positions`."""

    fixed_s: Array
    merge_s: Array  # the second kernel that merges the parts of a split context
    per_position_s: Array
    compute_per_position_s: Array

    def seconds(self, context: Array, window: Array | None, c: DecodeCoefficients) -> tuple[Array, Array]:
        """(seconds, compute seconds) at a context; affine beyond the smallest block and the split point."""
        length = context if window is None else minimum(context, window)
        read = maximum(length, c.min_context)
        ramp = minimum(maximum(length * (1.0 / c.split_context) - 1.0, 0.0), 1.0)
        return self.fixed_s + self.merge_s * ramp + self.per_position_s * read, self.compute_per_position_s * read


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is known of some operators beside what they are.

    `hot`: a microbenchmark repeats them on the same operands. `aligned`: every dimension is known to be a multiple of
    8. `decode`: what decode attention needs at any context, where another step has already worked it out.
    """

    hot: bool = False
    aligned: bool = False
    decode: DecodeLaw | None = None


COLD = {aligned: Conditions(aligned=aligned) for aligned in (False, True)}  # in use, as a model's operators are
