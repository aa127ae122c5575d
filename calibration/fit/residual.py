"""Learning a correction: tables whose sum follows log(measured / law), smooth, small where nothing was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from latmodel.laws.correction import Correction, Table, corners
from latmodel.laws.correction_part import CorrectionPart, TablePart

Vector = NDArray[np.float64]
Grid = Mapping[str, tuple[float, ...]]  # feature → log2 knots

SMOOTH = 0.1  # weight of squared second differences between knots
RIDGE = 0.05  # weight of squared values: knots without rows stay at 0
OUTLIER = 0.075  # residuals beyond this count linearly
ROUNDS = 5

WIDTHS = (*range(8, 15), 16)
NARROW_WIDTHS = (*range(5, 8), *WIDTHS)  # down to 32 outputs, which projections of small models have
ROWS = (0, 4, *range(6, 14), 15)
# Of 8-bit floats the number of rows alone picks the kernel, up to 16, 64, 128 and 256 of them (vLLM,
# csrc/quantization/w8a8/cutlass): a step between each and one more. A single row is a case of its own.
FLOAT8_ROWS = (0, 1, 4, 4.0875, 6, 6.0224, 7, 7.0112, 8, 8.0056, *range(9, 14), 15)
# Of attention, axes that several tables share; a feature that the tables beside know finely has coarse knots.
FLAG = (0, 1)
HEAD_DIMS = (6, 7, 7.585, 8)
GROUPS = (*range(5), 6)
TOKENS = (4, 7, 9, 11, 14)
LENGTHS = (1, 7, 9, 11, 13, 17)
TILES = (0, 4, 6, 8, 10, 14)  # streams of a prefill, tiles of a decode step
PREFILL_GRID: tuple[Grid, ...] = (
    {"whole": FLAG, "tokens": tuple(range(4, 15)), "streams": (0, 2, *range(4, 11), 12, 14)},
    {"tokens": (4, 6, 8, 10, 12, 14), "span": (4, 7, 10, 13, 14)},
    {"head_dim": HEAD_DIMS, "tokens": TOKENS, "streams": TILES},
    {"group": GROUPS, "tokens": TOKENS, "streams": TILES},
    {"whole": FLAG, "windowed": FLAG, "head_dim": HEAD_DIMS, "tokens": (4, *range(6, 13), 14)},
    {"windowed": FLAG, "tokens": (4, *range(7, 13), 14), "streams": (0, 4, 6, 7, 8, 10, 12, 14)},
)
DECODE_GRID: tuple[Grid, ...] = (
    {"whole": FLAG, "length": (1, *range(6, 16), 17), "tiles": (0, 2, *range(4, 11), 12, 14, 16)},
    {"head_dim": HEAD_DIMS, "length": LENGTHS, "tiles": TILES},
    {"group": GROUPS, "length": LENGTHS, "tiles": TILES},
    {"kv_heads": tuple(range(4)), "head_dim": HEAD_DIMS, "length": (1, *range(7, 10), 11, 14, 17)},
)


def gemm_grid(*, narrow: bool, float8: bool = False) -> Sequence[Grid]:
    """Knots for products; `narrow` ones have fewer than 256 outputs or inputs."""
    widths = NARROW_WIDTHS if narrow else WIDTHS
    return ({"m": FLOAT8_ROWS if float8 else ROWS, "n": widths, "k": widths},)


def learn(features: Mapping[str, Vector], grids: Sequence[Grid], log_ratio: Vector) -> Correction:
    """Penalised least squares, reweighted so that outliers pull with a bounded force (Huber).

    Args:
        features: log2 of each feature, one value a row.
        grids: one table for each; their sum is fitted.
        log_ratio: log(measured / law) by row.
    """
    empty = [_empty(grid) for grid in grids]
    design = sparse.hstack([_design(table, features, len(log_ratio)) for table in empty]).tocsr()
    penalty = sparse.block_diag([_penalty(table.values.shape) for table in empty])
    weight = np.ones(len(log_ratio))
    for _ in range(ROUNDS):
        weighted = design.T @ sparse.diags(weight)
        values = spsolve((weighted @ design + penalty).tocsc(), weighted @ log_ratio)
        weight = 1.0 / np.maximum(1.0, np.abs(log_ratio - design @ values) / OUTLIER)
    tables, start = [], 0
    for table in empty:
        part = values[start : start + table.values.size].round(4).reshape(table.values.shape)
        tables.append(table._replace(values=part))
        start += table.values.size
    names = sorted({name for grid in grids for name in grid})
    lowest, highest = ({n: round(float(f(features[n])), 4) for n in names} for f in (np.min, np.max))
    return Correction(tuple(tables), lowest, highest)


def _empty(grid: Grid) -> Table:
    knots = tuple(np.array(values, dtype=float) for values in grid.values())
    return Table(tuple(grid), knots, np.zeros([len(values) for values in knots]))


def _design(table: Table, features: Mapping[str, Vector], rows: int) -> Any:
    """Interpolation weights of every row on the table's values: [rows, values]."""
    number, size = np.arange(rows), int(table.values.size)
    return sum(
        sparse.csr_matrix((np.broadcast_to(weight, rows), (number, np.broadcast_to(index, rows))), (rows, size))
        for index, weight in corners(table, features)
    )


def _penalty(shape: tuple[int, ...]) -> Any:
    """Ridge towards 0 and second differences along each axis (first where there are but two knots)."""
    total = RIDGE * sparse.identity(int(np.prod(shape)))
    for axis, size in enumerate(shape):
        product: Any = sparse.identity(1)
        for other, length in enumerate(shape):
            difference = sparse.csr_matrix(np.diff(np.eye(size), n=min(2, size - 1), axis=0))
            product = sparse.kron(product, difference if other == axis else sparse.identity(length))
        total = total + SMOOTH * (product.T @ product)
    return total


def correction_part(correction: Correction) -> CorrectionPart:
    """As a profile keeps it."""
    tables = [
        TablePart(
            features=list(table.features),
            knots=[knots.tolist() for knots in table.knots],
            values=table.values.ravel().tolist(),
        )
        for table in correction.tables
    ]
    return CorrectionPart(tables=tables, lowest=dict(correction.lowest), highest=dict(correction.highest))
