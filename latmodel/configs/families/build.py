"""A configuration, read by its family's declaration, as an `Architecture`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from ...errors import UsageError
from ...model.architecture import Architecture, Attention, Block, FeedForward, Group, Mixer, Norm
from ...model.layers.experts import Experts
from ...model.layers.latent_attention import LatentAttention
from .family import Family, Layer, Sparse, Switch
from .fields import Fields
from .patterns import FFN, FULL, INDEXED, SLIDING, SPARSE, layer_kinds


class Built(NamedTuple):
    """An architecture, and the groups that each layer of the configuration is a part of, in order."""

    architecture: Architecture
    layers: tuple[tuple[int, ...], ...]


def build(fields: Fields, family: Family) -> Built:
    """The architecture that `fields` describe. Equal blocks form one group wherever they stand: order costs nothing.

    Raises:
        UsageError: a field is missing, wrong, or in conflict with another; it is named.
    """
    for switch in (family.ffn_bias, family.qkv_bias, family.out_bias, family.qk_norm_if, family.output_gate):
        _on(fields, switch)  # checked even where no layer asks
    _refuse_others(fields, family)
    hidden = fields.whole("hidden_size")
    layers = _layers(fields, family)
    norm = family.norm if isinstance(family.norm, Norm) else family.norm(fields)
    counts: dict[Layer, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    mixer = cache(lambda layer: _mixer(layer, hidden, fields, family))  # thousands of layers may differ in size alone
    groups: list[Group] = []
    members: dict[Layer, tuple[int, ...]] = {}
    for layer, count in counts.items():
        blocks = _blocks(layer, norm, fields, family, mixer)
        members[layer] = tuple(range(len(groups), len(groups) + len(blocks)))
        groups += [Group(float(count), block) for block in blocks]
    has_final = family.final_norm is None or family.final_norm(fields)
    width = fields.optional("word_embed_proj_dim")
    model = Architecture(
        tuple(groups),
        float(hidden),
        float(fields.whole("vocab_size")),
        float(fields.flag("tie_word_embeddings") and family.ties),
        norm if has_final else None,
        0.0 if family.positions is None else float(fields.whole("max_position_embeddings") + family.positions),
        None if width is None or width == hidden else float(width),
        _on(fields, family.head_bias),
    )
    if family.embedding_norm:
        model = replace(model, embedding_norm=norm)
    if family.finish is not None:
        model = family.finish(fields, model)
    return Built(model, tuple(members[layer] for layer in layers))


def _refuse_others(fields: Fields, family: Family) -> None:
    """Refuse a value that changes what is built, in a field of which some values are understood.

    Raises:
        UsageError: the field is named.
    """
    for field, values in family.only.items():
        value = fields.value(field)
        if value is not None and value not in values:
            shown = ", ".join(str(item) for item in values)
            raise UsageError(f"{fields.name(field)} is {str(value)[:40]!r} in a {fields.family} model; read: {shown}")


def _layers(fields: Fields, family: Family) -> list[Layer]:
    kinds = layer_kinds(fields, family.pattern)
    depth = len(kinds)
    heads = [1] * depth if family.no_heads else fields.layers("num_attention_heads", depth)
    if family.kv_heads is not None:
        kv_heads = [family.kv_heads(fields)] * depth
    elif family.no_heads or fields.value("num_key_value_heads") is None:
        kv_heads = heads
    else:
        kv_heads = fields.layers("num_key_value_heads", depth)
    inner = _inner_sizes(fields, depth)
    sparse = family.sparse.layers(fields, depth) if family.sparse else [False] * depth
    layers = list(map(Layer, kinds, heads, kv_heads, inner, family.rope(fields, kinds), sparse))
    if family.layers is not None:
        layers = family.layers(fields, layers)
    several = len(set(heads)) > 1
    for index, layer in enumerate(layers):
        if layer.heads % layer.kv_heads:
            raise UsageError(
                f"{fields.name('num_attention_heads')} {layer.heads} is not divisible by "
                f"{fields.name('num_key_value_heads')} {layer.kv_heads}" + (f" in layer {index}" if several else "")
            )
    return layers


def _inner_sizes(fields: Fields, depth: int) -> list[int]:
    """`intermediate_size` of each layer; where a class leaves it null it means four times hidden_size."""
    if fields.value("intermediate_size") is None and fields.has_default("intermediate_size"):
        return [4 * fields.whole("hidden_size")] * depth
    return fields.layers("intermediate_size", depth)


def _blocks(
    layer: Layer, norm: Norm, fields: Fields, family: Family, mixer_of: Callable[[Layer], Mixer]
) -> tuple[Block, ...]:
    """What one layer of the configuration is built of: one block, unless the family has a rule of its own."""
    block = _block(layer, norm, fields, family, mixer_of)
    if family.scalars is not None:
        block = replace(block, scalars=float(family.scalars(fields, layer)))
    return (block,) if family.blocks is None else family.blocks(fields, layer, block)


def _block(layer: Layer, norm: Norm, fields: Fields, family: Family, mixer_of: Callable[[Layer], Mixer]) -> Block:
    scale = family.residual_scale
    if family.single and layer.kind in (FFN, SPARSE):
        sparse = layer.kind == SPARSE
        return Block(None, _feed_forward(layer._replace(sparse=sparse), fields, family), 1, norm, scale)
    mixer = mixer_of(layer._replace(inner=0, sparse=False))
    if family.single:
        return Block(mixer, None, 1, norm, scale)
    return Block(mixer, _feed_forward(layer, fields, family), family.norms(fields), norm, scale)


def _mixer(layer: Layer, hidden: int, fields: Fields, family: Family) -> Mixer:
    if layer.kind in family.mixers:
        return family.mixers[layer.kind](fields)
    mixer = _attention(layer, hidden, fields, family)
    return mixer if family.adapt is None else family.adapt(fields, layer, mixer)


def _attention(layer: Layer, hidden: int, fields: Fields, family: Family) -> Mixer:
    if layer.kind not in (FULL, SLIDING, INDEXED):
        raise UsageError(
            f"{fields.name('layer_types')}: a {layer.kind!r} layer in a {fields.family} model is not known"
        )
    if family.latent:
        return _latent(layer, fields)
    width = layer.head_dim or head_dim(fields, layer.heads, hidden, family)
    return Attention(
        heads=float(layer.heads),
        kv_heads=float(layer.kv_heads),
        head_dim=float(width),
        window=_window(fields) if layer.kind == SLIDING else None,
        qkv_bias=_on(fields, family.qkv_bias),
        out_bias=_on(fields, family.out_bias),
        qk_norm=family.qk_norm if family.qk_norm and _on(fields, family.qk_norm_if) else "",
        qk_norm_vectors=family.qk_norm_vectors,
        rotary=_rotary_share(fields, family, width) if layer.rotates else 0.0,
        output_gate=_on(fields, family.output_gate),
        sinks=family.sinks,
        fused=family.fused_qkv,
    )


def _on(fields: Fields, switch: Switch) -> bool:
    """Whether a fact of the family holds for this configuration."""
    return switch if isinstance(switch, bool) else fields.flag(switch)


def head_dim(fields: Fields, heads: int, hidden: int, family: Family) -> int:
    """Width of a head: `head_dim`, or hidden_size over the heads.

    Raises:
        UsageError: it does not divide, or a class that needs head_dim × heads = hidden_size is given another.
    """
    given = fields.optional("head_dim")
    if given is None:
        if hidden % heads and not family.rounds_heads:
            raise UsageError(f"hidden_size {hidden} is not divisible by num_attention_heads {heads}; give head_dim")
        return hidden // heads
    if family.square_heads and given * heads != hidden:
        raise UsageError(
            f"head_dim {given} × num_attention_heads {heads} is not hidden_size {hidden}; {fields.family} needs it"
        )
    return given


def _window(fields: Fields) -> float:
    chunk = fields.optional("attention_chunk_size")
    window = fields.optional("sliding_window") if chunk is None else chunk
    if window is None:
        raise UsageError("sliding_window is null, but some layers are of the sliding kind")
    return float(window)


def _rotary_share(fields: Fields, family: Family, width: int) -> float:
    """`partial_rotary_factor`, on its own or among the rotary parameters, or `rotary_dim` of a head's `width`."""
    turned = fields.optional("rotary_dim")
    if turned is not None:
        return min(1.0, turned / width)
    for section in ("rope_parameters", "rope_scaling"):
        nested = fields.section(section)
        inner = [nested, *(value for value in nested.values() if isinstance(value, Mapping))]
        for one in inner:
            if "partial_rotary_factor" in one:
                return Fields(one, {}, fields.family).share("partial_rotary_factor", family.rotary_share)
    return fields.share("partial_rotary_factor", family.rotary_share)


