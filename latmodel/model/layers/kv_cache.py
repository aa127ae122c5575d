"""What a block keeps of the positions it has seen: bytes held, and the traffic of adding to them."""

from ...arrays import Array, minimum
from ..architecture import Attention, Block, GatedDelta, LatentAttention, Mamba2
from ..config import Numbers
from ..implementation import Implementation
from ..ops import POINTWISE, OpCost
from ..step import Step

RECURRENT_BYTES = 4.0  # recurrent states stay in float32 whatever the model's dtype (transformers 5)


def elements_per_position(block: Block) -> Array:
    """Keys and values (or latents) that one block keeps for one position; 0 for a recurrent layer."""
    mixer = block.attention
    if isinstance(mixer, Attention):
        return 2.0 * mixer.key_width
    if isinstance(mixer, LatentAttention):
        return mixer.latent_rank + mixer.rope_dim
    return 0.0


def kept_positions(block: Block, positions: Array, implementation: Implementation) -> Array:
    """Positions held once `positions` have been seen.

    A sliding window caps them: at `window` in place, at `window − 1` where the cache grows by concatenation
    (the newest one joins for the pass alone).
    """
    window = getattr(block.attention, "window", None)
    if window is None:
        return positions
    return minimum(positions, window - 1.0 if implementation.cache_copies else window)


def kept_bytes(block: Block, positions: Array, implementation: Implementation, numbers: Numbers) -> Array:
    """Bytes that one block keeps for one sequence after `positions`."""
    growing = elements_per_position(block) * (kept_positions(block, positions, implementation) * numbers.cache_bytes)
    return growing + state_bytes(block, numbers)


def state_bytes(block: Block, numbers: Numbers) -> Array:
    """Bytes of a recurrent layer's state for one sequence: its convolution's last inputs and the state itself."""
    mixer = block.attention
    if isinstance(mixer, Mamba2 | GatedDelta):
        conv = conv_width(mixer) * (mixer.conv_kernel * numbers.activation_bytes)
        return conv + recurrent_elements(mixer) * RECURRENT_BYTES
    return 0.0


def conv_width(mixer: Mamba2 | GatedDelta) -> Array:
    """Channels of the causal convolution."""
    if isinstance(mixer, Mamba2):
        return mixer.heads * mixer.head_dim + 2.0 * (mixer.groups * mixer.state_size)
    return 2.0 * (mixer.key_heads * mixer.key_dim) + mixer.value_heads * mixer.value_dim


def recurrent_elements(mixer: Mamba2 | GatedDelta) -> Array:
    """Numbers in the recurrent state of one sequence."""
    if isinstance(mixer, Mamba2):
        return mixer.heads * mixer.head_dim * mixer.state_size
    return mixer.value_heads * mixer.key_dim * mixer.value_dim


def append_op(block: Block, step: Step, implementation: Implementation, numbers: Numbers) -> OpCost:
    """Append the new positions; a growing cache (`cache_copies`) reads and writes all that it holds."""
    kept = implementation.cache_copies * kept_positions(block, step.context - step.tokens, implementation)
    moved = elements_per_position(block) * (2.0 * step.batch * (kept + step.tokens) * numbers.cache_bytes)
    return OpCost("kv_cache", POINTWISE, 0.0, 0.0, 0.0, moved, implementation.cache_kernels)
