"""Bands, ties and warnings: how far a score may be trusted for each shape."""

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from ..model.record import FixedRecord
from .scores import Score
from .shapes import Array, Bools, Shapes, column, common_shape

# Ties only within this fraction: at 1B parameters 10 % is about 0.012 nats, the least a gap may claim.
TIED_WITHIN = 0.10

# intermediate_size / hidden_size, and query heads per KV head, that a search may use under a shape score: both are
# worth 0.006-0.03 nats and no score term sees them, so a free search would exploit them.
FFN_RATIO_RANGE = (2.5, 4.0)
KV_GROUPS_RANGE = (2.0, 8.0)

# Kinds of model that no score of shape applies to, and why.
NOT_COVERED = {
    "mixture": "a mixture of experts: the law was measured on dense models, its parameters are not theirs",
    "hybrid": "a hybrid of attention and other mixers: its depth is not that of a plain decoder",
    "pruned": "its law is of models trained from scratch at their shape, not cut from a larger one",
    "quantised": "quantised: what rounding the weights costs is not in the law",
}


def band(score: Score, shapes: Shapes) -> tuple[Array, Array]:
    """Lowest and highest score over the central constants and the corners of their band.

    The centre belongs to it: a shape at the central optimum scores N there and less at every corner.
    """
    corners = score.corners(shapes)
    return corners.min(axis=0), corners.max(axis=0)


class Comparison(FixedRecord):
    """Shapes over a reference, both under the same constants each time; ratios of parameters."""

    ratio: Array
    low: Array
    high: Array
    tied: Bools


def compare(score: Score, shapes: Shapes, reference: Shapes) -> Comparison:
    """Compare shapes with a reference corner by corner.

    Tied: neither is ahead under all constants, and the central scores lie within 10 %. The constants are
    shared, so an error in k moves both shapes together and cancels; comparing the two bands would call far
    more shapes tied. Scores without constants (a plain count) tie only when equal.
    """
    scores, others = score.size_corners(shapes), score.size_corners(reference)
    others = _aligned(others, scores.ndim)
    overlap = (scores <= others).any(axis=0) & (scores >= others).any(axis=0)
    largest = np.maximum(np.abs(scores[0]), np.abs(others[0]))
    near = np.abs(scores[0] - others[0]) <= TIED_WITHIN * largest
    with np.errstate(divide="ignore", invalid="ignore"):  # a user's score may be 0
        ratios = scores / others
    return Comparison(
        ratio=ratios[0],
        low=ratios.min(axis=0),
        high=ratios.max(axis=0),
        tied=np.asarray(overlap & near, dtype=np.bool_),
    )


def _aligned(corners: Array, ndim: int) -> Array:
    """Corners [C, ...] of the reference, so that what follows C broadcasts with [C, ...] of `ndim` axes."""
    padding = (1,) * max(ndim - corners.ndim, 0)
    return corners.reshape(corners.shape[0], *padding, *corners.shape[1:])


def tied(score: Score, shapes: Shapes, reference: Shapes) -> Bools:
    """Whether each shape ties with the reference; ties go to the faster."""
    return compare(score, shapes, reference).tied


def best(score: Score, shapes: Shapes, time_s: ArrayLike) -> int | None:
    """Index of the shape to call best (columns of one axis), or None when none may be.

    The highest score whose penalty is not capped leads; of the shapes tied with it the fastest wins.
    """
    eligible = ~score.capped(shapes)
    if not eligible.any():
        return None
    leader = int(np.where(eligible, score(shapes), -np.inf).argmax())
    reference = {name: np.broadcast_to(v, eligible.shape)[leader] for name, v in shapes.items()}
    rivals = eligible & tied(score, shapes, reference)
    rivals[leader] = True
    return int(np.where(rivals, np.asarray(time_s, dtype=np.float64), np.inf).argmin())


class Flags(FixedRecord):
    """Reasons to trust a score less, per shape."""

    extrapolated: Bools
    capped: Bools
    ffn_ratio: Bools
    kv_groups: Bools
    not_covered: tuple[str, ...] = ()

    def words(self, index: tuple[int, ...] = ()) -> list[str]:
        """The flags of one shape in words, for a table or a note; `()` for scalar shapes."""
        named = {
            "extrapolated": self.extrapolated,
            "capped": self.capped,
            "ffn ratio": self.ffn_ratio,
            "kv groups": self.kv_groups,
        }
        return [name for name, where in named.items() if where[index]] + list(self.not_covered)


def flags(
    score: Score,
    shapes: Shapes,
    *,
    kinds: tuple[str, ...] = (),
    ffn_ratios: tuple[float, float] = FFN_RATIO_RANGE,
    kv_groups: tuple[float, float] = KV_GROUPS_RANGE,
) -> Flags:
    """What to say beside each score.

    `kinds` names what the models are beyond plain dense decoders (keys of `NOT_COVERED`). The ranges of
    FFN ratio and KV groups are those near the user's own values; columns that are absent are not flagged.

    Raises:
        UsageError: an unknown kind.
    """
    for kind in kinds:
        if kind not in NOT_COVERED:
            raise UsageError(f"unknown kind of model {kind!r}; choose from {', '.join(NOT_COVERED)}")
    return Flags(
        extrapolated=score.extrapolated(shapes),
        capped=score.capped(shapes),
        ffn_ratio=_ratio_outside(shapes, "intermediate_size", "hidden_size", ffn_ratios),
        kv_groups=_ratio_outside(shapes, "num_attention_heads", "num_key_value_heads", kv_groups),
        not_covered=kinds,
    )


def _ratio_outside(shapes: Shapes, upper: str, lower: str, limits: tuple[float, float]) -> Bools:
    if upper not in shapes or lower not in shapes:
        return np.zeros(common_shape(shapes), dtype=np.bool_)
    ratio = column(shapes, upper) / column(shapes, lower)
    return np.broadcast_to((ratio < limits[0]) | (ratio > limits[1]), common_shape(shapes))
