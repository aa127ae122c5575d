"""The kinds of layer, one line each: a profile names those that it was fitted on."""

from .alternating_updates import AlternatingUpdates, LowRankResidual, StreamProjections
from .attention import Attention
from .compressed_attention import CompressedAttention
from .experts import Experts
from .feed_forward import FeedForward
from .gated_delta import GatedDelta
from .gated_recurrence import GatedRecurrence
from .hyper_connections import HyperConnections
from .indexed_attention import IndexedAttention
from .joined_input import JoinedInput
from .kimi_delta import KimiDelta
from .latent_attention import LatentAttention
from .layer import Layer
from .lightning_attention import LightningAttention
from .mamba import Mamba
from .mamba2 import Mamba2
from .per_layer_input import PerLayerEmbedding, PerLayerInput
from .shared_attention import SharedAttention
from .short_convolution import ShortConvolution

_KINDS: tuple[type[Layer], ...] = (
    Attention,
    FeedForward,
    Experts,
    LatentAttention,
    Mamba2,
    GatedDelta,
    AlternatingUpdates,
    CompressedAttention,
    GatedRecurrence,
    HyperConnections,
    IndexedAttention,
    JoinedInput,
    KimiDelta,
    LightningAttention,
    LowRankResidual,
    Mamba,
    PerLayerEmbedding,
    PerLayerInput,
    SharedAttention,
    ShortConvolution,
    StreamProjections,
)
KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in _KINDS}
