"""Refit the constants of the shape law from published training losses.

``python -m calibration.published.quality --data ../shared/data/shape_quality`` prints the fit and writes
``latmodel/quality/constants.json``. The losses are those of Gemstones (McLeish et al. 2025, arXiv
2502.06857; github mcleish7/gemstone-scaling-laws @ 5f42047, MIT).

Model: at each token count t of each schedule, ``loss = E_t + A_t N_eff^-alpha``. E_t and A_t belong to the
data and are solved in closed form; alpha and the shape constants are shared by all token counts. So the
constants depend only on how losses differ between shapes trained alike.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from latmodel.errors import LatmodelError, UsageError
from latmodel.quality.constants import (
    PACKAGED,
    PUBLISHED_BAND,
    ConstantsBand,
    LevineConstants,
    ShapeConstants,
    ShapeLaw,
)
from latmodel.quality.effective import effective_parameters

Array = NDArray[np.float64]
SOURCE = "Gemstones, arXiv 2502.06857, github mcleish7/gemstone-scaling-laws @ 5f42047 (MIT), training losses"
NOMINAL_SIZES = np.array([5e7, 1e8, 5e8, 1e9, 2e9])
"""Total parameters that the authors aimed at; each model belongs to the nearest in log: its size group."""


NEAR_BOUND = 1e-3  # of the interval; the solver stays strictly inside


@dataclass(frozen=True)
class Losses:
    """One row per model, schedule and token count. ``table`` numbers the (schedule, tokens) pairs."""

    depth: Array
    width: Array
    non_embedding: Array
    total: Array
    tokens: Array
    loss: Array
    hot: NDArray[np.bool_]
    table: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def size_group(self) -> NDArray[np.intp]:
        """Index into ``NOMINAL_SIZES``."""
        apart = np.abs(np.log(self.total[:, np.newaxis] / NOMINAL_SIZES))
        return np.asarray(apart.argmin(axis=1), dtype=np.intp)

    def where(self, rows: NDArray[np.bool_]) -> Losses:
        """The chosen rows."""
        return Losses(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def read_losses(folder: Path) -> Losses:
    """Read ``gemstones_loss.csv``.

    Raises:
        UsageError: the file is missing or a column or number is not as expected.
    """
    path = folder / "gemstones_loss.csv"
    names = ("depth", "width", "N_nonemb", "N_total", "tokens", "final_loss")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        depth, width, non_embedding, total, tokens, loss = (
            np.array([float(row[name]) for row in rows]) for name in names
        )
        hot = np.array([row["sched"] == "hot" for row in rows])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: not the Gemstones losses ({error}); see --data") from error
    _, table = np.unique(np.stack([hot, tokens]), axis=1, return_inverse=True)
    return Losses(depth, width, non_embedding, total, tokens, loss, hot, table.reshape(-1))


@dataclass(frozen=True)
class Family:
    """A way to turn a shape into a size, with constants to fit inside bounds."""

    name: str
    size: Callable[[Sequence[float] | Array, Losses], Array]
    start: tuple[float, ...] = ()
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()


def shape_constants(values: Sequence[float] | Array) -> ShapeConstants:
    """k, ln r* at 0.5B, exponent -> constants."""
    return ShapeConstants(k=values[0], ratio_at_reference=float(np.exp(values[1])), exponent=values[2])


def _under(law: ShapeLaw, rows: Losses) -> Array:
    return effective_parameters(rows.non_embedding, rows.depth, rows.width, law)


# Within the bounds every trial is a valid law: 2 k cap (1 + |exponent|) < 1.
SHAPE = Family(
    "effective parameters",
    lambda values, rows: _under(shape_constants(values), rows),
    start=(0.03, float(np.log(50.0)), 0.0),
    lower=(0.0, float(np.log(3.0)), -0.5),
    upper=(0.1, float(np.log(300.0)), 0.75),
)
LEVINE = Family(
    "effective parameters, Levine's optimum",
    lambda values, rows: _under(LevineConstants(k=values[0]), rows),
    start=(0.03,),
    lower=(0.0,),
    upper=(0.085,),
)
BLIND = Family("shape-blind, non-embedding parameters", lambda _, rows: rows.non_embedding)
BLIND_TOTAL = Family("shape-blind, total parameters", lambda _, rows: rows.total)


@dataclass(frozen=True)
class Fit:
    """A fitted family: its constants, alpha, A_t by table number, and what is left over, in nats."""

    family: Family
    values: tuple[float, ...]
    alpha: float
    slopes: dict[int, float]
    rmse: float

    @property
    def at_boundary(self) -> list[int]:
        """Indices of constants that ended on a bound, or as good as: undetermined by these rows."""
        bounds = zip(self.family.lower, self.values, self.family.upper, strict=True)
        return [i for i, (low, v, high) in enumerate(bounds) if min(v - low, high - v) < NEAR_BOUND * (high - low)]

    def relative_loss(self, rows: Losses, table: int) -> Array:
        """Predicted loss at a token count up to its constant E_t: good for gaps."""
        return self.slopes[table] * self.family.size(self.values, rows) ** -self.alpha


def fit_family(rows: Losses, family: Family) -> Fit:
    """Least squares over all rows alike; E_t and A_t by projection.

    Raises:
        LatmodelError: the optimiser failed (its message is passed on).
    """

    def residuals(x: Array) -> Array:
        feature, target = _centred(rows, family, x)
        return np.asarray(target - _slope_per_row(rows, feature, target) * feature, dtype=np.float64)

    solved = least_squares(
        residuals,
        x0=[*family.start, 0.3],
        bounds=([*family.lower, 0.05], [*family.upper, 1.5]),
        x_scale=[*(0.1 * (high - low) for low, high in zip(family.lower, family.upper, strict=True)), 0.1],
    )
    if not solved.success:
        raise LatmodelError(f"{family.name}: the fit failed ({solved.message}); are these Gemstones' losses?")
    feature, target = _centred(rows, family, solved.x)
    per_row = _slope_per_row(rows, feature, target) * _SCALE ** solved.x[-1]
    return Fit(
        family=family,
        values=tuple(float(value) for value in solved.x[:-1]),
        alpha=float(solved.x[-1]),
        slopes=dict(zip(rows.table.tolist(), per_row.tolist(), strict=True)),
        rmse=float(np.sqrt(np.mean(solved.fun**2))),
    )


_SCALE = 5e8  # keeps N^-alpha near 1


def _centred(rows: Losses, family: Family, x: Array) -> tuple[Array, Array]:
    feature = (family.size(x[:-1], rows) / _SCALE) ** -x[-1]
    return feature - _table_means(rows, feature), rows.loss - _table_means(rows, rows.loss)


def _slope_per_row(rows: Losses, feature: Array, target: Array) -> Array:
    """A_t of each row's table: the slope of loss on size there."""
    return _table_sums(rows, feature * target) / _table_sums(rows, feature * feature)


