"""The constants of the shape law, their band, and where they come from."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from ..model.record import FixedRecord
from .shapes import Array

# Size at which `ratio_at_reference` is quoted; inside the measured range, so it is well pinned.
REFERENCE_PARAMETERS = 5e8

# Largest distance |z| that the penalty uses: no shape was measured further from the best ratio.
CAP = 2.8

_LEVINE_DEPTHS = np.geomspace(0.05, 2000.0, 4096)

PACKAGED = Path(__file__).with_name("constants.json")


class ShapeLaw(Protocol):
    """What a shape is worth: the best ratio of width to depth, and the price of being off it."""

    @property
    def k(self) -> float:
        """Curvature of the penalty `k z^2` on ln N."""

    @property
    def cap(self) -> float:
        """Largest distance |z| that counts."""

    def log_best_ratio(self, non_embedding_parameters: ArrayLike) -> Array:
        """ln of the best hidden_size / num_hidden_layers, for models of so many parameters."""


class ShapeConstants(FixedRecord):
    """`N_eff = N exp(-k z^2)`, `z = ln(d/L) - ln r*`, `r* = ratio_at_reference (N / 5e8)^exponent`.

    Raises:
        UsageError: a constant is not finite, out of its domain, or would let a larger model score worse.
    """

    k: float
    ratio_at_reference: float
    exponent: float
    cap: float = CAP

    def __post_init__(self) -> None:
        values = (self.k, self.ratio_at_reference, self.exponent, self.cap)
        if not all(math.isfinite(value) for value in values):
            raise UsageError(f"shape constants must be finite, got {values}; refit them")
        if self.k < 0 or self.ratio_at_reference <= 0 or self.cap <= 0:
            raise UsageError(f"shape constants need k >= 0, ratio > 0, cap > 0, got {values}")
        if not self.is_monotone:
            raise UsageError(
                f"with k={self.k:g}, exponent={self.exponent:g}, cap={self.cap:g} a larger model could score "
                "worse; lower k or cap until 2*k*cap*(1+|exponent|) < 1"
            )

    @property
    def is_monotone(self) -> bool:
        """Whether N_eff rises with depth and with width for every shape.

        Depth at fixed width multiplies N (N is proportional to L), so
        `d ln N_eff / d ln L = 1 + 2 k z (1 + exponent)`. Width changes `ln(d/L)` by 1 and `ln N` by
        1 (only d grows) to 2 (FFN and heads grow with it): `e - 2 k z (1 - exponent e)` for e in [1, 2].
        With `|z| <= cap` all are positive when `2 k cap (1 + |exponent|) < 1`. Beyond the cap the
        penalty is constant and N_eff is proportional to N.
        """
        return 2 * self.k * self.cap * (1 + abs(self.exponent)) < 1

    def log_best_ratio(self, non_embedding_parameters: ArrayLike) -> Array:
        """`ln r* = ln ratio_at_reference + exponent ln(N / 5e8)`."""
        size = np.asarray(non_embedding_parameters, dtype=np.float64)
        offset = math.log(self.ratio_at_reference) - self.exponent * math.log(REFERENCE_PARAMETERS)
        return np.asarray(self.exponent * np.log(size) + offset, dtype=np.float64)


class LevineConstants(FixedRecord):
    """The best ratio by Levine et al. 2020, "Limits to Depth Efficiencies of Self-Attention" (2006.12467).

    A width of `exp(a + b L)` is the least at which L layers are all of use: `a = 5.039 +- 0.030`,
    `b = 0.0555 +- 0.0013`, from models of 6 to 48 layers and up to 0.6B parameters; the authors
    extrapolate to GPT-3. The size is `12 L d^2`. They give no price for being off it: `k` is fitted
    here with their optimum (`calibration/published/quality.py`).
    """

    k: float
    a: float = 5.039
    b: float = 0.0555
    cap: float = CAP

    def __post_init__(self) -> None:
        # ln r* against ln N has slope (bL - 1) / (2bL + 1), between -1 and 1/2: the same proof with 1.
        ShapeConstants(self.k, 1.0, 1.0, self.cap)

    def log_best_ratio(self, non_embedding_parameters: ArrayLike) -> Array:
        """ln r* at the depth that solves `N = 12 L exp(2 (a + b L))`, interpolated (error < 1e-4)."""
        log_widths = self.a + self.b * _LEVINE_DEPTHS
        log_sizes = np.log(12.0 * _LEVINE_DEPTHS) + 2.0 * log_widths
        log_size = np.log(np.asarray(non_embedding_parameters, dtype=np.float64))
        log_ratios = log_widths - np.log(_LEVINE_DEPTHS)
        return np.asarray(np.interp(log_size, log_sizes, log_ratios), dtype=np.float64)


class ConstantsBand(FixedRecord):
    """Intervals of the three constants, over refits of different loss tables. Not a confidence level."""

    k: tuple[float, float]
    ratio_at_reference: tuple[float, float]
    exponent: tuple[float, float]

    def corners(self, cap: float = CAP) -> tuple[ShapeConstants, ...]:
        """The eight corners of the box."""
        box = itertools.product(self.k, self.ratio_at_reference, self.exponent)
        return tuple(ShapeConstants(k, ratio, exponent, cap) for k, ratio, exponent in box)

    def contains(self, constants: ShapeConstants) -> bool:
        """Whether every constant lies within its interval."""
        pairs = (
            (self.k, constants.k),
            (self.ratio_at_reference, constants.ratio_at_reference),
            (self.exponent, constants.exponent),
        )
        return all(low <= value <= high for (low, high), value in pairs)


# The form fitted to six loss tables of Gemstones (arXiv 2502.06857) when the form was proposed for this project; the
# refit of `calibration/published/quality.py` is checked against it.
PUBLISHED_BAND = ConstantsBand(k=(0.044, 0.067), ratio_at_reference=(18.5, 28.0), exponent=(0.05, 0.26))


class Fitted(FixedRecord):
    """What the packaged file holds: the constants, their band, the same for Levine's optimum, provenance."""

    constants: ShapeConstants
    band: ConstantsBand
    levine_laws: tuple[LevineConstants, ...]
    provenance: Mapping[str, Any]


def load_constants(path: Path = PACKAGED) -> Fitted:
    """Read a constants file written by `calibration/published/quality.py`.

    Raises:
        UsageError: the file is missing, is not such a file, or holds values outside their domain.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        band = {name: (float(low), float(high)) for name, (low, high) in data["band"].items()}
        return Fitted(
            constants=ShapeConstants(**{name: float(value) for name, value in data["constants"].items()}),
            band=ConstantsBand(**band),
            levine_laws=tuple(_levine_laws(float(data["levine"]["k"]), *map(float, data["levine"]["band"]))),
            provenance=data["provenance"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a file of shape constants ({error}); reinstall latmodel") from error


def _levine_laws(k: float, low: float, high: float) -> Iterator[LevineConstants]:
    """The central law, then the corners of k and of the published errors of a and b."""
    yield LevineConstants(k)
    for corner_k, a_error, b_error in itertools.product((low, high), (-0.030, 0.030), (-0.0013, 0.0013)):
        yield LevineConstants(corner_k, a=5.039 + a_error, b=0.0555 + b_error)


FITTED = load_constants()
DEFAULT = FITTED.constants
# The central constants, then the corners of their band.
DEFAULT_LAWS: tuple[ShapeLaw, ...] = (DEFAULT, *FITTED.band.corners(DEFAULT.cap))
LEVINE_LAWS: tuple[ShapeLaw, ...] = FITTED.levine_laws
