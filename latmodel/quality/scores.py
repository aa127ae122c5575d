"""Quality scores by name. Every score is higher for the better model; a loss is negated."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import UsageError
from ..model.record import FixedRecord
from .constants import DEFAULT_LAWS, LEVINE_LAWS, ShapeLaw
from .effective import distance, effective_parameters
from .laws import BESIROGLU, LAWS, LossLaw
from .shapes import Array, Bools, Shapes, column, common_shape

# Extent of Gemstones (arXiv 2502.06857): non-embedding parameters, hidden_size / layers, layers.
MEASURED_PARAMETERS = (3e7, 2e9)
MEASURED_RATIO = (3.2, 320.0)
MEASURED_LAYERS = (3, 80)

NAMES = (
    "params",
    "non-embedding-params",
    "effective-params",
    "effective-params:levine",
    "loss",
    *(f"loss:{name}" for name in LAWS),
)


class Score(Protocol):
    """A named figure of merit of a shape; higher is better."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def monotone_in_depth(self) -> bool:
        """Whether another layer never lowers the score, so that depth need not be enumerated."""

    def __call__(self, shapes: Shapes) -> Array:
        """The score of each shape, in the shape all columns broadcast to."""

    def corners(self, shapes: Shapes) -> Array:
        """The score under the central constants (index 0) and each corner of their band: `[C, ...]`."""

    def size_corners(self, shapes: Shapes) -> Array:
        """What two shapes are compared by, the same way: parameters where the score has them."""

    def extrapolated(self, shapes: Shapes) -> Bools:
        """Where the score is used beyond what its source measured."""

    def capped(self, shapes: Shapes) -> Bools:
        """Where the penalty of the shape is capped, so that the score may be too kind."""


def _nowhere(shapes: Shapes) -> Bools:
    return np.zeros(common_shape(shapes), dtype=np.bool_)


class CountScore(FixedRecord):
    """A plain parameter count: blind to shape."""

    name: str
    size_column: str
    monotone_in_depth: bool = True

    def __call__(self, shapes: Shapes) -> Array:
        return np.broadcast_to(column(shapes, self.size_column), common_shape(shapes))

    def corners(self, shapes: Shapes) -> Array:
        return self(shapes)[np.newaxis]

    def size_corners(self, shapes: Shapes) -> Array:
        return self.corners(shapes)

    def extrapolated(self, shapes: Shapes) -> Bools:
        return _nowhere(shapes)

    def capped(self, shapes: Shapes) -> Bools:
        return _nowhere(shapes)


class EffectiveScore(FixedRecord):
    """Effective parameters under a shape law; `laws` is the central one, then the corners of its band."""

    name: str
    laws: Sequence[ShapeLaw]
    monotone_in_depth: bool = True  # every ShapeLaw refuses constants that are not

    def __call__(self, shapes: Shapes) -> Array:
        return self._under(self.laws[0], shapes)

    def corners(self, shapes: Shapes) -> Array:
        return np.stack([self._under(law, shapes) for law in self.laws])

    def size_corners(self, shapes: Shapes) -> Array:
        return self.corners(shapes)

    def extrapolated(self, shapes: Shapes) -> Bools:
        size, layers, width = _dimensions(shapes)
        inside = _within(size, MEASURED_PARAMETERS) & _within(layers, MEASURED_LAYERS)
        return np.broadcast_to(~(inside & _within(width / layers, MEASURED_RATIO)), common_shape(shapes))

    def capped(self, shapes: Shapes) -> Bools:
        law = self.laws[0]
        return np.broadcast_to(np.abs(distance(*_dimensions(shapes), law)) >= law.cap, common_shape(shapes))

    def _under(self, law: ShapeLaw, shapes: Shapes) -> Array:
        return np.broadcast_to(effective_parameters(*_dimensions(shapes), law), common_shape(shapes))


class LossScore(FixedRecord):
    """Minus the loss, in nats per token, of a law in a parameter count or in effective parameters."""

    name: str
    law: LossLaw
    size: CountScore | EffectiveScore
    tokens: float
    monotone_in_depth: bool = True

    def __call__(self, shapes: Shapes) -> Array:
        return -self.law(self.size(shapes), self.tokens)

    def corners(self, shapes: Shapes) -> Array:
        return -self.law(self.size.corners(shapes), self.tokens)

    def size_corners(self, shapes: Shapes) -> Array:
        return self.size.corners(shapes)

    def extrapolated(self, shapes: Shapes) -> Bools:
        outside = self.law.outside_range(self.size(shapes), self.tokens)
        return np.asarray(outside | self.size.extrapolated(shapes), dtype=np.bool_)

    def capped(self, shapes: Shapes) -> Bools:
        return self.size.capped(shapes)


PARAMS = CountScore("params", "num_parameters")
NON_EMBEDDING_PARAMS = CountScore("non-embedding-params", "non_embedding_parameters")
EFFECTIVE_PARAMS = EffectiveScore("effective-params", DEFAULT_LAWS)
EFFECTIVE_PARAMS_LEVINE = EffectiveScore("effective-params:levine", LEVINE_LAWS)
_WITHOUT_TOKENS: dict[str, Score] = {
    each.name: each for each in (PARAMS, NON_EMBEDDING_PARAMS, EFFECTIVE_PARAMS, EFFECTIVE_PARAMS_LEVINE)
}


def loss_score(name: str, tokens: float | None) -> LossScore:
    """`loss` (Besiroglu's law in effective parameters) or `loss:LAW` in the law's own count.

    The laws' authors counted all parameters or those without embeddings; `loss` puts N_eff, which
    leaves the embedding out, in their place, so its absolute level is a little high for small models.

    Raises:
        UsageError: no such law; tokens missing, absurd, or where the law's source says that it fails.
    """
    _, _, law_name = name.partition(":")
    if not law_name and name == "loss":
        return LossScore(name, BESIROGLU, EFFECTIVE_PARAMS, BESIROGLU.check_tokens(tokens))
    if law_name not in LAWS:
        raise UsageError(f"no loss law {law_name!r}; choose from {', '.join(LAWS)}, or plain loss")
    law = LAWS[law_name]
    return LossScore(name, law, CountScore(law.size_column, law.size_column), law.check_tokens(tokens))


def named_score(spec: str, tokens: float | None) -> Score | None:
    """The built-in score of that name, or None when it is not one."""
    if spec in _WITHOUT_TOKENS:
        return _WITHOUT_TOKENS[spec]
    if spec == "loss" or spec.startswith("loss:"):
        return loss_score(spec, tokens)
    return None


def _dimensions(shapes: Shapes) -> tuple[Array, Array, Array]:
    return (
        column(shapes, "non_embedding_parameters"),
        column(shapes, "num_hidden_layers"),
        column(shapes, "hidden_size"),
    )


def _within(values: Array, limits: tuple[float, float]) -> Bools:
    return np.asarray((values >= limits[0]) & (values <= limits[1]), dtype=np.bool_)
