"""Effective parameters: what a depth-to-width ratio is worth, counted in parameters.

A model of N non-embedding parameters whose shape is off the best ratio of width to depth reaches the loss
of a smaller model of the best shape. The functions are plain arithmetic on arrays that broadcast.
"""

import numpy as np
from numpy.typing import ArrayLike

from .constants import DEFAULT, ShapeLaw
from .shapes import Array


def distance(
    non_embedding_parameters: ArrayLike,
    num_hidden_layers: ArrayLike,
    hidden_size: ArrayLike,
    law: ShapeLaw = DEFAULT,
) -> Array:
    """`z = ln(hidden_size / num_hidden_layers) - ln r*`: above 0 too shallow, below 0 too deep."""
    ratio = np.divide(hidden_size, num_hidden_layers, dtype=np.float64)
    return np.asarray(np.log(ratio) - law.log_best_ratio(non_embedding_parameters), dtype=np.float64)


def effective_parameters(
    non_embedding_parameters: ArrayLike,
    num_hidden_layers: ArrayLike,
    hidden_size: ArrayLike,
    constants: ShapeLaw = DEFAULT,
) -> Array:
    """Parameters of the best-shaped model expected to reach the same loss; broadcasts.

    `N_eff = N exp(-k z^2)`, `z = ln(d/L) - ln r*`, `r* = ratio_at_reference (N / 5e8)^exponent`,
    |z| capped. Fitted by `calibration/published/quality.py` to the 22 shapes of Gemstones (McLeish et al.
    2025, arXiv 2502.06857): 0.035-1.85B non-embedding parameters, d/L 3.2-320, 3-80 layers, dense
    decoders with gated FFN. FFN ratio, KV groups and the embedding are not scored. Inputs must be
    positive: nothing is checked here, for speed.
    """
    z = distance(non_embedding_parameters, num_hidden_layers, hidden_size, constants)
    np.square(z, out=z)  # in place: a search calls this on millions of shapes
    np.minimum(z, constants.cap**2, out=z)
    np.multiply(z, -constants.k, out=z)
    np.exp(z, out=z)
    return np.asarray(np.multiply(non_embedding_parameters, z), dtype=np.float64)
