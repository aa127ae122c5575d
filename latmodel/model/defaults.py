"""What a dimension is that was left out: one rule for flags, tables and Python, for one shape or for many."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import UsageError

HEAD_DIM = 64
VOCAB_SIZE = 65536
TIE_WORD_EMBEDDINGS = True
# Dimension → how to give it.
GIVE = {"head_dim": "head_dim (--head-dim)", "num_attention_heads": "num_attention_heads (--heads) or head_dim"}


def fill_dimensions(given: Mapping[str, Any]) -> dict[str, Any]:
    """Dimensions by Hugging Face names, numbers or arrays that broadcast, with those left out filled in.

    intermediate_size is 8/3 of hidden_size, up to a multiple of 64; vocab_size 65536, tied. Without
    num_attention_heads, heads are of head_dim (64) and share keys in groups of 4, 3, 2 or 1, the first that divides
    them, as in the depth-width study; with it, each has keys of its own, as in Hugging Face's configurations, and
    head_dim is hidden_size / num_attention_heads. num_hidden_layers and hidden_size have no default.

    Raises:
        UsageError: hidden_size is no multiple of head_dim where the number of heads follows from them, or of the number
            of heads where head_dim does; of a column, the row is named.
    """
    filled = {name: value for name, value in given.items() if value is not None}
    filled.setdefault("vocab_size", VOCAB_SIZE)
    filled.setdefault("tie_word_embeddings", TIE_WORD_EMBEDDINGS)
    hidden = filled.get("hidden_size")
    if hidden is None:
        return filled
    if "intermediate_size" not in filled:  # for a million rows a default that nobody takes costs milliseconds
        filled["intermediate_size"] = -(-hidden // 24) * 64  # ⌈8/3 · hidden / 64⌉ · 64
    if "num_attention_heads" not in filled:
        size = filled.setdefault("head_dim", HEAD_DIM)
        filled["num_attention_heads"] = _quotient(hidden, size, "head_dim", "num_attention_heads")
        filled.setdefault("num_key_value_heads", filled["num_attention_heads"] // _group(filled["num_attention_heads"]))
    heads = filled["num_attention_heads"]
    filled.setdefault("num_key_value_heads", heads)
    if "head_dim" not in filled:
        filled["head_dim"] = _quotient(hidden, heads, "num_attention_heads", "head_dim")
    return filled


def _group(heads: Array) -> Array:
    """Query heads that share a key: 4, 3, 2 or 1, the first that divides their number."""
    four, three, two = (1 * (heads % size == 0) for size in (4, 3, 2))
    return 1 + 3 * four + (1 - four) * (2 * three + (1 - three) * two)


def _quotient(hidden: Array, divisor: Array, name: str, other: str) -> Array:
    remainder = hidden % divisor
    if np.any(remainder != 0):
        row = int(np.argmax(np.atleast_1d(remainder != 0)))
        where = f"row {row}: " if np.ndim(remainder) else ""
        values = (int(np.broadcast_to(value, np.shape(remainder)).flat[row]) for value in (hidden, divisor))
        wide, parts = values
        raise UsageError(f"{where}hidden_size {wide} is not divisible by {name} {parts}; give {GIVE[other]}")
    return hidden // divisor
