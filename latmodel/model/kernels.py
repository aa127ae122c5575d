"""How a runtime multiplies by weights of a quantised format: the record that `latmodel.runtimes.kernels` fills in.

A kernel belongs to a format *and* a runtime: the same 4-bit file is read in registers by one engine and unpacked by
another.
"""

from enum import StrEnum
from typing import NamedTuple

from .ops import MMA_ROWS


class Way(StrEnum):
    """How a product gets from stored weights to sums."""

    FUSED = "fused"  # dequantised in registers: the stored bytes are all that is read
    UNPACKED = "unpacked"  # written out in the model's dtype, then read back by an ordinary product
    FLOAT8 = "float8"  # multiplied in 8 bits, inputs quantised on the way


class WeightKernel(NamedTuple):
    """A product with quantised weights, against the same product with 16-bit weights; always built by keyword.

    What is read of the weights follows from the format. `source` says where the figures are from; without one none was
    measured, and a prediction says so.
    """

    name: str
    way: Way
    launches: float = 1.0  # host time of one product, in launches of an operator; a 16-bit product is one
    most_launches: float = 1.0  # the same where it was not timed, at the slow end of an interval
    floors: float = 0.0  # device time of one product beyond its own, in the shortest products
    instructions: float = 0.0  # of a multiprocessor's lanes, for each weight
    row_step: float = MMA_ROWS  # rows that an instruction works on: a tensor core's 16, 1 of a matrix-vector kernel
    step_s: float = 0.0  # more of each pass, whatever the model
    rows: float = float("inf")  # from so many on `beyond` multiplies instead
    beyond: "WeightKernel | None" = None  # also where the device has no products of 8-bit floats
    holds_workspace: bool = False  # the format's `workspace_bytes` are held as long as the model lives
    source: str = ""
    gpus: tuple[str, ...] = ()  # on which that was; elsewhere a prediction is extrapolated

    @property
    def unpacks(self) -> bool:
        """Whether it writes out an unpacked matrix, for some number of rows."""
        last = self.beyond if self.way is Way.FUSED and self.beyond is not None else self
        return last.way is Way.UNPACKED

    def with_overhead(self, share: float) -> "WeightKernel":
        """The same with `share` of what it costs beyond a product that reads the stored bytes; 0: that product.

        Products of 8-bit floats stay as they are; what stands in for them does not.
        """
        beyond = None if self.beyond is None else self.beyond.with_overhead(share)
        if self.way is Way.FLOAT8:
            return self._replace(beyond=beyond)
        launches = self.launches + max(self.launches - 1.0, 0.0) * (share - 1.0)
        if share > 1.0:
            launches = max(launches, self.most_launches)
        if share == 0.0:
            return self._replace(
                way=Way.FUSED,
                launches=launches,
                floors=0.0,
                instructions=0.0,
                step_s=0.0,
                rows=float("inf"),
                beyond=None,
            )
        return self._replace(
            launches=launches, floors=self.floors * share,
            instructions=self.instructions * share, step_s=self.step_s * share, beyond=beyond,
        )  # fmt: skip


# Where nothing is known of a format: its weights are written out and read back, launched once more a product.
UNPACKED = WeightKernel(name="unpacked", way=Way.UNPACKED, launches=2.0)
