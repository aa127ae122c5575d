"""A model from a few dimensions; what is left out is filled in as in the published study."""

from typing import Any

from ..model.architecture import Architecture
from ..model.config import CONFIG_FIELDS, ModelConfig


def shape_config(
    layers: int,
    hidden: int,
    *,
    ffn: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    vocab: int | None = None,
    tie: bool = True,
) -> ModelConfig:
    """A Llama-style model from its depth and width; what is left out is filled in as everywhere.

    Raises:
        UsageError: the dimensions do not divide as they must.
    """
    given = {
        "intermediate_size": ffn, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
        "vocab_size": vocab,
    }  # fmt: skip
    return ModelConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        tie_word_embeddings=tie,
        **{name: value for name, value in given.items() if value is not None},
    )


def config_dict(config: ModelConfig) -> dict[str, Any]:
    """The dimensions by their Hugging Face names."""
    return {name: getattr(config, name) for name in CONFIG_FIELDS}


def dimensions(model: Architecture) -> dict[str, Any]:
    """Depth, width, FFN size and heads by their Hugging Face names; the commonest block's where they differ."""
    row: dict[str, Any] = {"num_hidden_layers": int(model.num_hidden_layers), "hidden_size": int(model.hidden_size)}
    for name in ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
        sized = [(group.count, group.block.dimensions()) for group in model.groups]
        sized = [(count, sizes) for count, sizes in sized if name in sizes]
        row[name] = int(max(sized, key=lambda pair: pair[0])[1][name]) if sized else 0
    return row
