"""Score a new ablation of depth and width, so that better evidence can overturn the default."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .compare import flags
from .constants import DEFAULT, FITTED, REFERENCE_PARAMETERS
from .effective import effective_parameters
from .laws import BESIROGLU_ALPHA
from .scores import EFFECTIVE_PARAMS, EFFECTIVE_PARAMS_LEVINE, NON_EMBEDDING_PARAMS, Score
from .shapes import Array
from .table import Ablation, read_ablation

# Losses, in nats, that differ by less are within the noise of seeds and are not ordered.
LEAST_GAP = 0.01

_SCORES: tuple[Score, ...] = (EFFECTIVE_PARAMS, NON_EMBEDDING_PARAMS, EFFECTIVE_PARAMS_LEVINE)
# Gaps needed beyond one per group before a file's own k and r* are worth stating.
LEAST_FREE = 4
# Constants whose gap RMSE, in nats, is this near the best cannot be told from them.
GOOD_AS_BEST = 0.001
_K_GRID = np.linspace(0.0, 0.14, 71)  # up to where the score would stop rising with depth
_RATIO_GRID = np.geomspace(2.0, 400.0, 80)


@dataclass(frozen=True)
class ScoreResult:
    """How one score orders and spaces the losses within the groups."""

    ordered: int
    pairs: int
    gap_rmse: float


@dataclass(frozen=True)
class OwnConstants:
    """The k and r* that fit this file best, with the default's exponent.

    The ranges hold every value that fits within 0.001 nats of the best: groups of one exact size leave k
    and the slope A to trade, so k may be wide.
    """

    k: float
    ratio_at_reference: float
    k_range: tuple[float, float]
    ratio_range: tuple[float, float]
    gap_rmse: float

    @property
    def inside_band(self) -> bool:
        """Whether the default's band and both ranges overlap."""
        pairs = ((self.k_range, FITTED.band.k), (self.ratio_range, FITTED.band.ratio_at_reference))
        return all(own[0] <= band[1] and own[1] >= band[0] for own, band in pairs)


@dataclass(frozen=True)
class AblationReport:
    """What an ablation says about the scores."""

    rows: int
    groups: int
    single_rows: int
    extrapolated: int
    capped: int
    scores: Mapping[str, ScoreResult]
    own: OwnConstants | None

    @property
    def verdict(self) -> str:
        """One line: does the file support the default score?"""
        default, blind = self.scores[EFFECTIVE_PARAMS.name], self.scores[NON_EMBEDDING_PARAMS.name]
        if default.pairs == 0:
            return f"no two losses of one group differ by more than {LEAST_GAP} nats: nothing to order"
        better_order = default.ordered - blind.ordered
        better_gaps = blind.gap_rmse - default.gap_rmse
        if better_order <= 0 and better_gaps < 0:
            return "speaks against effective-params: plain parameters do no worse here"
        if self.own is not None and not self.own.inside_band:
            return "speaks for other constants: the best k and r* here lie outside the default's band"
        if better_order >= 0 and better_gaps > 0:
            return "supports effective-params over plain parameters"
        return "undecided: order and size of the gaps disagree"


def check_ablation(path: Path | str) -> AblationReport:
    """Score an ablation with the columns layers, hidden, parameters (non-embedding), loss (nats), group.

    Losses are compared within groups only (same data, tokens, recipe, and about one size). Gaps are
    predicted as `A size^-alpha` (alpha of Besiroglu's law) with one A for the whole file, since its token
    count and data are unknown: A, and nothing else, is fitted to the file.

    Raises:
        UsageError: a bad file (row and column named), or no group of two rows or more.
    """
    table = read_ablation(Path(path))
    names, members, sizes = np.unique(table.group, return_inverse=True, return_counts=True)
    if sizes.max() < 2:
        raise UsageError(f"{path}: every group has one row; losses are compared within a group")
    shapes = {
        "num_hidden_layers": table.layers,
        "hidden_size": table.hidden,
        "non_embedding_parameters": table.parameters,
    }
    marks = flags(EFFECTIVE_PARAMS, shapes)
    return AblationReport(
        rows=len(table.loss),
        groups=len(names),
        single_rows=int((sizes == 1).sum()),
        extrapolated=int(marks.extrapolated.sum()),
        capped=int(marks.capped.sum()),
        scores={score.name: score_gaps(score(shapes), table.loss, members) for score in _SCORES},
        own=_own_constants(table, members),
    )


