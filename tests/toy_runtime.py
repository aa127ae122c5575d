"""A runtime whose every count is a number of its own, so that a sum tells which were taken."""

from latmodel.model.implementation import AttentionPath, Implementation
from latmodel.model.kernels import Way, WeightKernel

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
    name="joined", absorbs_latents=True, fuses_scans=True, fuses_projections=True, cache_copies=0.0, strided_rope=True
)
