"""Rules of families that are put together from kinds of layer of their own."""

from dataclasses import replace

from ...errors import UsageError
from ...model.architecture import Attention, Block, Mixer
from ...model.layers.gated_recurrence import GatedRecurrence
from ...model.layers.indexed_attention import IndexedAttention, Indexer
from ...model.layers.kimi_delta import KimiDelta
from ...model.layers.latent_attention import LatentAttention
from ...model.layers.lightning_attention import LightningAttention
from ...model.layers.mamba import Mamba
from ...model.layers.mamba2 import Mamba2
from ...model.layers.short_convolution import ShortConvolution
from .family import Layer
from .fields import Fields
from .patterns import INDEXED, SLIDING

SHARED = "shared"  # a layer that uses the keys and values, or the choice, of an earlier one


def short_convolution(fields: Fields) -> ShortConvolution:
    """LFM2: as wide as the stream."""
    return ShortConvolution(
        float(fields.whole("hidden_size")), float(fields.whole("conv_L_cache")), fields.flag("conv_bias")
    )


def lfm2_sizes(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """LFM2: two thirds of the size, times a factor, up to a multiple."""
    size = fields.optional("block_ff_dim") or fields.whole("intermediate_size")
    if fields.flag("block_auto_adjust_ff_dim", default=True):
        size = int(2 * size / 3)
        factor = fields.number("block_ffn_dim_multiplier")
        if factor is not None:
            step = fields.whole("block_multiple_of")
            size = step * -(-int(factor * size) // step)
    return [layer._replace(inner=size) for layer in layers]


def mamba(fields: Fields) -> Mamba:
    """Mamba, Falcon Mamba: twice as wide as the stream unless given; a rank of a sixteenth, rounded up."""
    hidden = fields.whole("hidden_size")
    inner = fields.optional("intermediate_size") or int((fields.number("expand") or 2) * hidden)
    rank = -(-hidden // 16) if fields.value("time_step_rank") in (None, "auto") else fields.whole("time_step_rank")
    return Mamba(
        float(inner), float(fields.whole("state_size")), float(rank), float(fields.whole("conv_kernel")),
        fields.flag("use_conv_bias"), fields.flag("use_bias"),
    )  # fmt: skip


def jamba_mamba(fields: Fields) -> Mamba:
    """Jamba: with norms of step and projections."""
    hidden = fields.whole("hidden_size")
    rank = -(-hidden // 16) if fields.value("mamba_dt_rank") in (None, "auto") else fields.whole("mamba_dt_rank")
    return Mamba(
        float(fields.whole("mamba_expand") * hidden), float(fields.whole("mamba_d_state")), float(rank),
        float(fields.whole("mamba_d_conv")), fields.flag("mamba_conv_bias"), fields.flag("mamba_proj_bias"),
        normed=True,
    )  # fmt: skip


def beside_mamba(fields: Fields, _layer: Layer, block: Block) -> tuple[Block, ...]:
    """Falcon-H1: a Mamba-2 mixer beside the attention, behind one norm."""
    wide = fields.optional("mamba_d_ssm") or fields.whole("mamba_expand") * fields.whole("hidden_size")
    heads = fields.whole("mamba_n_heads")
    width = wide // heads if fields.value("mamba_d_head") in (None, "auto") else fields.whole("mamba_d_head")
    if heads * width != wide:
        raise UsageError(f"mamba_n_heads {heads} × mamba_d_head {width} is not mamba_d_ssm {wide}")
    mixer = Mamba2(
        float(heads), float(width), float(fields.whole("mamba_n_groups")), float(fields.whole("mamba_d_state")),
        float(fields.whole("mamba_d_conv")), fields.flag("mamba_conv_bias"), fields.flag("mamba_proj_bias"),
        float(fields.whole("mamba_chunk_size")), gated_norm=fields.flag("mamba_rms_norm"),
        out_bias=fields.flag("projectors_bias"),
    )  # fmt: skip
    return block, Block(mixer, None, 0, block.norm, continues=True)


def gated_recurrence(fields: Fields) -> GatedRecurrence:
    """RecurrentGemma: as wide as the stream unless `lru_width` says otherwise."""
    width = fields.optional("lru_width") or fields.whole("hidden_size")
    return GatedRecurrence(
        float(width), float(fields.whole("num_attention_heads")), float(fields.whole("conv1d_width"))
    )


def half_sizes(_fields: Fields, layers: list[Layer]) -> list[Layer]:
    """RecurrentGemma: `intermediate_size` is of gate and up together."""
    return [layer._replace(inner=layer.inner // 2) for layer in layers]


def kimi_delta(fields: Fields) -> KimiDelta:
    """Kimi Linear: decay and gate by way of a head's width."""
    heads, width = float(fields.whole("linear_num_heads")), float(fields.whole("linear_head_dim"))
    full = fields.flag("linear_full_rank_gate")
    return KimiDelta(heads, width, width, None if full else width, float(fields.whole("linear_conv_kernel_dim")))


def bailing_delta(fields: Fields) -> KimiDelta:
    """Ling hybrids: decay and gate straight from the stream."""
    heads, width = float(fields.whole("linear_num_heads")), float(fields.whole("linear_head_dim"))
    return KimiDelta(heads, width, None, None, float(fields.whole("linear_conv_kernel_dim")))


def gate_a_head(_fields: Fields, _layer: Layer, mixer: Mixer) -> Mixer:
    """A gate of one value a head on the output of attention."""
    return mixer.gated_by_head()


def kimi_gate(fields: Fields, _layer: Layer, mixer: Mixer) -> Mixer:
    """Kimi K3: a gate on each value of latent attention's output, where `mla_use_output_gate` says so."""
    assert isinstance(mixer, LatentAttention), "the family's attention is latent"
    return replace(mixer, gate_width=mixer.heads * mixer.value_dim) if fields.flag("mla_use_output_gate") else mixer


def laguna_gate(fields: Fields, layer: Layer, mixer: Mixer) -> Mixer:
    """Laguna: a gate of one value a head where `gating` is true or "per-head", else one for each value."""
    gating = fields.value("gating")
    return (
        gate_a_head(fields, layer, mixer)
        if gating is True or gating == "per-head"
        else plain_gate(fields, layer, mixer)
    )


def plain_gate(_fields: Fields, _layer: Layer, mixer: Mixer) -> Mixer:
    """A gate for each value of the output, from a product without biases."""
    assert isinstance(mixer, Attention), "the family's attention is plain"
    return replace(mixer, output_gate=True, gate_bias=False)


def lfm3_gate(fields: Fields, layer: Layer, mixer: Mixer) -> Mixer:
    """LFM3: likewise."""
    return gate_a_head(fields, layer, mixer) if fields.flag("use_attention_gate", default=True) else mixer


def lightning(fields: Fields) -> LightningAttention:
    """MiniMax-01: the attention's heads."""
    heads = fields.whole("num_attention_heads")
    width = fields.optional("head_dim") or fields.whole("hidden_size") // heads
    return LightningAttention(float(heads), float(width), float(fields.whole("block_size")))


def heads_by_layer(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """Laguna: `num_attention_heads_per_layer`."""
    if fields.value("num_attention_heads_per_layer") is None:
        return layers
    heads = fields.layers("num_attention_heads_per_layer", len(layers))
    return [layer._replace(heads=own) for layer, own in zip(layers, heads, strict=True)]


def indexed_latent(fields: Fields, layer: Layer, mixer: Mixer) -> Mixer:
    """DeepSeek-V3.2, GLM-5: an indexer over the queries' latents, with a LayerNorm of its key; or an earlier choice."""
    if layer.kind != INDEXED and layer.variant != SHARED:
        return mixer
    assert isinstance(mixer, LatentAttention), "the family's attention is latent"
    if mixer.query_rank is None:
        raise UsageError("q_lora_rank is null: an indexer needs the queries' latents")
    width = float(fields.whole("index_head_dim"))
    indexer = Indexer(float(fields.whole("index_n_heads")), width, mixer.query_rank, True, 2.0 * width)
    return IndexedAttention(mixer, None if layer.variant == SHARED else indexer, float(fields.whole("index_topk")))


def shared_choices(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """GLM-5: which layers have an indexer of their own, by `indexer_types`, or by pattern, frequency and offset."""
    words = fields.words("indexer_types")
    if words is None:
        letters = fields.value("index_topk_pattern")
        frequency = max(fields.optional("index_topk_freq", low=0) or 1, 1)
        offset = fields.optional("index_skip_topk_offset", low=0)
        first = 2 if offset is None else offset
        if isinstance(letters, str):
            words = [SHARED if letter == "S" else "full" for letter in letters]
        else:
            words = ["full" if max(index - first + 1, 0) % frequency == 0 else SHARED for index in range(len(layers))]
    for field in ("index_topk_pattern", "index_topk_freq", "index_skip_topk_offset"):
        fields.name(field)
    if len(words) != len(layers) or set(words) - {"full", SHARED}:
        raise UsageError(f"indexer_types: give full or shared for each of {len(layers)} layers")
    return [layer._replace(variant=SHARED if word == SHARED else "") for layer, word in zip(layers, words, strict=True)]


def indexed_blocks(fields: Fields, layer: Layer, mixer: Mixer) -> Mixer:
    """MiniMax M3: an indexer with norms that chooses blocks of positions."""
    if layer.kind != INDEXED:
        return mixer
    assert isinstance(mixer, Attention), "the family's attention is plain"
    width = float(fields.whole("index_head_dim"))
    chosen = fields.whole("index_topk_blocks") * fields.whole("index_block_size")
    indexer = Indexer(float(fields.whole("index_n_heads")), width, None, False, 2.0 * width)
    return IndexedAttention(mixer, indexer, float(chosen))


def dense_sizes(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """MiniMax M3: dense layers have a size of their own."""
    size = fields.optional("dense_intermediate_size")
    return [layer if layer.sparse or size is None else layer._replace(inner=size) for layer in layers]


def narrow_values(fields: Fields, layer: Layer, mixer: Mixer) -> Mixer:
    """MiMo-V2: values narrower than keys, no bias on the output; sinks in the layers with a window."""
    assert isinstance(mixer, Attention), "the family's attention is plain"
    name = "add_swa_attention_sink_bias" if layer.kind == SLIDING else "add_full_attention_sink_bias"
    sinks = fields.value(name)
    return replace(
        mixer, value_dim=float(fields.whole("v_head_dim")),
        sinks=layer.kind == SLIDING if sinks is None else fields.flag(name),
    )  # fmt: skip


def doubled_keys(fields: Fields, layers: list[Layer]) -> list[Layer]:
    """MiMo-V2: layers with a window have `swa_num_key_value_heads`, twice the others' by default."""
    own = fields.optional("swa_num_key_value_heads")
    return [layer._replace(kv_heads=own or 2 * layer.kv_heads) if layer.kind == SLIDING else layer for layer in layers]
