"""The kinds of layer, one line each: a profile names those that it was fitted on.

A kind's module is imported when its class is asked for: a profile names many kinds, a model has two or three.
"""

from importlib import import_module

from .layer import Layer

# Kind → its module in this folder.
KINDS: dict[str, str] = {
    "Attention": "attention",
    "FeedForward": "feed_forward",
    "Experts": "experts",
    "LatentAttention": "latent_attention",
    "Mamba2": "mamba2",
    "GatedDelta": "gated_delta",
    "AlternatingUpdates": "alternating_updates",
    "CompressedAttention": "compressed_attention",
    "GatedRecurrence": "gated_recurrence",
    "HyperConnections": "hyper_connections",
    "IndexedAttention": "indexed_attention",
    "JoinedInput": "joined_input",
    "KimiDelta": "kimi_delta",
    "LightningAttention": "lightning_attention",
    "LowRankResidual": "alternating_updates",
    "Mamba": "mamba",
    "PerLayerEmbedding": "per_layer_input",
    "PerLayerInput": "per_layer_input",
    "SharedAttention": "shared_attention",
    "ShortConvolution": "short_convolution",
    "StreamProjections": "alternating_updates",
}


def layer_kind(name: str) -> type[Layer]:
    """The class of a kind of `KINDS`."""
    kind: type[Layer] = getattr(import_module(f".{KINDS[name]}", __package__), name)
    return kind
