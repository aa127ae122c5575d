"""A checkpoint's formats brought to the architecture: each block knows which of its products are in another format."""

from collections.abc import Sequence
from dataclasses import replace

from ...errors import UsageError
from ...model.architecture import Architecture, Block, Group
from ...model.formats import WeightFormat
from .module_names import LayerNames, Names
from .shipped import Shipped

MAX_APART = 300  # layers that differ in what is quantised
Formats = tuple[tuple[str, WeightFormat | None], ...]
# Where each linear product of a layer stands in checkpoints, below "layers.N.": the usual names of its modules.
_ATTENTION = ("self_attn", "attn", "attention", "mixer", "self_attention")
_RECURRENT = ("linear_attn", "mixer", "mamba", "self_attn", "conv", "temporal_block")
_DENSE = ("mlp", "feed_forward", "ffn", "mixer")
_EXPERTS = ("mlp.experts", "block_sparse_moe.experts", "ffn.experts", "mixer.experts", "feed_forward.experts")
_SHARED = ("mlp.shared_experts", "mlp.shared_expert", "block_sparse_moe.shared_experts", "ffn.shared_experts",
           "mixer.shared_experts", "feed_forward.shared_expert", "shared_mlp")  # fmt: skip
_UP = ("gate_proj", "up_proj", "gate_up_proj", "w1", "w3")
_DOWN = ("down_proj", "w2")
PRODUCTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "q_proj": (_ATTENTION, ("q_proj", "wq")),
    "kv_proj": (_ATTENTION, ("k_proj", "v_proj", "wk")),
    "k_proj": (_ATTENTION, ("k_proj",)),
    "v_proj": (_ATTENTION, ("v_proj",)),
    "qkv_proj": (_ATTENTION, ("qkv_proj", "query_key_value", "c_attn", "W_pack", "Wqkv", "wqkv", "q_proj")),
    "o_proj": (_ATTENTION, ("o_proj", "wo", "dense", "out_proj", "c_proj")),
    "q_a_proj": (_ATTENTION, ("q_a_proj", "wq_a")),
    "q_b_proj": (_ATTENTION, ("q_b_proj", "wq_b")),
    "kv_a_proj": (_ATTENTION, ("kv_a_proj_with_mqa", "wkv_a")),
    "kv_b_proj": (_ATTENTION, ("kv_b_proj", "wkv_b")),
    "o_a_proj": (_ATTENTION, ("o_a_proj", "wo_a")),
    "o_b_proj": (_ATTENTION, ("o_b_proj", "wo_b")),
    "in_proj": (_RECURRENT, ("in_proj",)),
    "qkvz_proj": (_RECURRENT, ("in_proj_qkvz", "in_proj_qkv", "in_proj_z")),
    "ba_proj": (_RECURRENT, ("in_proj_ba", "in_proj_b", "in_proj_a")),
    "out_proj": (_RECURRENT, ("out_proj",)),
    "experts_up": (_EXPERTS, tuple(f"0.{name}" for name in _UP)),
    "experts_down": (_EXPERTS, tuple(f"0.{name}" for name in _DOWN)),
}  # fmt: skip


def paths(product: str, beside_experts: bool, apart: bool = False) -> tuple[str, ...]:
    """The modules that hold a product; a dense layer beside experts is a shared one, experts may stand `apart`."""
    places, names = PRODUCTS.get(product, ((), ()))
    if apart and places == _EXPERTS:
        places = ("experts",)
    if product in ("gate_up_proj", "up_proj", "down_proj"):
        places, names = _SHARED if beside_experts else _DENSE, _DOWN if product == "down_proj" else _UP
    if not places:
        places, names = (*_ATTENTION, *_RECURRENT), (product,)
    return tuple(f"{place}.{name}" for place in places for name in names)


def with_formats(model: Architecture, layers: Sequence[tuple[int, ...]], shipped: Shipped) -> Architecture:
    """The architecture whose blocks hold the checkpoint's exceptions; `layers` are the groups of each layer, in order.

    Layers that are alike but for their formats become groups of their own.
    """
    counts: dict[tuple[int, Formats], float] = {}
    known: dict[tuple[int, tuple[LayerNames, ...]], Formats] = {}
    lists = _lists(shipped)
    for index, groups in enumerate(layers):
        names = tuple(one.in_layer(index) for one in lists)
        for group in groups:
            key = (group, names)
            if key not in known:
                if len(known) >= MAX_APART:
                    raise UsageError(f"quantization_config: its lists tell more than {MAX_APART} layers apart")
                known[key] = _formats(model.groups[group].block, model, shipped, names)
            counts[group, known[key]] = counts.get((group, known[key]), 0.0) + 1.0
    found = tuple(
        Group(count, replace(model.groups[group].block, formats=formats)) for (group, formats), count in counts.items()
    )
    return replace(model, groups=found, head_format=shipped.head, embedding_format=shipped.embedding)


def _lists(shipped: Shipped) -> list[Names]:
    only = [] if shipped.only is None else [shipped.only]
    return [shipped.kept, *only, *(names for names, _ in shipped.named)]


def _formats(block: Block, model: Architecture, shipped: Shipped, names: tuple[LayerNames, ...]) -> Formats:
    """The block's products in another format than the checkpoint's main one. Fused products are as their first part."""
    found: dict[str, WeightFormat | None] = {}
    for layer in block.layers:
        for linear in layer.linears(model.hidden_size):
            form = _format(paths(linear.name, layer.has_experts, block.continues), shipped, names)
            if form != shipped.format:
                found[linear.name] = form
    if "q_proj" in found:
        found["qkv_proj"] = found["q_proj"]
    return tuple(found.items())


def _format(modules: tuple[str, ...], shipped: Shipped, names: tuple[LayerNames, ...]) -> WeightFormat | None:
    own = names[len(names) - len(shipped.named) :]
    for (entries, form), inside in zip(shipped.named, own, strict=True):
        if entries.matches(inside, modules):
            return form
    if shipped.kept.matches(names[0], modules):
        return None
    if shipped.only is not None and not shipped.only.matches(names[1], modules):
        return None
    return shipped.format
