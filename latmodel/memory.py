"""Peak bytes on the device: weights, KV cache, the largest transient, and what the runtime itself takes."""

from typing import NamedTuple

from .architecture import Architecture, Block
from .arrays import Array, maximum
from .config import Numbers
from .implementation import Implementation
from .transformer import cache_elements_per_token, num_parameters


class Memory(NamedTuple):
    """Bytes on the device at the peak. The sum is what must fit."""

    weight_bytes: Array
    cache_bytes: Array
    transient_bytes: Array
    overhead_bytes: Array

    @property
    def peak_bytes(self) -> Array:
        """All of it."""
        return self.weight_bytes + self.cache_bytes + self.transient_bytes + self.overhead_bytes


def peak_memory(
    model: Architecture,
    *,
    batch: Array,
    prompt: Array,
    new: Array,
    logits_all: bool,
    numbers: Numbers,
    how: Implementation,
    overhead_bytes: float = 0.0,
    retained: Array = 0.0,
) -> Memory:
    """Bytes at the peak of one response.

    The cache grows to `prompt + new` positions; `retained` adds the positions of an older cache that is still alive.
    The transient is the larger of the prefill's (activations of the widest operator, or the logits, plus the residual
    stream) and the decode's (a growing cache is copied block by block). Fragmentation is not counted.
    """
    weights = num_parameters(model) * numbers.weight_bytes
    per_token = sum(group.count * cache_elements_per_token(group.block) for group in model.groups)
    cache = per_token * ((prompt + new + retained) * batch * numbers.cache_bytes)
    rows = batch * prompt
    residual = model.hidden_size * (2.0 * rows * numbers.activation_bytes)
    logits = model.vocab_size * ((rows if logits_all else batch) * numbers.activation_bytes)
    widest = logits
    for group in model.groups:
        widest = maximum(widest, _block_transient(group.block, model.hidden_size, rows, numbers))
        grown = cache_elements_per_token(group.block) * (
            how.cache_copies * (prompt + new) * batch * numbers.cache_bytes
        )
        widest = maximum(widest, grown)
    return Memory(weights, cache, residual + widest, overhead_bytes)


def _block_transient(block: Block, hidden: Array, rows: Array, numbers: Numbers) -> Array:
    """Activations alive at once inside a block: the gated FFN's three, or queries, keys, values and output."""
    inner = 0.0 * hidden
    if block.feed_forward is not None:
        inner = (3.0 if block.feed_forward.gated else 2.0) * block.feed_forward.intermediate_size
    if block.attention is not None:
        a = block.attention
        inner = maximum(inner, 2.0 * (a.heads * a.head_dim) + 2.0 * (a.kv_heads * a.head_dim))
    return inner * (rows * numbers.activation_bytes)
