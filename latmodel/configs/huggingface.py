"""`read_config`: a Hugging Face `config.json` as an `Architecture`; exact, or refused with the field named."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.formats import WeightFormat
from .families.build import build
from .families.family import Family
from .families.fields import ALIASES, Fields
from .families.harmless import is_harmless
from .families.reading import plain_data
from .families.table import BY_CLASS, FAMILIES, SAME
from .families.unknown import unknown
from .families.wrappers import decoder_part
from .presets import names, preset
from .quantization.checkpoint import with_formats
from .quantization.methods import shipped

# Dimensions whose absence is worth a note even where the class has a default.
NOTED = ("vocab_size", "intermediate_size", "num_attention_heads", "num_experts", "num_experts_per_tok")
MAX_POSITIONS = 1_000_000_000  # a context that is promised, not a table that is kept
MAX_FIELDS = 5_000
HINT = "--assume-llama reads it as if that changed nothing"


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

    @property
    def assumed(self) -> tuple[str, ...]:
        """The notes that make predictions extrapolated."""
        return self.architecture.assumed


def read_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | Any, *, assume_llama: bool = False
) -> Architecture:
    """The architecture of a `config.json` (path, dictionary or `PretrainedConfig`); nothing is imported or fetched.

    Notes on what was assumed or left out are issued as `ConfigWarning`; `read_decoder` returns them instead.

    Raises:
        UsageError: as `read_decoder`.
    """
    decoder = read_decoder(source, assume_llama=assume_llama)
    for note in decoder.notes:
        warnings.warn(note, ConfigWarning, stacklevel=2)
    return decoder.architecture


def read_decoder(source: str | os.PathLike[str] | Mapping[str, Any] | Any, *, assume_llama: bool = False) -> Decoder:
    """As `read_config`, with the family, notes, dtype and quantisation of the configuration, or of a `.gguf` file.

    A string that names no file may name a preset (`latmodel.configs.presets`). Every field that is set must be
    understood. With `assume_llama` what is not understood is left out, an unknown family is taken for Llama's, and
    the architecture says so in `assumed`.

    Raises:
        UsageError: unreadable, no decoder, or a field that is missing, wrong, in conflict or not understood; the field
            is named.
    """
    if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(".gguf"):
        return _of_gguf(source)
    data, notes = decoder_fields(source)
    if len(data) > MAX_FIELDS:
        raise UsageError(f"the configuration has {len(data)} fields; a decoder has a few hundred at most")
    name, family, known = _family(data)
    fields = Fields(_with_stand_ins(data, family, notes), family.defaults, name if known else "Llama-style")
    try:
        architecture, layers = build(fields, family)
    except UsageError as error:
        if known or not name:
            raise
        raise UsageError(f"model_type {name[:40]!r} is not known, and as Llama-style: {error}") from None
    assumed = [] if known else [_assumptions(name, architecture)]
    dtype = fields.value("dtype")
    quantization = fields.section("quantization_config") or fields.section("quantization")
    positions = fields.optional("max_position_embeddings", high=MAX_POSITIONS)
    left = _not_understood(data, fields, family)
    if left and not assume_llama:
        where = f"a {name} model" if known else f"model_type {name[:40]!r} (not known)"
        raise UsageError(f"{left[0][:60]} is set: what it changes in {where} is not understood; {HINT}")
    if left:
        shown = ", ".join(one[:60] for one in left[:12]) + (f" and {len(left) - 12} more" if len(left) > 12 else "")
        assumed.append(f"not understood and left out of the cost: {shown}")
    notes += [*assumed, *_absent(fields)]
    if family.beside:
        notes.append(f"{family.beside}: not counted, the text decoder alone is read")
    form = None
    if quantization and _is_quantised(quantization):
        own = shipped({**quantization, "expert_dtype": data.get("expert_dtype") or quantization.get("expert_dtype")})
        form = own.format._replace(shipped=True)
        architecture = with_formats(architecture, layers, own)
    return Decoder(
        replace(architecture, assumed=tuple(assumed)) if assumed else architecture,
        name or "unknown",
        tuple(notes),
        str(dtype).removeprefix("torch.")[:20] if dtype is not None else None,
        form,
        positions,
    )


def _of_gguf(path: str | os.PathLike[str]) -> Decoder:
    from .gguf.model import read_gguf

    model = read_gguf(path)
    return Decoder(model.architecture, model.family, model.notes, model.dtype, model.format, model.context)


def _is_quantised(quantization: Mapping[str, Any]) -> bool:
    """False for what trainers leave behind in unquantised checkpoints."""
    off = quantization.get("load_in_4bit") is False and quantization.get("load_in_8bit") is False
    return not off


def decoder_fields(source: str | os.PathLike[str] | Mapping[str, Any] | Any) -> tuple[dict[str, Any], list[str]]:
    """The text decoder's own fields, unchecked, and notes on what of the configuration is left out.

    Raises:
        UsageError: unreadable, an unknown preset, or the configuration of another kind of model.
    """
    if isinstance(source, str) and not source.endswith(".json") and not os.path.exists(source):
        source = preset(source).config
    data, notes = decoder_part(plain_data(source))
    named = data.get("model_name")
    if isinstance(named, str) and named.lower() in names() and not any(key in data for key in _SIZES):
        return dict(preset(named).config), [f"no sizes are given: those of preset {named.lower()}, which it names"]
    return data, notes


_SIZES = ("hidden_size", *ALIASES["hidden_size"], "num_hidden_layers", *ALIASES["num_hidden_layers"])


def _family(data: dict[str, Any]) -> tuple[str, Family, bool]:
    """The name and family of a configuration, and whether it is a known one.

    `model_type` decides; where it is not known, the class that `architectures` names. A family may bring names and
    nested fields into the common form; `data` is then changed in place.

    Raises:
        UsageError: `model_type` is no text.
    """
    name = data.get("model_type")
    if name is not None and not isinstance(name, str):
        raise UsageError(f"model_type is a {type(name).__name__}: give the family's name")
    for one in (name, _by_class(data)):
        key = SAME.get(one, one) if one else None
        if key in FAMILIES:
            family = FAMILIES[key]
            if family.convert is not None:
                changed = family.convert(data)
                data.clear()
                data.update(changed)
            return name or key, family, True
    return name or "", unknown(data), False


def _by_class(data: Mapping[str, Any]) -> str | None:
    named = data.get("architectures")
    first = named[0] if isinstance(named, list | tuple) and named else None
    return BY_CLASS.get(first) if isinstance(first, str) else None


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
    gated = "gated" if getattr(block.feed_forward, "gated", True) else "plain"
    return (
        f"{what}: read as Llama-style (two RMSNorms a block, {gated} feed-forward, rotary positions, {biases}, "
        f"no QK-norm, {tied} embeddings)"
    )


def _absent(fields: Fields) -> list[str]:
    assumed = {name: fields.assumed[name] for name in NOTED if name in fields.assumed}
    if not assumed:
        return []
    shown = ", ".join(f"{name} {value}" for name, value in assumed.items())
    return [f"not in the configuration, the class's defaults assumed: {shown}"]


def _not_understood(data: Mapping[str, Any], fields: Fields, family: Family) -> list[str]:
    """Fields that are set, were not read, and are not known to cost nothing."""
    understood = fields.read | fields.known() | set(family.harmless) | set(family.only)
    return sorted(name for name, value in data.items() if name not in understood and not is_harmless(name, value))
