"""Recurrent mixers as the families' classes build them from a configuration."""

from ...errors import UsageError
from ...model.layers.gated_delta import GatedDelta
from ...model.layers.mamba2 import Mamba2
from .fields import Fields


def gated_delta(fields: Fields) -> GatedDelta:
    """Qwen3-Next, Qwen3.5, OLMo hybrids: sizes by `linear_…` fields."""
    return GatedDelta(
        key_heads=float(fields.whole("linear_num_key_heads")),
        value_heads=float(fields.whole("linear_num_value_heads")),
        key_dim=float(fields.whole("linear_key_head_dim")),
        value_dim=float(fields.whole("linear_value_head_dim")),
        conv_kernel=float(fields.whole("linear_conv_kernel_dim")),
    )


def nemotron_mamba(fields: Fields) -> Mamba2:
    """Nemotron-H: heads and their width are given."""
    return Mamba2(
        heads=float(fields.whole("mamba_num_heads")),
        head_dim=float(fields.whole("mamba_head_dim")),
        groups=float(fields.whole("n_groups")),
        state_size=float(fields.whole("ssm_state_size")),
        conv_kernel=float(fields.whole("conv_kernel")),
        conv_bias=fields.flag("use_conv_bias"),
        bias=fields.flag("use_bias"),
        chunk=float(fields.whole("chunk_size")),
    )


def granite_mamba(fields: Fields) -> Mamba2:
    """Granite hybrids, Bamba: heads × head_dim must be the expanded width; a head_dim of "auto" follows from it.

    Raises:
        UsageError: it is not.
    """
    heads, wide = fields.whole("mamba_n_heads"), fields.whole("mamba_expand") * fields.whole("hidden_size")
    width = wide // heads if fields.value("mamba_d_head") in (None, "auto") else fields.whole("mamba_d_head")
    if width * heads != wide:
        raise UsageError(f"mamba_n_heads {heads} × mamba_d_head {width} is not mamba_expand × hidden_size {wide}")
    return Mamba2(
        heads=float(heads),
        head_dim=float(width),
        groups=float(fields.whole("mamba_n_groups")),
        state_size=float(fields.whole("mamba_d_state")),
        conv_kernel=float(fields.whole("mamba_d_conv")),
        conv_bias=fields.flag("mamba_conv_bias"),
        bias=fields.flag("mamba_proj_bias"),
        chunk=float(fields.whole("mamba_chunk_size")),
    )


def plain_mamba(fields: Fields) -> Mamba2:
    """Mamba-2 alone: heads × head_dim must be the expanded width.

    Raises:
        UsageError: it is not.
    """
    heads, width = fields.whole("num_heads"), fields.whole("head_dim")
    wide = int((fields.optional("expand") or 2) * fields.whole("hidden_size"))
    if heads * width != wide:
        raise UsageError(f"num_heads {heads} × head_dim {width} is not expand × hidden_size {wide}")
    return Mamba2(
        heads=float(heads),
        head_dim=float(width),
        groups=float(fields.whole("n_groups")),
        state_size=float(fields.whole("state_size")),
        conv_kernel=float(fields.whole("conv_kernel")),
        conv_bias=fields.flag("use_conv_bias"),
        bias=fields.flag("use_bias"),
        chunk=float(fields.whole("chunk_size")),
    )
