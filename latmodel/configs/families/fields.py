"""Typed access to the fields of a configuration: aliases, class defaults, checks, and a record of what was read."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import UsageError
from ...model.config import MAX_DIMENSION

MAX_LAYERS = 5_000
# Names that other families use for the same thing.
ALIASES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "n_embed", "d_model"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "attention_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff"),
    "max_position_embeddings": ("n_positions", "max_sequence_length"),
    "vocab_size": ("padded_vocab_size",),
    "head_dim": ("attention_head_dim", "kv_channels"),
    "sliding_window": ("window_size", "attention_window_size"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": (
        "moe_topk",
        "moe_k",
        "experts_per_token",
        "num_experts_per_token",
        "top_k_experts",
        "moe_top_k",
    ),
    "n_shared_experts": ("num_shared_experts", "moe_num_shared_experts", "num_shared_expert"),
    "moe_intermediate_size": ("expert_ffn_hidden_size",),
    "layer_types": ("layers_block_type",),
    "sliding_window_pattern": ("_sliding_window_pattern",),
    "partial_rotary_factor": ("rotary_pct",),
    "dtype": ("torch_dtype",),
}


class Fields:
    """The fields of one configuration. A field that is present with null is null; an absent one has its default."""

    def __init__(self, data: Mapping[str, Any], defaults: Mapping[str, Any], family: str) -> None:
        self._data = data
        self._defaults = defaults
        self.family = family
        self.read: set[str] = set()
        self.assumed: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # thousands of unlike layers ask the same

    def name(self, field: str) -> str:
        """The name under which the configuration gives `field`.

        Raises:
            UsageError: two names give it different values.
        """
        if field in self._names:
            return self._names[field]
        names = [one for one in (field, *ALIASES.get(field, ())) if one in self._data]
        self.read.update(names)
        given = [one for one in names if self._data[one] is not None]
        if len(given) > 1 and self._data[given[0]] != self._data[given[1]]:
            raise UsageError(
                f"{given[0]} and {given[1]} are one thing and differ: {_shown(self._data[given[0]])}, "
                f"{_shown(self._data[given[1]])}"
            )
        self._names[field] = (given or names or [field])[0]
        return self._names[field]

    def value(self, field: str) -> Any:
        """The raw value, the class's default where the field is absent, None where neither is."""
        name = self.name(field)
        if name in self._data:
            return self._data[name]
        default = self._defaults.get(field)
        if default is not None:
            self.assumed[field] = default
        return default

    def known(self) -> set[str]:
        """Every name of a field that the class has a default for, read or not: no layer may ask for it."""
        return {name for field in self._defaults for name in (field, *ALIASES.get(field, ()))}

    def has_default(self, field: str) -> bool:
        """Whether the class has a default for `field`, be it null."""
        return field in self._defaults

    def whole(self, field: str, low: int = 1, high: int = MAX_DIMENSION) -> int:
        """A whole number.

        Raises:
            UsageError: absent, null, no whole number or out of range.
        """
        value = self.optional(field, low, high)
        if value is None:
            name = self.name(field)
            raise UsageError(f"{name} is {'null' if name in self._data else 'missing'} in the configuration")
        return value

    def optional(self, field: str, low: int = 1, high: int = MAX_DIMENSION) -> int | None:
        """A whole number, or None where it is null or absent without a default."""
        value = self.value(field)
        return None if value is None else checked(self.name(field), value, low, high)

    def refuse_negative(self, field: str) -> None:
        """Refuse a negative number in a field that may not be read at all.

        Raises:
            UsageError: it is negative.
        """
        value = self._data.get(field)
        if isinstance(value, int | float) and value < 0:
            raise UsageError(f"{field} is {_shown(value)}: give a positive number of positions, or null")

    def flag(self, field: str, default: bool = False) -> bool:
        """True or false; null counts as `default`.

        Raises:
            UsageError: anything else.
        """
        value = self.value(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise UsageError(f"{self.name(field)} is {_shown(value)}: give true or false")
        return value

    def share(self, field: str, default: float) -> float:
        """A number from 0 to 1; null or absent is `default`."""
        value = self.value(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UsageError(f"{self.name(field)} is {_shown(value)}: give a number from 0 to 1")
        return float(value)

    def number(self, field: str, low: float = 0.0, high: float = 1e6) -> float | None:
        """A number, or None where it is null or absent without a default."""
        value = self.value(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UsageError(f"{self.name(field)} is {_shown(value)}: give a number from {low:g} to {high:g}")
        return float(value)

    def words(self, field: str) -> list[str] | None:
        """A list of words, or None."""
        value = self.value(field)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_LAYERS:
            raise UsageError(f"{self.name(field)} is {_shown(value)}: give a list, one entry a layer")
        wrong = [item for item in value if not isinstance(item, str)]
        if wrong:
            raise UsageError(f"{self.name(field)} holds {_shown(wrong[0])}: give the kind of each layer by name")
        return list(value)

    def layers(self, field: str, count: int, low: int = 1) -> list[int]:
        """One whole number for each of `count` layers; a single number stands for all.

        Raises:
            UsageError: a list of another length, or an entry that is no such number.
        """
        value = self.value(field)
        if not isinstance(value, list | tuple):
            return [self.whole(field, low)] * count
        name = self.name(field)
        if len(value) != count:
            raise UsageError(f"{name} has {len(value)} entries for {count} layers")
        return [checked(f"{name}[{index}]", item, low, MAX_DIMENSION) for index, item in enumerate(value)]

    def numbers(self, field: str) -> list[int]:
        """A list of the numbers of layers, empty where it is null or absent.

        Raises:
            UsageError: no list, or an entry that is no whole number.
        """
        value = self.value(field)
        if value is None:
            return []
        if not isinstance(value, list | tuple) or len(value) > MAX_LAYERS:
            raise UsageError(f"{self.name(field)} is {_shown(value)}: give a list of the numbers of layers")
        return [checked(f"{self.name(field)}[{index}]", item, 0, MAX_LAYERS) for index, item in enumerate(value)]

    def section(self, field: str) -> Mapping[str, Any]:
        """A nested object; empty where it is null or absent."""
        value = self.value(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise UsageError(f"{self.name(field)} is {_shown(value)}: give an object")
        return value


def checked(name: str, value: Any, low: int, high: int) -> int:
    """`value` if it is a whole number from `low` to `high`.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{name} is {_shown(value)}: give a whole number")
    if not low <= value <= high:
        raise UsageError(f"{name} is {_shown(value)}, outside {low} to {high}")
    return value


def _shown(value: Any) -> str:
    """A value as it may stand in a one-line message."""
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) > 10**40:
        return "a huge number"
    return repr(value)[:60]
