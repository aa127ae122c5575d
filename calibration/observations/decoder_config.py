"""Any decoder by its Hugging Face configuration, at any depth, as measurements need it. No torch, no Transformers."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from latmodel.configs.families.fields import ALIASES
from latmodel.configs.families.reading import parse
from latmodel.configs.huggingface import decoder_fields, read_decoder
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, uniform
from latmodel.model.config import ModelConfig

MAX_TEXT_BYTES = 8_000  # a configuration rides on every measurement of it
# Not the decoder's shape: names, code to fetch, formats (weights are random, in the dtype asked for), special tokens.
LEFT_OUT = frozenset(
    ["architectures", "auto_map", "_name_or_path", "name_or_path", "transformers_version", "quantization_config",
     "torch_dtype", "dtype", "id2label", "label2id", "_attn_implementation", "attn_implementation",
     "_experts_implementation", "experts_implementation", "_attn_implementation_autoset", "bos_token_id",
     "eos_token_id", "pad_token_id", "generation_config", "task_specific_params", "tokenizer_class", "chat_template"]
)  # fmt: skip
LETTERS = "hybrid_override_pattern"
PER_LAYER = tuple(
    name
    for field in ("layer_types", "mlp_layer_types", "no_rope_layers", "num_attention_heads", "num_key_value_heads",
                  "intermediate_size", "activation_sparsity_pattern")
    for name in (field, *ALIASES.get(field, ()))
)  # fmt: skip


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder's configuration as canonical JSON: hashable, and the same wherever it is kept."""

    text: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "DecoderConfig":
        """From the fields of a decoder's own configuration.

        Raises:
            UsageError: they take more than 8 kB.
        """
        kept = {name: value for name, value in fields.items() if name not in LEFT_OUT and _is_finite(value)}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        if len(text) > MAX_TEXT_BYTES:
            raise UsageError(
                f"the configuration takes {len(text)} bytes, more than {MAX_TEXT_BYTES}: leave out the rest"
            )
        return cls(text)

    @property
    def fields(self) -> dict[str, Any]:
        """The configuration by the names of its `config.json`."""
        fields: dict[str, Any] = json.loads(self.text)
        return fields

    def architecture(self) -> Architecture:
        """What it describes."""
        return _architecture(self.text)

    @property
    def num_hidden_layers(self) -> int:
        """Blocks."""
        return int(self.architecture().num_hidden_layers)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self.architecture().hidden_size)

    @property
    def vocab_size(self) -> int:
        """Tokens."""
        return int(self.architecture().vocab_size)

    def resized(self, layers: int, vocab_size: int | None = None) -> "DecoderConfig":
        """The same with another depth, the kinds of layers repeated or cut off, and perhaps another vocabulary."""
        depth, fields = self.num_hidden_layers, self.fields
        for name in PER_LAYER:
            if isinstance(fields.get(name), list):
                fields[name] = [fields[name][i % depth] for i in range(layers)]
        if isinstance(fields.get(LETTERS), str):
            fields[LETTERS] = "".join(fields[LETTERS][i % depth] for i in range(layers))
        _put(fields, "num_hidden_layers", layers)
        if vocab_size is not None:
            _put(fields, "vocab_size", vocab_size)
        return DecoderConfig.of(fields)

    def period(self) -> int:
        """The fewest first layers that hold every kind of block."""
        kinds = {group.block for group in self.architecture().groups}
        for layers in range(1, self.num_hidden_layers):
            if {group.block for group in self.resized(layers).architecture().groups} == kinds:
                return layers
        return self.num_hidden_layers

    def model_dump(self) -> dict[str, Any]:
        """The dimensions that every decoder has, flat."""
        return {
            "model_type": self.fields.get("model_type"), "num_hidden_layers": self.num_hidden_layers,
            "hidden_size": self.hidden_size, "vocab_size": self.vocab_size,
        }  # fmt: skip


def _is_finite(value: Any) -> bool:
    """False for what holds an infinity, as defaults of time-step limits do: the class has them. Transformers writes
    it as an object."""
    try:
        return '"__float__"' not in json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False


def _put(fields: dict[str, Any], name: str, value: int) -> None:
    """Set a field under the names that the configuration uses for it."""
    names = [one for one in (name, *ALIASES.get(name, ())) if one in fields]
    for one in names or ([name] if name != "num_hidden_layers" else []):
        fields[one] = value


@lru_cache(maxsize=256)
def _architecture(text: str) -> Architecture:
    return read_decoder(parse(text.encode(), "the configuration of an observation")).architecture


def decoder_config(source: str | os.PathLike[str] | Mapping[str, Any]) -> ModelConfig | DecoderConfig:
    """What to build for a `config.json` or a preset: plain dimensions where they say all, else the configuration.

    Raises:
        UsageError: as `read_decoder`, or the configuration is too large.
    """
    fields, _ = decoder_fields(source)
    model = read_decoder(fields).architecture
    return plain_shape(model) or DecoderConfig.of(fields)


def plain_shape(model: Architecture) -> ModelConfig | None:
    """The dimensions of a Llama-style model of identical blocks; None for any other."""
    sizes = {
        "num_hidden_layers": model.num_hidden_layers, "hidden_size": model.hidden_size,
        **model.groups[0].block.dimensions(), "vocab_size": model.vocab_size,
    }  # fmt: skip
    if "num_attention_heads" not in sizes or "intermediate_size" not in sizes:
        return None
    if uniform(**sizes, tie_word_embeddings=model.tie_word_embeddings) != model:
        return None
    whole = {name: int(value) for name, value in sizes.items()}
    return ModelConfig(**whole, tie_word_embeddings=bool(model.tie_word_embeddings))