def _table_sums(rows: Losses, values: Array) -> Array:
    return np.asarray(np.bincount(rows.table, weights=values)[rows.table], dtype=np.float64)


def _table_means(rows: Losses, values: Array) -> Array:
    return _table_sums(rows, values) / _table_sums(rows, np.ones_like(values))


def six_tables(rows: Losses) -> dict[str, Losses]:
    """Each schedule cut in three by training tokens: what the constants do as training goes on."""
    tables = {}
    for name, schedule in (("constant rate", rows.hot), ("cooled down", ~rows.hot)):
        for counts in np.array_split(np.unique(rows.tokens[schedule]), 3):
            low, high = counts[0], counts[-1]
            chosen = schedule & (rows.tokens >= low) & (rows.tokens <= high)
            tables[f"{name}, {low / 1e9:.0f}-{high / 1e9:.0f}B tokens"] = rows.where(chosen)
    return tables


def refits(rows: Losses) -> dict[str, Losses]:
    """All the tables whose constants span the band: the six, and all but one size group."""
    hot = rows.where(rows.hot)
    groups = {
        f"constant rate, without the {size / 1e6:.0f}M group": hot.where(hot.size_group != group)
        for group, size in enumerate(NOMINAL_SIZES)
    }
    return {**six_tables(rows), **groups}


def hull(fitted: Sequence[ShapeConstants], start: ConstantsBand) -> ConstantsBand:
    """The least box around a band and more constants."""

    def widened(band: tuple[float, float], values: list[float]) -> tuple[float, float]:
        return min(band[0], *values), max(band[1], *values)

    return ConstantsBand(
        k=widened(start.k, [each.k for each in fitted]),
        ratio_at_reference=widened(start.ratio_at_reference, [each.ratio_at_reference for each in fitted]),
        exponent=widened(start.exponent, [each.exponent for each in fitted]),
    )


def packaged_file(rows: Losses, date: str) -> dict[str, object]:
    """The content of the constants file, everything fitted from the rows."""
    hot = rows.where(rows.hot)
    main = fit_family(hot, SHAPE)
    if main.at_boundary:
        raise LatmodelError(f"constants {main.at_boundary} ended on a bound: too few shapes to determine them")
    tables = refits(rows)
    fitted = {name: shape_constants(fit_family(table, SHAPE).values) for name, table in tables.items()}
    levine = [fit_family(table, LEVINE).values[0] for table in (hot, *tables.values())]
    band = hull(list(fitted.values()), PUBLISHED_BAND)
    return {
        "constants": _rounded(shape_constants(main.values)) | {"cap": shape_constants(main.values).cap},
        "band": {name: [round(v, 4) for v in ends] for name, ends in band._asdict().items()},
        "levine": {"k": round(levine[0], 4), "band": [round(min(levine), 4), round(max(levine), 4)]},
        "provenance": {
            "source": SOURCE,
            "fitted_by": "python -m calibration.published.quality",
            "date": date,
            "rows": len(hot),
            "models": len(np.unique(np.stack([hot.depth, hot.width]), axis=1).T),
            "rmse_nats": round(main.rmse, 4),
            "band": "hull of the published band and of the refits below",
            "refits": [{"rows": len(tables[name]), "table": name} | _rounded(each) for name, each in fitted.items()],
        },
    }


def _rounded(constants: ShapeConstants) -> dict[str, float]:
    return {
        "k": round(constants.k, 4),
        "ratio_at_reference": round(constants.ratio_at_reference, 2),
        "exponent": round(constants.exponent, 3),
    }


def main() -> None:
    """Refit, print, write."""
    parser = argparse.ArgumentParser(description="Refit the shape law of latmodel.quality from Gemstones.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/shape_quality"))
    parser.add_argument("--out", type=Path, default=PACKAGED)
    options = parser.parse_args()
    try:
        content = packaged_file(read_losses(options.data), datetime.date.today().isoformat())
        text = json.dumps(content, indent=1) + "\n"
        options.out.write_text(text, encoding="utf-8")
    except (LatmodelError, OSError) as error:
        raise SystemExit(f"quality_fit: {error}") from error
    print(text, end="")


if __name__ == "__main__":
    main()
