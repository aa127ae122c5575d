"""Whether a library splits k in a block: on that the gaps between the kernels of a CUDA graph depend."""

from collections.abc import Sequence

from ..arrays import Array, indicator, is_array, maximum
from ..model.alignment import misfit
from ..model.ops import GEMM, OpCost

# A library splits a product of a block that has one of so many rows at most and of so long a k, n and k multiples of 8.
# Seen in a profiler's trace of 80 graphs on an H100 (torch 2.11, cuBLAS 13.0; kernels named `…_splitK`). In decode, of
# 1 to 32 rows, this tells all 40: none split k at 2464, all at 2624. Of 40 prompts, of 68 rows and more, four split,
# all of blocks wider than 4096: this says that none does.
SPLIT_ROWS, SPLIT_K = 64.0, 2560.0


def unsplit(ops: Sequence[OpCost], *, aligned: bool = False) -> Array:
    """1 where no product among some operators splits k, else 0; `aligned`: all sizes are multiples of 8."""
    split: Array = 0.0
    seen = set()  # products that differ in columns alone are alike where these are aligned
    for op in ops:
        if op.kind is not GEMM or (not is_array(op.m) and op.m > SPLIT_ROWS):
            continue
        if aligned:
            one = id(op.m), id(op.k)
            if one in seen:
                continue
            seen.add(one)
        split = maximum(split, _splits(op, aligned))
        if type(split) is float and split:
            break
    return 1.0 - split


def _splits(op: OpCost, aligned: bool) -> Array:
    """1 where a product splits k, else 0."""
    long: Array = indicator(op.k >= SPLIT_K, op.k) if is_array(op.k) else float(op.k >= SPLIT_K)
    if is_array(op.m):
        long = long * indicator(op.m <= SPLIT_ROWS, op.m)
    return long if aligned else long * (1.0 - maximum(misfit(op.n), misfit(op.k)))