def score_gaps(scores: Array, loss: Array, members: NDArray[np.intp]) -> ScoreResult:
    """Order and spacing of the losses within groups by one score (parameters), given per row."""
    first, second = np.triu_indices(len(loss), k=1)
    gap = loss[first] - loss[second]
    compared = (members[first] == members[second]) & (np.abs(gap) > LEAST_GAP)
    right = (scores[first] - scores[second]) * gap < 0  # a higher score, a lower loss
    rmse = _gap_rmse(scores, loss, members)
    return ScoreResult(ordered=int((compared & right).sum()), pairs=int(compared.sum()), gap_rmse=rmse)


def check_report(report: AblationReport) -> str:
    """The report as text."""
    lines = [
        f"{report.rows} models in {report.groups} groups ({report.single_rows} of one row, not compared); "
        f"{report.extrapolated} outside the measured range, {report.capped} at the cap",
        f"{'score':<26}{'pairs in order':>16}{'gap RMSE, nats':>16}",
    ]
    for name, result in report.scores.items():
        lines.append(f"{name:<26}{f'{result.ordered}/{result.pairs}':>16}{result.gap_rmse:>16.4f}")
    if report.own is None:
        lines.append("own constants: undetermined (too few models, or no optimum within reach)")
    else:
        own = report.own
        lines.append(
            f"own constants: k {own.k:.3f} ({own.k_range[0]:.3f}-{own.k_range[1]:.3f}), r* at 0.5B "
            f"{own.ratio_at_reference:.0f} ({own.ratio_range[0]:.0f}-{own.ratio_range[1]:.0f}), gap RMSE "
            f"{own.gap_rmse:.4f}; default k {DEFAULT.k:.3f}, r* {DEFAULT.ratio_at_reference:.0f}"
        )
    return "\n".join([*lines, f"verdict: {report.verdict}"])


def _own_constants(table: Ablation, members: NDArray[np.intp]) -> OwnConstants | None:
    """The best k and r* on a grid, with the default's exponent; None when they end on its edge."""
    if len(table.loss) - len(np.unique(members)) < LEAST_FREE:
        return None
    rmse = np.empty((len(_K_GRID), len(_RATIO_GRID)))
    for (i, k), (j, ratio) in itertools.product(enumerate(_K_GRID), enumerate(_RATIO_GRID)):
        law = DEFAULT._replace(k=float(k), ratio_at_reference=float(ratio))
        sizes = effective_parameters(table.parameters, table.layers, table.hidden, law)
        rmse[i, j] = _gap_rmse(sizes, table.loss, members)
    row, col = (int(index) for index in np.unravel_index(int(rmse.argmin()), rmse.shape))
    if row in (0, len(_K_GRID) - 1) or col in (0, len(_RATIO_GRID) - 1):
        return None
    good_k, good_ratio = np.nonzero(rmse <= rmse.min() + GOOD_AS_BEST)
    return OwnConstants(
        k=float(_K_GRID[row]),
        ratio_at_reference=float(_RATIO_GRID[col]),
        k_range=(float(_K_GRID[good_k.min()]), float(_K_GRID[good_k.max()])),
        ratio_range=(float(_RATIO_GRID[good_ratio.min()]), float(_RATIO_GRID[good_ratio.max()])),
        gap_rmse=float(rmse.min()),
    )


def _gap_rmse(sizes: Array, loss: Array, members: NDArray[np.intp]) -> float:
    """RMSE of the gaps within groups under `loss = E_group + A size^-alpha`, E and A by least squares."""
    feature = (sizes / REFERENCE_PARAMETERS) ** -BESIROGLU_ALPHA
    feature, target = _centred(feature, members), _centred(loss, members)
    spread = float(feature @ feature)
    slope = float(feature @ target) / spread if spread > 0 else 0.0
    compared = np.bincount(members)[members] > 1
    return float(np.sqrt(np.mean((target - slope * feature)[compared] ** 2)))


def _centred(values: Array, members: NDArray[np.intp]) -> Array:
    means = np.bincount(members, weights=values) / np.bincount(members)
    return np.asarray(values - means[members], dtype=np.float64)
