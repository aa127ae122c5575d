"""Which kind each layer is, where the configuration does not list them: the rules of the Transformers classes."""

from collections.abc import Callable

from ...errors import UsageError
from .fields import MAX_LAYERS, Fields

FULL, SLIDING, LINEAR, FFN, SPARSE = "full_attention", "sliding_attention", "linear_attention", "mlp", "moe"
CONV, INDEXED = "conv", "indexed_attention"
POOLED, POOLED_SPARSE = "heavily_compressed_attention", "compressed_sparse_attention"
KNOWN = (FULL, SLIDING, LINEAR, FFN, SPARSE, CONV, INDEXED, POOLED, POOLED_SPARSE)
# Older names of the same kinds.
LEGACY = {
    "attention": FULL, "mamba": LINEAR, "mamba2": LINEAR, "global": FULL, "local": SLIDING,
    "chunked_attention": SLIDING, "gated_deltanet": LINEAR,
    "recurrent": LINEAR, "deepseek_sparse_attention": INDEXED, "minimax_m3_sparse": INDEXED, "kda": LINEAR,
}  # fmt: skip
Pattern = Callable[[Fields, int], list[str]]
# Fields that only say what `layer_types` says in full.
RULES = ("sliding_window_pattern", "use_sliding_window", "max_window_layers", "full_attention_interval",
         "global_attn_every_n_layers", "full_attn_idxs", "hybrid_layer_pattern", "attn_layer_period",
         "attn_layer_offset", "block_types")  # fmt: skip


def layer_kinds(fields: Fields, pattern: Pattern) -> list[str]:
    """The kind of each layer, from `layer_types` or by the family's rule.

    Raises:
        UsageError: a list of the wrong length, or a kind that is not known.
    """
    fields.refuse_negative("sliding_window")  # used or not
    if fields.value("hybrid_override_pattern") is not None and fields.value("layer_types") is None:
        given: list[str] | None = _from_letters(fields)
    else:
        given = fields.words("layer_types")
    depth = fields.optional("num_hidden_layers", high=MAX_LAYERS)
    name = fields.name("layer_types")
    if given is None:
        return pattern(fields, fields.whole("num_hidden_layers", high=MAX_LAYERS))
    if depth is not None and len(given) != depth:
        raise UsageError(f"{name} lists {len(given)} layers, {fields.name('num_hidden_layers')} is {depth}")
    kinds = [LEGACY.get(kind, kind) for kind in given]
    for rule in RULES if SLIDING in kinds else (*RULES, "sliding_window"):
        fields.name(rule)
    for index, kind in enumerate(kinds):
        if kind not in KNOWN:
            raise UsageError(f"{name}[{index}] is {kind[:40]!r}; known: {', '.join(KNOWN)}")
    if not kinds:
        raise UsageError(f"{name} is empty")
    return kinds


def _from_letters(fields: Fields) -> list[str]:
    """Nemotron-H's pattern: M Mamba, * attention, - feed-forward, E experts."""
    letters = fields.value("hybrid_override_pattern")
    table = {"M": LINEAR, "*": FULL, "-": FFN, "E": SPARSE}
    if not isinstance(letters, str) or not letters or len(letters) > MAX_LAYERS or set(letters) - set(table):
        raise UsageError("hybrid_override_pattern: give one letter a layer out of M, *, -, E")
    return [table[letter] for letter in letters]


def all_full(_fields: Fields, depth: int) -> list[str]:
    """No windows."""
    return [FULL] * depth


def must_list(fields: Fields, _depth: int) -> list[str]:
    """No rule: the configuration lists its layers.

    Raises:
        UsageError: it does not.
    """
    raise UsageError(f"{fields.name('layer_types')} is missing: a {fields.family} model lists the kind of each layer")


def all_sliding(fields: Fields, depth: int) -> list[str]:
    """Every layer has the window, if there is one."""
    return [FULL if fields.optional("sliding_window") is None else SLIDING] * depth


def every(period: int, *, first: bool = False, optional: bool = False, last: bool = False) -> Pattern:
    """Windows in all but each `period`-th layer (`sliding_window_pattern` where the configuration has it).

    `first`: the full layer leads its period instead of closing it. `optional`: without a window all are full.
    `last`: the last layer is full too.
    """

    def kinds(fields: Fields, depth: int) -> list[str]:
        step = _period(fields, period)
        if optional and fields.optional("sliding_window") is None:
            return [FULL] * depth
        full = 0 if first else step - 1
        listed = [FULL if index % step == full else SLIDING for index in range(depth)]
        return [*listed[:-1], FULL] if last else listed

    return kinds


def full_by(field: str, period: int) -> Pattern:
    """Windows in all but each n-th layer, where a field may give n."""

    def kinds(fields: Fields, depth: int) -> list[str]:
        step = fields.optional(field) or period
        return [SLIDING if (index + 1) % step else FULL for index in range(depth)]

    return kinds


def chunks_with_rope(fields: Fields, depth: int) -> list[str]:
    """Llama 4: the layers with rotary positions see chunks of `attention_chunk_size` positions alone."""
    return [SLIDING if rotates else FULL for rotates in rotary_by_interval(fields, depth)]


def rotary_by_interval(fields: Fields, depth: int) -> list[bool]:
    """`no_rope_layers` (1: rotates) or all but each `no_rope_layer_interval`-th."""
    if fields.value("no_rope_layers"):
        return [bool(item) for item in fields.layers("no_rope_layers", depth, low=0)]
    step = fields.whole("no_rope_layer_interval")
    return [(index + 1) % step != 0 for index in range(depth)]


