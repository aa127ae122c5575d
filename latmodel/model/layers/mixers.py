"""The kinds of token mixer other than plain attention: one table of the formulas that `transformer` asks for."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ...arrays import Array
from ..architecture import Block, GatedDelta, LatentAttention, Mamba2
from ..config import Numbers
from ..implementation import Implementation
from ..ops import OpCost
from ..step import Step
from .latent_attention import latent_context, latent_dense, latent_parameters
from .recurrent import delta_context, delta_dense, delta_parameters, mamba2_context, mamba2_dense, mamba2_parameters


class Formulas(NamedTuple):
    """What a kind of mixer runs: operators by rows, operators by context; and its parameters."""

    dense: Callable[[Any, Array, Array, Implementation, Numbers], list[OpCost]]
    context: Callable[[Block, Step, Implementation, Numbers], list[OpCost]]
    parameters: Callable[[Any, Array], Array]


MIXERS: dict[type, Formulas] = {
    LatentAttention: Formulas(latent_dense, latent_context, latent_parameters),
    Mamba2: Formulas(mamba2_dense, mamba2_context, mamba2_parameters),
    GatedDelta: Formulas(delta_dense, delta_context, delta_parameters),
}
