"""A runtime whose every count is a number of its own, so that a sum tells which were taken; and what layers do in it."""

from typing import Any

from latmodel.model.formats import Numbers
from latmodel.model.implementation import AttentionPath, Implementation
from latmodel.model.kernels import Way, WeightKernel
from latmodel.model.layers.layer import Layer
from latmodel.model.ops import OpCost
from latmodel.model.step import Step

# Writes keys, values and scores out, or keeps them on the chip.
WRITES = AttentionPath(name="writes", kernels=2.0, expand_kernels=3.0, score_kernels=5.0, score_moves=7.0)
KEEPS = AttentionPath(name="keeps", kernels=2.0)
MASKS = AttentionPath(name="masks", kernels=2.0, mask_expand_kernels=3.0)

UNPACKS = WeightKernel(name="unpacks", way=Way.UNPACKED, launches=4.0)
FUSES = WeightKernel(
    name="fuses", way=Way.FUSED, launches=3.0, floors=11.0, instructions=1.5, row_step=1.0, step_s=1e-3, rows=100.0,
    beyond=UNPACKS, holds_workspace=True, gpus=("here",),
)  # fmt: skip
EIGHT = WeightKernel(name="eight", way=Way.FLOAT8, launches=2.0, beyond=FUSES)

COUNTED = Implementation(
    name="counted",
    norm_kernels=3.0,
    norm_moves=13.0,
    rope_kernels=5.0,
    rope_moves=17.0,
    activation_kernels=2.0,
    activation_moves=11.0,
    residual_kernels=7.0,
    cache_kernels=19.0,
    cache_copies=1.0,
    attentions=(KEEPS, WRITES, MASKS),
    padding_kernels=23.0,
    routing_kernels=29.0,
    expert_kernels=0.0,
    absorbs_latents=False,
    fuses_scans=False,
    kernels=(("int4-gptq", FUSES), ("fp8", EIGHT)),
    other_kernel=UNPACKS,
    unpack_moves=2.5,
)
# One that joins what it can and has kernels of its own for latents and recurrences.
JOINED = COUNTED._replace(
    name="joined", absorbs_latents=True, fuses_scans=True, fuses_projections=True, cache_copies=0.0, strided=True
)

# Weights of three bytes, activations of two, a cache of five: a sum tells which was counted.
N = Numbers(3.0, 2.0, 5.0)
HIDDEN, ROWS = 100.0, 6.0
# Two sequences: a prompt of three; a token behind seven; two tokens behind seven, which need a mask.
PROMPT, TOKEN, BEHIND = Step(3.0, 0.0, 2.0), Step(1.0, 7.0, 2.0), Step(2.0, 7.0, 2.0)
# → query-key pairs of a sequence, positions read; the same where two positions are seen at most.
SEEN = {PROMPT: (1 + 2 + 3, 3), TOKEN: (8, 8), BEHIND: (8 + 9, 9)}
WINDOWED = {PROMPT: (1 + 2 + 2, 3), TOKEN: (2, 2), BEHIND: (4, 3)}


def by_name(ops: list[OpCost]) -> dict[str, OpCost]:
    """Operators, of which no two have one name."""
    assert len({op.name for op in ops}) == len(ops)
    return {op.name: op for op in ops}


def moved(op: OpCost) -> tuple[Any, ...]:
    """FLOPs; bytes of weights, cache, activations; launches."""
    return op.flops, op.weight_bytes, op.cache_bytes, op.activation_bytes, op.kernels


def sizes(layer: Layer, fused: bool = False) -> dict[str, tuple[float, float, float]]:
    """Inputs, outputs and number of each matrix."""
    return {one.name: (one.inputs, one.outputs, one.count) for one in layer.linears(HIDDEN, fused=fused)}
