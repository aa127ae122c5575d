"""Products of 8-bit floats (fp8 weights, inputs quantised on the way): the law of products after one that quantises."""

from ..model.ops import MMA_ROWS, OpCost, pointwise
from .coefficients import Float8, Sheet
from .gemm import GemmLaw, Tile
from .pointwise import PointwiseLaw
from .priors import BANDWIDTH, DEVICE_PRIORS, TIME, Prior
from .terms import COLD, Conditions, Terms

# Clusters of two multiprocessors take 128 × 128 outputs each, one below the other (vLLM's CUTLASS configurations for
# sm90 and sm100; others differ): a product of 257 tokens takes as long as one of 512.
TILE = Tile(256.0, 128.0, 2.0)
# Of a profile's table "float8". The kernels measured (CUTLASS) hardly split k, so that its cost is left open.
FLOAT8_PRIORS: dict[str, Prior] = {
    **{name: prior for name, prior in DEVICE_PRIORS.items() if name.startswith("gemm.")},
    "gemm.split_k_s": Prior(5e-5, 1.0, *TIME, "splitting k over idle SMs and adding the parts"),
    "quantize.floor_s": Prior(2.2e-6, 0.30, *TIME, "shortest kernel that quantises an input"),
    "quantize.bandwidth_efficiency": Prior(0.80, 0.20, *BANDWIDTH, "share of the bandwidth in quantising inputs"),
    "quantize.cache_share": Prior(0.30, 0.50, 0.01, 1.0, "part of the cache that holds them between two passes"),
    "quantize.cache_speedup": Prior(1.50, 0.50, 1.0, 20.0, "last-level cache over DRAM bandwidth there"),
    "quantize.row_s": Prior(5e-9, 1.0, 1e-13, 1e-5, "a block of threads that quantises a row"),
}


class Float8Law:
    """Products of 8-bit floats on one device, the quantisation of their inputs included."""

    def __init__(self, c: Float8, sheet: Sheet) -> None:
        at_rate = sheet._replace(peak_flops_per_s=sheet.float8_flops_per_s, vector_rows=MMA_ROWS)
        self._products = GemmLaw(c.gemm, at_rate, TILE)
        self._quantize = PointwiseLaw(c.quantize.pointwise, sheet)
        self._row_s = c.quantize.row_s

    def terms(self, op: OpCost, known: Conditions = COLD[False]) -> Terms:
        """Seconds of products, and of quantising their inputs before, as `GemmLaw.terms` has them.

        Those of `GemmLaw` at the 8-bit peak with clusters of 256 × 128 + pointwise seconds of 5·m·k bytes + m · row_s.
        A scale needs the largest value of a row first: two passes read 16 bits a value, one writes 8, by a block of
        threads a row (vLLM, `dynamic_per_token_scaled_fp8_quant`). The product begins when all of that is done.
        """
        work, floor, compute = self._products.terms(op, known)
        inputs = pointwise("quantize", op.m * op.k * op.repeat, moves=2.5, kernels=op.repeat, bytes_each=2.0)
        traffic, floors, _ = self._quantize.terms(inputs)
        return work + traffic + op.m * (op.repeat * self._row_s), floor + floors, compute
