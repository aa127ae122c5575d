"""What a shape costs to train: FLOPs by count, device hours at a stated share of the peak, memory of one device.

The share (model FLOPs utilisation, MFU; Chowdhery et al. 2022, arXiv 2204.02311, appendix B) is given, not predicted.
"""

from typing import NamedTuple

from ..arrays import Array, largest, total
from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.config import DTYPE_BYTES
from ..model.formats import Numbers
from ..model.step import Step
from ..model.totals import num_parameters
from ..model.transformer import context_ops, dense_ops, head_ops
from ..runtimes.torch_eager import TORCH

# Bytes a parameter, its gradient among them, in mixed precision: 16-bit weights and gradients, float32 weights (in
# float32 alone as many: 4 + 4 without a copy), and what the optimiser keeps: two float32 moments (Rajbhandari et al.
# 2020, arXiv 1910.02054, section 3.1), two of 8 bits (Dettmers et al. 2022, arXiv 2110.02861), or one momentum.
STATE_BYTES = {"adamw": 2.0 + 2.0 + 4.0 + 8.0, "adamw-8bit": 2.0 + 2.0 + 4.0 + 2.0, "sgd": 2.0 + 2.0 + 4.0 + 4.0}
BACKWARD = 2.0  # products of a backward pass for each of the forward: by the inputs and by the weights
FLOAT32_BYTES = 4.0


class TrainingPlan(NamedTuple):
    """How a model is trained: tokens in all, positions of a sequence, sequences that a device takes at once."""

    tokens: float
    mfu: float
    sequence_tokens: int = 4096
    micro_batch: int = 1
    checkpointing: bool = True
    optimizer: str = "adamw"

    def checked(self) -> "TrainingPlan":
        """The same, if it can be.

        Raises:
            UsageError: a value is out of range, or there is no such optimiser.
        """
        if not 0.0 < self.mfu <= 1.0:
            raise UsageError(f"--mfu is a share of the peak above 0, at most 1 (got {self.mfu:g})")
        if not 0.0 < self.tokens <= 1e18:
            raise UsageError(f"--tokens must be positive and at most 1e18 (got {self.tokens:g})")
        if self.optimizer not in STATE_BYTES:
            raise UsageError(f"--optimizer {self.optimizer[:40]}: choose from {', '.join(STATE_BYTES)}")
        return self


class Training(NamedTuple):
    """FLOPs of the model and those that are computed (checkpointing computes the forward pass twice), hours of one
    device's time, bytes that one device holds where nothing is sharded."""

    flops: Array
    hardware_flops: Array
    device_hours: Array
    memory_bytes: Array


def training(model: Architecture, plan: TrainingPlan, peak_flops_per_s: float, dtype: str) -> Training:
    """FLOPs, hours and memory of a training.

    flops = 3 · those of a forward pass over a sequence, for each of its tokens: 6 for each parameter of a product and
    token, and attention's, causal pairs alone; hours = flops / (MFU · peak). Recomputed FLOPs are in no MFU: they are
    counted in `hardware_flops` alone, a whole forward pass (PyTorch leaves out the head and each block's last product).
    """
    forward = forward_flops(model, plan.sequence_tokens) / float(plan.sequence_tokens)
    flops = (1.0 + BACKWARD) * forward * plan.tokens
    computed = flops + forward * plan.tokens if plan.checkpointing else flops
    hours = flops / (plan.mfu * peak_flops_per_s) / 3600.0
    return Training(flops, computed, hours, training_bytes(model, plan, dtype))


def forward_flops(model: Architecture, sequence_tokens: int) -> Array:
    """FLOPs of one sequence's forward pass, logits at every position: 2 a multiply-add, pointwise operators none."""
    step, numbers = Step(float(sequence_tokens)), Numbers(2.0, 2.0, 2.0)
    flops: Array = total([op.flops for op in head_ops(model, step.rows, step.rows, TORCH, numbers)])
    for group in model.groups:
        ops = [
            *dense_ops(group.block, model.hidden_size, step.rows, TORCH, numbers),
            *context_ops(group.block, step, TORCH, numbers),
        ]
        flops = flops + group.count * total([op.flops for op in ops])
    return flops


def training_bytes(model: Architecture, plan: TrainingPlan, dtype: str) -> Array:
    """Weights, gradients and optimiser states, and the activations that wait for the backward pass.

    A layer keeps for each token what enters its norm and its products and what it holds at once (`live_width`: queries,
    keys, values and output, no scores; gate, up and their product): what fused kernels keep, eager PyTorch keeps an FFN
    width more. With checkpointing a block keeps its input, and the widest one all of it while it is computed again. The
    head keeps its input twice, logits, and their gradient in float32. Buffers of kernels and of communication, and
    fragmentation, are not counted.
    """
    hidden, each, rows = model.hidden_size, DTYPE_BYTES[dtype], float(plan.micro_batch * plan.sequence_tokens)
    blocks = [
        (group.count, total([2.0 * hidden + layer.live_width for layer in group.block.layers]))
        for group in model.groups
    ]
    if plan.checkpointing:
        kept = total([count * hidden for count, _ in blocks]) + largest([width for _, width in blocks])
    else:
        kept = total([count * width for count, width in blocks])
    head = 2.0 * hidden * each + model.vocab_size * (each + FLOAT32_BYTES)
    result: Array = STATE_BYTES[plan.optimizer] * num_parameters(model) + rows * (kept * each + head)
    return result