def neo_windows(fields: Fields, depth: int) -> list[str]:
    """GPT-Neo: "global" and "local" layers alike: the window is a mask, under which everything is computed and kept.

    Raises:
        UsageError: other words, or another number of layers.
    """
    for field in ("attention_types", "sliding_window"):
        fields.name(field)
    words = fields.words("attention_layers")
    if words is not None and (len(words) != depth or set(words) - {"global", "local"}):
        raise UsageError(f"attention_layers: give global or local for each of {depth} layers")
    return [FULL] * depth


def _period(fields: Fields, period: int) -> int:
    """A number of layers, or letters as EXAONE 4 writes them: "LLLG" is a period of four."""
    value = fields.value("sliding_window_pattern")
    if isinstance(value, str) and 0 < len(value) <= MAX_LAYERS and value == "L" * (len(value) - 1) + "G":
        return len(value)
    return fields.optional("sliding_window_pattern", low=0) or period


def masked(name: str) -> Pattern:
    """Windows where a list of 0 and 1 says 1."""

    def kinds(fields: Fields, depth: int) -> list[str]:
        return [SLIDING if item else FULL for item in fields.layers(name, depth, low=0)]

    return kinds


def late_windows(fields: Fields, depth: int) -> list[str]:
    """Qwen: windows from layer `max_window_layers` on, if `use_sliding_window`."""
    window = fields.optional("sliding_window", low=0)
    if not fields.flag("use_sliding_window") or window is None:
        return [FULL] * depth
    first = fields.whole("max_window_layers", low=0)
    return [SLIDING if index >= first else FULL for index in range(depth)]


def late_windows_if_any(fields: Fields, depth: int) -> list[str]:
    """dots.1: windows from layer `max_window_layers` on, if there is a window."""
    first = fields.optional("max_window_layers", low=0)
    if fields.optional("sliding_window", low=0) is None:
        return [FULL] * depth
    return [SLIDING if first is not None and index >= first else FULL for index in range(depth)]


def early_windows(fields: Fields, depth: int) -> list[str]:
    """Qwen2-MoE: windows in every other one of the first `max_window_layers`, if `use_sliding_window`."""
    fields.optional("sliding_window", low=0)
    if not fields.flag("use_sliding_window"):
        return [FULL] * depth
    last = fields.whole("max_window_layers", low=0)
    return [SLIDING if (index + 1) % 2 and index < last else FULL for index in range(depth)]


def flagged_windows(fields: Fields, depth: int) -> list[str]:
    """Windows everywhere, if `use_sliding_window`."""
    window = fields.optional("sliding_window", low=0)
    if not fields.flag("use_sliding_window") or window is None:
        return [FULL] * depth
    return [SLIDING] * depth


def linear_but_every(period: int, *, must: bool = False) -> Pattern:
    """Linear attention in all but each `full_attention_interval`-th layer (Qwen3-Next).

    `must`: where that leaves no full layer the last one is (OLMo hybrids).
    """

    def kinds(fields: Fields, depth: int) -> list[str]:
        step = fields.optional("full_attention_interval") or period
        listed = [FULL if (index + 1) % step == 0 else LINEAR for index in range(depth)]
        return [*listed[:-1], FULL] if must and FULL not in listed else listed

    return kinds


def full_where(name: str) -> Pattern:
    """Recurrent layers, but attention in the layers whose numbers a field lists (Bamba)."""

    def kinds(fields: Fields, depth: int) -> list[str]:
        chosen = set(fields.numbers(name))
        return [FULL if index in chosen else LINEAR for index in range(depth)]

    return kinds


def all_indexed(_fields: Fields, depth: int) -> list[str]:
    """An indexer in every layer."""
    return [INDEXED] * depth


def full_first(_fields: Fields, depth: int) -> list[str]:
    """MiniMax-01's class: full and linear attention by turns."""
    return [LINEAR if index % 2 else FULL for index in range(depth)]


def full_or_conv(fields: Fields, depth: int) -> list[str]:
    """LFM2: attention in the layers that `full_attn_idxs` lists, or in all."""
    if fields.value("full_attn_idxs") is None:
        return [FULL] * depth
    chosen = set(fields.numbers("full_attn_idxs"))
    return [FULL if index in chosen else CONV for index in range(depth)]


def full_by_period(fields: Fields, depth: int) -> list[str]:
    """Jamba: attention in each `attn_layer_period`-th layer from `attn_layer_offset` on."""
    period, offset = fields.whole("attn_layer_period"), fields.whole("attn_layer_offset", low=0)
    return [FULL if index % period == offset else LINEAR for index in range(depth)]


def repeated_types(fields: Fields, depth: int) -> list[str]:
    """RecurrentGemma: `block_types`, over and over; attention has a window."""
    words = fields.words("block_types") or ["recurrent", "recurrent", "attention"]
    if set(words) - {"recurrent", "attention"}:
        raise UsageError("block_types: give recurrent or attention")
    return [LINEAR if words[index % len(words)] == "recurrent" else SLIDING for index in range(depth)]


def mimo_windows(fields: Fields, depth: int) -> list[str]:
    """MiMo-V2: a list of 0 and 1, or windows in all but the first and each sixth layer."""
    if fields.value("hybrid_layer_pattern") is not None:
        return masked("hybrid_layer_pattern")(fields, depth)
    return [FULL if index == 0 or (index + 1) % 6 == 0 else SLIDING for index in range(depth)]


def all_linear(_fields: Fields, depth: int) -> list[str]:
    """Recurrent layers alone, unless the configuration lists others."""
    return [LINEAR] * depth
