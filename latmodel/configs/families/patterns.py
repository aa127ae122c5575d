"""Which kind each layer is, where the configuration does not list them: the rules of the Transformers classes."""

from collections.abc import Callable

from ...errors import UsageError
from .fields import MAX_LAYERS, Fields

FULL, SLIDING, LINEAR, FFN, SPARSE = "full_attention", "sliding_attention", "linear_attention", "mlp", "moe"
KNOWN = (FULL, SLIDING, LINEAR, FFN, SPARSE)
# Older names of the same kinds.
LEGACY = {
    "attention": FULL, "mamba": LINEAR, "mamba2": LINEAR, "global": FULL, "local": SLIDING,
    "chunked_attention": SLIDING, "gated_deltanet": LINEAR,
}  # fmt: skip
Pattern = Callable[[Fields, int], list[str]]
# Fields that only say what `layer_types` says in full.
RULES = ("sliding_window_pattern", "use_sliding_window", "max_window_layers", "full_attention_interval")


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


def every(period: int) -> Pattern:
    """Windows in all but each `period`-th layer (`sliding_window_pattern` where the configuration has it)."""

    def kinds(fields: Fields, depth: int) -> list[str]:
        step = fields.optional("sliding_window_pattern") or period
        return [FULL if (index + 1) % step == 0 else SLIDING for index in range(depth)]

    return kinds


def late_windows(fields: Fields, depth: int) -> list[str]:
    """Qwen: windows from layer `max_window_layers` on, if `use_sliding_window`."""
    window = fields.optional("sliding_window", low=0)
    if not fields.flag("use_sliding_window") or window is None:
        return [FULL] * depth
    first = fields.whole("max_window_layers", low=0)
    return [SLIDING if index >= first else FULL for index in range(depth)]


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


def windows_without_rope(fields: Fields, depth: int) -> list[str]:
    """SmolLM3: the layers without rotary positions have the window, if `use_sliding_window`."""
    window = fields.optional("sliding_window", low=0)
    windowed = fields.flag("use_sliding_window") and window is not None
    return [SLIDING if windowed and not rotary else FULL for rotary in rope_by_interval(fields, [FULL] * depth)]


def linear_but_every(period: int) -> Pattern:
    """Linear attention in all but each `full_attention_interval`-th layer (Qwen3-Next)."""

    def kinds(fields: Fields, depth: int) -> list[str]:
        step = fields.optional("full_attention_interval") or period
        return [FULL if (index + 1) % step == 0 else LINEAR for index in range(depth)]

    return kinds


def all_linear(_fields: Fields, depth: int) -> list[str]:
    """Recurrent layers alone, unless the configuration lists others."""
    return [LINEAR] * depth


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


def rope_if_named(fields: Fields, kinds: list[str]) -> list[bool]:
    """Granite hybrids: rotary positions only where `position_embedding_type` is "rope"."""
    return [fields.value("position_embedding_type") == "rope"] * len(kinds)


def rope_by_interval(fields: Fields, kinds: list[str]) -> list[bool]:
    """SmolLM3: `no_rope_layers` (1: rotates) or all but each `no_rope_layer_interval`-th."""
    if fields.value("no_rope_layers") is not None:
        return [bool(item) for item in fields.layers("no_rope_layers", len(kinds), low=0)]
    step = fields.whole("no_rope_layer_interval")
    return [(index + 1) % step != 0 for index in range(len(kinds))]


def all_sparse(_fields: Fields, depth: int) -> list[bool]:
    """Experts in every layer."""
    return [True] * depth


def sparse_by_step(fields: Fields, depth: int) -> list[bool]:
    """Qwen: experts in each `decoder_sparse_step`-th layer but those of `mlp_only_layers`."""
    value = fields.value("mlp_only_layers") or []
    if not isinstance(value, list | tuple):
        raise UsageError("mlp_only_layers: give a list of layer numbers")
    dense = {item for item in value if isinstance(item, int)}
    step = fields.whole("decoder_sparse_step")
    return [index not in dense and (index + 1) % step == 0 for index in range(depth)]


def sparse_after_first(fields: Fields, depth: int) -> list[bool]:
    """DeepSeek: the first `first_k_dense_replace` layers are dense."""
    first = fields.optional("first_k_dense_replace", low=0) or 0
    return [index >= first for index in range(depth)]
