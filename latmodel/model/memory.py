"""Peak bytes on the device: weights, KV cache, the largest transient, and what the runtime itself takes."""

from typing import NamedTuple

from ..arrays import Array, is_array, largest, maximum
from .architecture import Architecture, Block
from .formats import Numbers
from .implementation import Implementation
from .ops import FLOAT32_BYTES
from .totals import Workspace, largest_linear, weight_bytes, workspace


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
    implementation: Implementation,
    overhead_bytes: float = 0.0,
    retained: Array = 0.0,
    parameters: Array | None = None,
    cache_copies: float = 1.0,
    cached: Array = 0.0,
) -> Memory:
    """Bytes at the peak of one response.

    The cache grows to `cached + prompt + new` positions; `retained` adds the positions of an older cache that is still
    alive. `parameters` are the model's, where they are at hand. `cache_copies` is a coefficient of the runtime: copies
    of the whole cache at the peak, 1 where it grows in place or layer by layer, more where every step made a new one
    (and an allocator kept the sizes between). Where a runtime writes unpacked weights out, the workspace of the
    format's kernels is overhead.
    The transient is the larger of the prefill's (activations of the widest operator, or the logits with their copy in
    float32 where the runtime makes one, plus the residual stream), the decode's (a growing cache is copied block by
    block; a quantised matrix is unpacked where the runtime writes it out) and what attention writes out (repeated keys
    and values, scores). Fragmentation is not counted.
    """
    weights = weight_bytes(model, numbers, parameters)
    positions = prompt + new
    if is_array(cached) or cached:
        positions = positions + cached
    cache = cache_bytes(model, positions, implementation, numbers) * (batch * cache_copies)
    if is_array(retained) or retained:
        cache = cache + cache_bytes(model, retained, implementation, numbers) * batch
    rows = batch * prompt
    if implementation.micro_batch is not None:
        buffers = _micro_batch_bytes(model, positions, implementation.micro_batch, implementation)
        return Memory(weights, cache, buffers, overhead_bytes)
    residual = model.hidden_size * (2.0 * rows * numbers.activation_bytes)
    widened = implementation.attention.float32_logits
    each = numbers.activation_bytes + (FLOAT32_BYTES if widened else 0.0)
    logits = model.vocab_size * ((rows if logits_all or widened else batch) * each)
    widest = logits
    for group in model.groups:
        widest = maximum(widest, _block_transient(group.block, rows, implementation, numbers))
        for layer in group.block.layers:
            each = layer.elements_per_position
            if is_array(each) or each:
                kept = layer.kept_positions(positions, implementation)
                widest = maximum(widest, each * (implementation.cache_copies * kept * batch * numbers.cache_bytes))
            if not implementation.attention.keeps_on_chip:
                written = layer.written_bytes(batch, prompt, prompt + new, implementation, numbers)
                widest = maximum(widest, written)
        if numbers.format is not None and implementation.kernel(numbers.format).unpacks:
            widest = maximum(widest, largest_linear(group.block, model.hidden_size) * numbers.activation_bytes)
    head = model.shipped_head
    if head is not None and implementation.kernel(head).unpacks:
        matrix = model.vocab_size * model.embedding.embedded_width * numbers.activation_bytes
        widest = maximum(widest, matrix)
    held = workspace_of(model, numbers, implementation)
    return Memory(weights, cache, residual + widest, overhead_bytes + held.total_bytes)


MASK_BYTES = 2.0


def _micro_batch_bytes(model: Architecture, positions: Array, rows: float, implementation: Implementation) -> Array:
    """Buffers of a runtime that computes micro-batches of u `rows`: it allocates once, for the largest.

    u · 4 bytes · (5 hidden + the FFN's live width, or 4 hidden + the mixer's), and a mask of u × positions in 16 bits.
    Where scores are written out they are there for every head in 32 bits, and so is the mask. Logits are those of the
    last row, which is not counted. Fitted to the compute buffers that llama.cpp b11549 tells of
    (`tests/test_engine_memory.py`); builds that reserved logits for every row of a micro-batch held more.
    """
    lives, on_chip = [], implementation.attention.keeps_on_chip
    for group in model.groups:
        for layer in group.block.layers:
            is_mixer = layer is group.block.attention
            live = layer.live_width_in(implementation) + (4.0 if is_mixer else 5.0) * model.hidden_size
            if is_mixer and not on_chip:
                live = live + layer.dimensions().get("num_attention_heads", 0.0) * positions
            lives.append(live)
    return largest(lives) * (rows * FLOAT32_BYTES) + positions * (rows * (MASK_BYTES if on_chip else FLOAT32_BYTES))


def workspace_of(model: Architecture, numbers: Numbers, implementation: Implementation) -> Workspace:
    """What the format's kernel holds as long as the model lives; nothing where it holds none."""
    if numbers.format is None or not implementation.kernel(numbers.format).holds_workspace:
        return Workspace()
    return workspace(model, numbers)


def cache_bytes(model: Architecture, positions: Array, implementation: Implementation, numbers: Numbers) -> Array:
    """Bytes that all blocks keep for one sequence after `positions`: keys and values, latents, recurrent states."""
    return sum(
        group.count * layer.kept_bytes(positions, implementation, numbers)
        for group in model.groups
        for layer in group.block.layers
    )


def _block_transient(block: Block, rows: Array, implementation: Implementation, numbers: Numbers) -> Array:
    """Activations alive at once inside a block: the gated FFN's three, or what its mixer projects to."""
    return largest([layer.live_width_in(implementation) for layer in block.layers]) * (rows * numbers.activation_bytes)
