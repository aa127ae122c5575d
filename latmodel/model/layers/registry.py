"""The kinds of layer, one line each: a profile names those that it was fitted on."""

from .attention import Attention
from .experts import Experts
from .feed_forward import FeedForward
from .gated_delta import GatedDelta
from .latent_attention import LatentAttention
from .layer import Layer
from .mamba2 import Mamba2

_KINDS: tuple[type[Layer], ...] = (
    Attention,
    FeedForward,
    Experts,
    LatentAttention,
    Mamba2,
    GatedDelta,
)
KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in _KINDS}
