"""Rules of Gemma 3n and Gemma 4: layers that share keys and values, per-layer inputs, several residual streams."""

from dataclasses import replace

from ...errors import UsageError
from ...model.architecture import Architecture, Attention, Block, Mixer, Norm
from ...model.layers.alternating_updates import AlternatingUpdates, LowRankResidual, StreamProjections
from ...model.layers.experts import Experts
from ...model.layers.per_layer_input import PerLayerEmbedding, PerLayerInput
from ...model.layers.shared_attention import SharedAttention
from .composed import SHARED
from .family import Layer
from .fields import Fields
from .patterns import FULL


def gemma_layers(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """Gemma 3n and 4: the last `num_kv_shared_layers` share keys and values; single layers may have sizes of their own.

    In Gemma 4 full layers have wider heads (`global_head_dim`) and perhaps fewer keys; a layer that shares may have a
    feed-forward layer of double width. `per_layer_config` says the same layer by layer.
    """
    first = len(layers) - (fields.optional("num_kv_shared_layers", low=0) or 0)
    wide, tied = fields.optional("global_head_dim"), fields.flag("attention_k_eq_v")
    few = fields.optional("num_global_key_value_heads")
    single = {int(key): value for key, value in fields.section("per_layer_config").items() if str(key).isdigit()}
    listed = fields.value("per_layer_config") is not None  # be it empty: the single sizes are then in it
    double = fields.flag("use_double_wide_mlp")
    found = []
    for index, layer in enumerate(layers):
        own, changed = single.get(index), layer
        if own is not None:
            inner = Fields(own, {}, fields.family)
            keys = inner.optional("num_key_value_heads") or layer.kv_heads
            changed = layer._replace(head_dim=inner.optional("head_dim"), kv_heads=keys)
        elif not listed and layer.kind == FULL and wide is not None:
            changed = layer._replace(head_dim=wide, kv_heads=few if few is not None and tied else layer.kv_heads)
        if index >= first:
            changed = changed._replace(variant=SHARED, inner=layer.inner * (2 if double else 1))
        found.append(changed)
    if first <= 0:
        raise UsageError(f"num_kv_shared_layers leaves none of {len(layers)} layers with keys and values of its own")
    return found


def gemma_attention(fields: Fields, layer: Layer, mixer: Mixer) -> Mixer:
    """Gemma 3n and 4: shared keys and values, or values that are the keys in Gemma 4's full layers."""
    assert isinstance(mixer, Attention), "the family's attention is plain"
    if layer.kind == FULL and fields.flag("attention_k_eq_v"):
        mixer = replace(mixer, tied_values=True)
    return SharedAttention(mixer) if layer.variant == SHARED else mixer


def gemma_3n_blocks(fields: Fields, _layer: Layer, block: Block) -> tuple[Block, ...]:
    """Gemma 3n: LAuReL beside the attention, alternating updates around the block, per-layer inputs behind it."""
    streams = AlternatingUpdates(float(fields.whole("altup_num_inputs")), fields.flag("altup_correct_scale", True))
    laurel, width = float(fields.whole("laurel_rank")), float(fields.whole("hidden_size_per_layer_input"))
    norm = block.norm
    return (
        block,
        Block(None, LowRankResidual(laurel), 1, norm, continues=True),
        Block(None, streams, 0, norm, continues=True),
        Block(None, PerLayerInput(width), 1, norm, continues=True),
    )


def gemma_3n_stem(fields: Fields, model: Architecture) -> Architecture:
    """Gemma 3n: the per-layer embedding, and the projections of its streams."""
    streams = StreamProjections(float(fields.whole("altup_num_inputs")))
    return replace(model, stem=(_per_layer_embedding(fields, model), streams))


def gemma_4_blocks(fields: Fields, _layer: Layer, block: Block) -> tuple[Block, ...]:
    """Gemma 4: experts beside the dense layer (with three norms more), per-layer inputs behind."""
    width, found = fields.optional("hidden_size_per_layer_input", low=0), [block]
    if fields.flag("enable_moe_block"):
        found.append(_gemma_4_experts(fields, block.norm))
    if width:
        found.append(Block(None, PerLayerInput(float(width)), 1, block.norm, continues=True))
    return tuple(found)


def _gemma_4_experts(fields: Fields, norm: Norm) -> Block:
    """The router scales its input and each expert: a value for each of both."""
    count, chosen = fields.whole("num_experts"), fields.whole("num_experts_per_tok")
    if chosen > count:
        raise UsageError(f"{fields.name('num_experts_per_tok')} {chosen} is more than num_experts {count}")
    experts = Experts(float(count), float(chosen), float(fields.whole("moe_intermediate_size")), router_bias=True)
    return Block(None, experts, 3, norm, scalars=float(fields.whole("hidden_size")), continues=True)


def gemma_4_stem(fields: Fields, model: Architecture) -> Architecture:
    """Gemma 4: the per-layer embedding, if there is one."""
    if not fields.optional("hidden_size_per_layer_input", low=0):
        return model
    return replace(model, stem=(_per_layer_embedding(fields, model),))


def _per_layer_embedding(fields: Fields, model: Architecture) -> PerLayerEmbedding:
    vocab = fields.optional("vocab_size_per_layer_input") or fields.whole("vocab_size")
    width = float(fields.whole("hidden_size_per_layer_input"))
    return PerLayerEmbedding(float(vocab), width, model.num_hidden_layers)
