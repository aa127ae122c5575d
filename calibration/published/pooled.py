"""Errors of groups of rows (devices) as scores for a conformal interval of a row of the next group.

Rows of one device are alike, so that each device has the same weight however many rows it has (pooling CDFs; Dunn,
Wasserman, Ramdas 2022, "Distribution-Free Prediction Sets for Two-Layer Hierarchical Models"). The p-quantile of the
pooled errors covers a new row less often than p, for so few devices may all be better than the next. How much less
depends on how unlike the devices are. Let F be the share of a device's rows within the quantile: its mean over devices
is p, and the mean of k of them has the variance V = Var F / k. The mean over n independent rows has p (1 − p) / n, so
that n = p (1 − p) / V of them would tell as much (the effective number under cluster sampling; Kish 1965).

Of n independent scores the (n + 1)·p-th smallest covers at p, interpolated (Beran and Hall 1993): the pooled quantile
at p + (p − ½) / n. To this order in 1/n that holds of devices too: the quantile q̂ solves F̂(q̂) = p with an error e of
F̂, so that E F(q̂) = p + V′/2f, where f is the density and V′ = dV/dq = f (1 − 2p) / n.

With one row a device n is their number, and the rule the usual one; with devices all alike n is the number of rows. The
worst case, a next device worse than all (Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical
data"), would take the level p (k + 1) / k: of eight devices none of 90 % then exists, and of eleven 98 % of the rows
lie inside.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.9  # at which it is asked how unlike the groups are
MOST = 250  # scores; more resolve no level that an interval may have


def pooled_quantiles(groups: Sequence[Floats], levels: Floats) -> Floats:
    """Quantiles of all groups' values, each group of the same weight; between two values they are interpolated."""
    values = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 1.0 / (len(group) * len(groups))) for group in groups])
    order = np.argsort(values)
    middles = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(levels, middles, values[order])


def effective_number(groups: Sequence[Floats]) -> int:
    """How many independent values would tell as much of the quantile at `LEVEL`: from one a group to one a value."""
    at = pooled_quantiles(groups, np.array([LEVEL]))[0]
    shares = np.array([np.mean(group <= at) for group in groups])
    mean, variance = float(shares.mean()), float(shares.var()) / len(groups)
    if not 0.0 < mean < 1.0:
        return len(groups)
    return min(round(mean * (1.0 - mean) / variance) if variance else MOST, sum(map(len, groups)), MOST)


def pooled_scores(groups: Sequence[Sequence[float]]) -> list[float]:
    """Scores whose conformal quantile covers a row of the next group at the level that is asked for; [] of no group."""
    sizes = [np.abs(np.asarray(group, dtype=float)) for group in groups]
    if not sizes:
        return []
    count = effective_number(sizes)
    return [float(value) for value in pooled_quantiles(sizes, (np.arange(count) + 0.5) / count)]