def _latent(layer: Layer, fields: Fields) -> LatentAttention:
    rank = fields.optional("q_lora_rank")
    return LatentAttention(
        heads=float(layer.heads),
        query_rank=None if rank is None else float(rank),
        latent_rank=float(fields.whole("kv_lora_rank")),
        nope_dim=float(fields.whole("qk_nope_head_dim")),
        rope_dim=float(fields.whole("qk_rope_head_dim")),
        value_dim=float(fields.whole("v_head_dim")),
        bias=fields.flag("attention_bias"),
    )


def _feed_forward(layer: Layer, fields: Fields, family: Family) -> FeedForward | Experts:
    gated = family.gated if isinstance(family.gated, bool) else family.gated(fields)
    if not (layer.sparse and family.sparse):
        return FeedForward(float(layer.inner), gated, _on(fields, family.ffn_bias), family.fused_gate)
    rule: Sparse = family.sparse
    size = rule.shared(fields) if rule.shared else 0
    shared = FeedForward(float(size), gated, _on(fields, family.ffn_bias), family.fused_gate) if size else None
    count = fields.whole("num_experts", low=0 if shared else 1)
    chosen = fields.whole("num_experts_per_tok", low=0 if count == 0 else 1)
    if count == 0 and shared is not None:
        return shared
    if chosen > count:
        raise UsageError(
            f"{fields.name('num_experts_per_tok')} {chosen} is more than {fields.name('num_experts')} {count}"
        )
    latent = fields.optional("moe_latent_size")
    return Experts(
        count=float(count),
        per_token=float(chosen),
        intermediate_size=float(fields.whole(rule.size)) if rule.size != "intermediate_size" else float(layer.inner),
        gated=rule.gated,
        bias=rule.bias,
        router_bias=_on(fields, rule.router_bias),
        shared=shared,
        shared_gate=rule.shared_gate and shared is not None,
        latent_size=None if latent is None else float(latent),
        latent_bias=latent is not None and _on(fields, family.ffn_bias),
        all_run=rule.all_run,
    )
