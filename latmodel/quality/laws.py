"""Published laws that turn a parameter count and a token count into a loss, in nats per token."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from ..model.record import FixedRecord
from .shapes import Array, Bools

# Fewer cannot train a language model of any size considered here.
LEAST_TOKENS = 1e6
# More than ten times all public text; a larger figure is a slip of units.
MOST_TOKENS = 1e15


class LossLaw(FixedRecord):
    """A law `loss(parameters, tokens)`; `size_column` names the column that its authors counted."""

    name: str
    formula: Callable[[Array, float], Array]
    size_column: str
    parameters_range: tuple[float, float]
    tokens_range: tuple[float, float]
    source: str
    breaks_at_parameters: float = math.inf
    breaks_at_tokens: float = math.inf

    def __call__(self, parameters: ArrayLike, tokens: float) -> Array:
        """Loss in nats per token (lower is better); broadcasts over the parameters.

        Raises:
            UsageError: a model at or beyond the size where the law's source says that it must fail.
        """
        count = np.asarray(parameters, dtype=np.float64)
        if np.any(count >= self.breaks_at_parameters):
            raise UsageError(
                f"loss:{self.name} does not hold from {self.breaks_at_parameters:g} parameters on "
                f"({self.source}); limit the sizes or use effective-params"
            )
        return self.formula(count, tokens)

    def outside_range(self, parameters: ArrayLike, tokens: float) -> Bools:
        """Where the law is used beyond what its authors measured."""
        count = np.asarray(parameters, dtype=np.float64)
        low, high = self.parameters_range
        tokens_outside = not self.tokens_range[0] <= tokens <= self.tokens_range[1]
        return np.asarray((count < low) | (count > high) | tokens_outside, dtype=np.bool_)

    def check_tokens(self, tokens: float | None) -> float:
        """The token count, or an error that says what is wrong with it.

        Raises:
            UsageError: missing, not finite, absurd, or where the law's source says that it must fail.
        """
        if tokens is None:
            raise UsageError("a loss needs the training tokens; add --tokens, for example --tokens 2e12")
        if not LEAST_TOKENS <= tokens <= MOST_TOKENS:  # false for NaN as well
            limits = f"{LEAST_TOKENS:g} to {MOST_TOKENS:g}"
            raise UsageError(f"--tokens {tokens:g} is absurd; give {limits} training tokens")
        if tokens >= self.breaks_at_tokens:
            raise UsageError(
                f"loss:{self.name} does not hold from {self.breaks_at_tokens:g} tokens on ({self.source}); "
                "use --quality loss or fewer --tokens"
            )
        return float(tokens)


def hoffmann_loss(parameters: Array, tokens: float) -> Array:
    """`1.69 + 406.4 / N^0.34 + 410.7 / D^0.28`, N all parameters.

    Hoffmann et al. 2022 (arXiv 2203.15556), approach 3; 70M to 16B parameters, 5 to 500B tokens.
    """
    return np.asarray(1.69 + 406.4 * parameters**-0.34 + 410.7 * tokens**-0.28, dtype=np.float64)


# Exponent of the parameters in Besiroglu et al. 2024: how fast the loss falls with size.
BESIROGLU_ALPHA = 0.34781


def besiroglu_loss(parameters: Array, tokens: float) -> Array:
    """`1.8172 + 482.01 / N^0.34781 + 2085.43 / D^0.36585`, N all parameters.

    Besiroglu et al. 2024 (arXiv 2404.10102): the same runs as Hoffmann et al., refitted.
    """
    return np.asarray(1.8172 + 482.01 * parameters**-BESIROGLU_ALPHA + 2085.43 * tokens**-0.36585, dtype=np.float64)


def kaplan_loss(parameters: Array, tokens: float) -> Array:
    """`((6.4e13 / N)^(0.076 / 0.103) + 1.8e13 / D)^0.103`, N without embeddings.

    Kaplan et al. 2020 (arXiv 2001.08361), equation 1.5 with the constants of table 2; 768 to 1.5B
    parameters and 22M to 23B tokens of WebText2. Section 6.3 of the paper: the law contradicts itself
    near 1e12 parameters and 1e12 tokens and must break down before.
    """
    by_size = (6.4e13 / parameters) ** (0.076 / 0.103)
    return np.asarray((by_size + 1.8e13 / tokens) ** 0.103, dtype=np.float64)


HOFFMANN = LossLaw(
    name="hoffmann",
    formula=hoffmann_loss,
    size_column="num_parameters",
    parameters_range=(7e7, 1.6e10),
    tokens_range=(5e9, 5e11),
    source="Hoffmann et al. 2022, arXiv 2203.15556",
)
BESIROGLU = LossLaw(
    name="besiroglu",
    formula=besiroglu_loss,
    size_column="num_parameters",
    parameters_range=(7e7, 1.6e10),
    tokens_range=(5e9, 5e11),
    source="Besiroglu et al. 2024, arXiv 2404.10102",
)
KAPLAN = LossLaw(
    name="kaplan",
    formula=kaplan_loss,
    size_column="non_embedding_parameters",
    parameters_range=(768, 1.5e9),
    tokens_range=(2.2e7, 2.3e10),
    source="Kaplan et al. 2020, arXiv 2001.08361, section 6.3",
    breaks_at_parameters=1e12,
    breaks_at_tokens=1e12,
)
LAWS = {law.name: law for law in (HOFFMANN, BESIROGLU, KAPLAN)}
