"""Which layers have experts: the rules of the Transformers classes."""

from collections.abc import Callable

from ...errors import UsageError
from .fields import Fields

LISTED = {"dense": False, "mlp": False, "sparse": True, "moe": True}


def all_sparse(_fields: Fields, depth: int) -> list[bool]:
    """Experts in every layer."""
    return [True] * depth


def sparse_by_step(fields: Fields, depth: int) -> list[bool]:
    """Qwen: experts in each `decoder_sparse_step`-th layer but those of `mlp_only_layers`."""
    dense = set(fields.numbers("mlp_only_layers"))
    step = fields.optional("decoder_sparse_step") or 1
    return [index not in dense and (index + 1) % step == 0 for index in range(depth)]


def sparse_after_first(fields: Fields, depth: int) -> list[bool]:
    """DeepSeek: the first `first_k_dense_replace` layers are dense, unless the configuration lists them."""
    listed = _listed(fields, depth)
    if listed is not None:
        return listed
    first = fields.optional("first_k_dense_replace", low=0) or 0
    return [index >= first for index in range(depth)]


def sparse_after(field: str) -> Callable[[Fields, int], list[bool]]:
    """As many dense layers first as a field says, unless the configuration lists them."""

    def rule(fields: Fields, depth: int) -> list[bool]:
        listed = _listed(fields, depth)
        first = fields.optional(field, low=0) or 0
        return [index >= first for index in range(depth)] if listed is None else listed

    return rule


def _listed(fields: Fields, depth: int) -> list[bool] | None:
    """`mlp_layer_types` by name, or `moe_layer_freq` as a list of 0 and 1; None where neither lists the layers.

    Raises:
        UsageError: a list of another length, or a name that is not known.
    """
    words = fields.words("mlp_layer_types")
    if words is not None:
        if len(words) != depth:
            raise UsageError(f"mlp_layer_types lists {len(words)} layers for {depth}")
        for index, word in enumerate(words):
            if word not in LISTED:
                raise UsageError(f"mlp_layer_types[{index}] is {word[:40]!r}; known: {', '.join(LISTED)}")
        fields.name("first_k_dense_replace")
        return [LISTED[word] for word in words]
    if isinstance(fields.value("moe_layer_freq"), list):
        fields.name("first_k_dense_replace")
        return [bool(item) for item in fields.layers("moe_layer_freq", depth, low=0)]
    step = fields.optional("moe_layer_freq")
    if step not in (None, 1):
        raise UsageError(f"moe_layer_freq is {step}: experts in each {step}th layer are not known of {fields.family}")
    return None


def sparse_between(fields: Fields, depth: int) -> list[bool]:
    """ERNIE 4.5: each `moe_layer_interval`-th layer from `moe_layer_start_index` to `moe_layer_end_index`."""
    start, step = fields.optional("moe_layer_start_index", low=0) or 0, fields.optional("moe_layer_interval") or 1
    last = fields.value("moe_layer_end_index")
    end = depth - 1 if last in (None, -1) else fields.whole("moe_layer_end_index", low=0)
    return [(index + 1) % step == 0 and start <= index <= end for index in range(depth)]


def sparse_interleaved(fields: Fields, depth: int) -> list[bool]:
    """Llama 4: the layers that `moe_layers` lists, or each `interleave_moe_layer_step`-th."""
    if fields.value("moe_layers") is not None:
        fields.name("interleave_moe_layer_step")
        chosen = set(fields.numbers("moe_layers"))
        return [index in chosen for index in range(depth)]
    step = fields.whole("interleave_moe_layer_step")
    return [(index + 1) % step == 0 for index in range(depth)]


def sparse_by_period(fields: Fields, depth: int) -> list[bool]:
    """Jamba: each `expert_layer_period`-th layer from `expert_layer_offset` on."""
    period, offset = fields.whole("expert_layer_period"), fields.whole("expert_layer_offset", low=0)
    return [index % period == offset for index in range(depth)]


def sparse_by_period_if_many(fields: Fields, depth: int) -> list[bool]:
    """Jamba: none where there is one expert alone."""
    listed = sparse_by_period(fields, depth)
    return listed if fields.whole("num_experts") > 1 else [False] * depth
