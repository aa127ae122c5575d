"""DeepSeek-V4: attention to a window and to pooled stretches, with several residual streams."""

from collections.abc import Callable
from dataclasses import replace

from ...model.architecture import Architecture, Block
from ...model.layers.compressed_attention import CompressedAttention
from ...model.layers.hyper_connections import HyperConnections
from ...model.layers.indexed_attention import Indexer
from .family import Layer
from .fields import Fields
from .patterns import POOLED, POOLED_SPARSE, SLIDING


def attention(kind: str) -> Callable[[Fields], CompressedAttention]:
    """A layer of the kind: the window alone, entries of 128 positions, or chosen entries of 4."""
    rate, series = {SLIDING: (0.0, 1.0), POOLED: (128.0, 1.0), POOLED_SPARSE: (4.0, 2.0)}[kind]

    def build(fields: Fields) -> CompressedAttention:
        latent = float(fields.whole("q_lora_rank"))
        indexer = Indexer(float(fields.whole("index_n_heads")), float(fields.whole("index_head_dim")), latent)
        chosen = float(fields.whole("index_topk"))
        return CompressedAttention(
            float(fields.whole("num_attention_heads")), float(fields.whole("head_dim")), latent,
            float(fields.whole("o_groups")), float(fields.whole("o_lora_rank")), float(fields.whole("sliding_window")),
            rate, series, indexer if kind == POOLED_SPARSE else None, chosen if kind == POOLED_SPARSE else None,
        )  # fmt: skip

    return build


def by_turns(_fields: Fields, depth: int) -> list[str]:
    """The class's default: two layers of pooled stretches, then both kinds by turns."""
    return [POOLED if index < 2 or index % 2 == 0 else POOLED_SPARSE for index in range(depth)]


def with_streams(fields: Fields, _layer: Layer, block: Block) -> tuple[Block, ...]:
    """Hyper-connections around both layers: mixes to, from and between the streams."""
    n = float(fields.whole("hc_mult"))
    return block, Block(None, HyperConnections(n, n * n + 2.0 * n, 3.0), 0, block.norm, continues=True)


def stream_head(fields: Fields, model: Architecture) -> Architecture:
    """The streams' weighted sum before the final norm."""
    n = float(fields.whole("hc_mult"))
    return replace(model, stem=(HyperConnections(n, n, 1.0, 1.0, between=False),))
