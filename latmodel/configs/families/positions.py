"""Which attention layers have rotary positions: the rules of the Transformers classes."""

from .fields import Fields
from .patterns import FULL, SLIDING, rotary_by_interval


def rope_everywhere(_fields: Fields, kinds: list[str]) -> list[bool]:
    """Rotary positions in every attention layer."""
    return [True] * len(kinds)


def rope_nowhere(_fields: Fields, kinds: list[str]) -> list[bool]:
    """No rotary positions."""
    return [False] * len(kinds)


def rope_unless_alibi(fields: Fields, kinds: list[str]) -> list[bool]:
    """Falcon: ALiBi biases instead of rotary positions where `alibi` is set."""
    return [not fields.flag("alibi")] * len(kinds)


def rope_in_windows(_fields: Fields, kinds: list[str]) -> list[bool]:
    """Cohere 2: only the layers with a window rotate."""
    return [kind == SLIDING for kind in kinds]


def rope_in_windows_if_any(fields: Fields, kinds: list[str]) -> list[bool]:
    """EXAONE 4: only the layers with a window rotate, and all where there is no window at all."""
    return [kind == SLIDING or fields.value("sliding_window") is None for kind in kinds]


def rope_if_named(fields: Fields, kinds: list[str]) -> list[bool]:
    """Granite hybrids: rotary positions only where `position_embedding_type` is "rope"."""
    return [fields.value("position_embedding_type") == "rope"] * len(kinds)


def rope_by_interval(fields: Fields, kinds: list[str]) -> list[bool]:
    """SmolLM3, Llama 4: `no_rope_layers` (1: rotates) or all but each `no_rope_layer_interval`-th."""
    return rotary_by_interval(fields, len(kinds))


def rope_if_any(fields: Fields, kinds: list[str]) -> list[bool]:
    """OLMo hybrids: rotary positions only where `rope_parameters` names them."""
    return [bool(fields.value("rope_parameters"))] * len(kinds)


def windows_without_rope(fields: Fields, depth: int) -> list[str]:
    """SmolLM3: the layers without rotary positions have the window, if `use_sliding_window`."""
    window = fields.optional("sliding_window", low=0)
    windowed = fields.flag("use_sliding_window") and window is not None
    return [SLIDING if windowed and not rotary else FULL for rotary in rotary_by_interval(fields, depth)]
