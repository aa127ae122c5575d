"""A model from a few dimensions; what is left out is filled in as in the published study."""

from typing import Any

from ..errors import UsageError
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
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=head_dim, vocab_size=vocab, tie_word_embeddings=tie,
    )  # fmt: skip


def config_dict(config: ModelConfig) -> dict[str, Any]:
    """The dimensions by their Hugging Face names."""
    return {name: getattr(config, name) for name in CONFIG_FIELDS}
