"""`read_config`: a Hugging Face `config.json` as an `Architecture`, with notes on what was assumed or left out."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.formats import WeightFormat, format_of
from .families.build import build
from .families.family import Family, Sparse
from .families.fields import ALIASES, Fields
from .families.harmless import HARMLESS, NEUTRAL
from .families.patterns import all_sliding
from .families.reading import decoder_part, plain_data
from .families.sparsity import sparse_after_first
from .families.table import FAMILIES
from .presets import preset

# Dimensions whose absence is worth a note even where the class has a default.
NOTED = ("vocab_size", "intermediate_size", "num_attention_heads", "num_experts", "num_experts_per_tok")
MAX_POSITIONS = 1_000_000_000  # a context that is promised, not a table that is kept
# What an unknown family is taken to be: Llama's block, with experts, windows or biases if its fields speak of them.
UNKNOWN = Family(
    "",
    {"num_key_value_heads": None},
    qkv_bias="attention_bias", out_bias="attention_bias", ffn_bias="mlp_bias", pattern=all_sliding,
)  # fmt: skip


class ConfigWarning(UserWarning):
    """Something of a configuration was assumed or left out."""


@dataclass(frozen=True)
class Decoder:
    """What a configuration describes: the architecture, and the rest that prediction can use."""

    architecture: Architecture
    family: str
    notes: tuple[str, ...]  # what was assumed or left out, one line each
    dtype: str | None = None  # of the weights as published
    format: WeightFormat | None = None  # of the linear layers, from `quantization_config`
    max_position_embeddings: int | None = None


def read_config(source: str | os.PathLike[str] | Mapping[str, Any] | Any) -> Architecture:
    """The architecture of a `config.json` (path, dictionary or `PretrainedConfig`); nothing is imported or fetched.

    Notes on what was assumed or left out are issued as `ConfigWarning`; `read_decoder` returns them instead.

    Raises:
        UsageError: unreadable, no decoder, or a field that is missing, wrong or in conflict; the field is named.
    """
    decoder = read_decoder(source)
    for note in decoder.notes:
        warnings.warn(note, ConfigWarning, stacklevel=2)
    return decoder.architecture


def read_decoder(source: str | os.PathLike[str] | Mapping[str, Any] | Any) -> Decoder:
    """As `read_config`, with the family, notes, dtype and quantisation of the configuration.

    A string that names no file may name a preset (`latmodel.configs.presets`).

    Raises:
        UsageError: as `read_config`.
    """
    data, notes = decoder_fields(source)
    name = data.get("model_type")
    if name is not None and not isinstance(name, str):
        raise UsageError(f"model_type is a {type(name).__name__}: give the family's name")
    known = FAMILIES.get(name) if name else None
    family = known or _unknown(data)
    fields = Fields(_with_stand_ins(data, family, notes), family.defaults, name if known and name else "Llama-style")
    try:
        architecture = build(fields, family)
    except UsageError as error:
        if known is not None or not name:
            raise
        raise UsageError(f"model_type {name[:40]!r} is not known, and as Llama-style: {error}") from None
    if known is None:
        notes.append(_assumptions(name, architecture))
    dtype = fields.value("dtype")
    chosen, note = format_of(fields.section("quantization_config"))
    positions = fields.optional("max_position_embeddings", high=MAX_POSITIONS)
    notes += _absent(fields) + _not_understood(data, fields) + ([note] if note else [])
    return Decoder(
        architecture,
        name or "unknown",
        tuple(notes),
        str(dtype).removeprefix("torch.")[:20] if dtype is not None else None,
        chosen,
        positions,
    )


def decoder_fields(source: str | os.PathLike[str] | Mapping[str, Any] | Any) -> tuple[dict[str, Any], list[str]]:
    """The text decoder's own fields, unchecked, and notes on what of the configuration is left out.

    Raises:
        UsageError: unreadable, an unknown preset, or the configuration of another kind of model.
    """
    if isinstance(source, str) and not source.endswith(".json") and not os.path.exists(source):
        source = preset(source).config
    return decoder_part(plain_data(source))


def _unknown(data: Mapping[str, Any]) -> Family:
    """Llama's block, or a mixture of experts if the fields speak of experts."""
    if not any(data.get(name) for name in ("num_experts", *ALIASES["num_experts"])):
        return UNKNOWN
    size = "moe_intermediate_size" if data.get("moe_intermediate_size") else "intermediate_size"
    return Family(
        "", UNKNOWN.defaults, qkv_bias="attention_bias", out_bias="attention_bias", ffn_bias="mlp_bias",
        pattern=all_sliding, sparse=Sparse(size, shared=_any_shared, layers=sparse_after_first),
    )  # fmt: skip


def _any_shared(fields: Fields) -> int:
    size = fields.optional("shared_expert_intermediate_size", low=0)
    if size is not None:
        return size
    shared = fields.optional("n_shared_experts", low=0) or fields.optional("num_shared_experts", low=0) or 0
    return shared * fields.whole("moe_intermediate_size") if shared else 0


def _with_stand_ins(data: dict[str, Any], family: Family, notes: list[str]) -> dict[str, Any]:
    """Values for fields that a class leaves null but cost needs, with a note each."""
    missing = {
        field: value
        for field, value in family.stand_ins.items()
        if all(data.get(name) is None for name in (field, *ALIASES.get(field, ())))
    }
    notes += [f"{field} is not given: {value} assumed" for field, value in missing.items()]
    return {**data, **missing}


def _assumptions(name: str | None, model: Architecture) -> str:
    what = f"model_type {name[:40]!r} is not known" if name else "model_type is missing"
    block = model.groups[0].block
    biases = "biases" if getattr(block.attention, "qkv_bias", False) else "no biases"
    tied = "tied" if model.tie_word_embeddings else "untied"
    return (
        f"{what}: read as Llama-style (two RMSNorms a block, gated feed-forward, rotary positions, {biases}, "
        f"no QK-norm, {tied} embeddings)"
    )


def _absent(fields: Fields) -> list[str]:
    assumed = {name: fields.assumed[name] for name in NOTED if name in fields.assumed}
    if not assumed:
        return []
    shown = ", ".join(f"{name} {value}" for name, value in assumed.items())
    return [f"not in the configuration, the class's defaults assumed: {shown}"]


def _not_understood(data: Mapping[str, Any], fields: Fields) -> list[str]:
    """Fields that are set, were not read, and are not known to cost nothing."""
    understood = fields.read | fields.known() | HARMLESS
    left = sorted(
        name
        for name, value in data.items()
        if name not in understood and _is_set(value) and not (name in NEUTRAL and value == NEUTRAL[name])
    )
    if not left:
        return []
    shown = ", ".join(name[:60] for name in left[:12]) + (f" and {len(left) - 12} more" if len(left) > 12 else "")
    return [f"not understood and left out of the cost: {shown}"]


def _is_set(value: Any) -> bool:
    """False for null, false, zero and empty values: a feature that is off."""
    return value is not None and value is not False and value != 0 and value not in ("", [], {})
