"""What `predict` adds of a training: fields and columns."""

from typing import Any

from ..model.architecture import Architecture
from ..predict.predictor import Predictor
from ..predict.training import TrainingPlan, training
from ..units import show_bytes, show_count
from .column import Column


def training_fields(predictor: Predictor, model: Architecture, dtype: str, plan: TrainingPlan) -> dict[str, Any]:
    """The plan, and what it costs on the predictor's device."""
    cost = training(model, plan, predictor.profile.sheet(dtype).peak_flops_per_s, dtype)
    return {
        "training_tokens": plan.tokens, "training_mfu": plan.mfu, "training_sequence_tokens": plan.sequence_tokens,
        "training_micro_batch": plan.micro_batch, "training_checkpointing": plan.checkpointing,
        "training_optimizer": plan.optimizer, "training_flops": float(cost.flops),
        "training_hardware_flops": float(cost.hardware_flops), "training_gpu_hours": float(cost.device_hours),
        "training_memory_bytes": float(cost.memory_bytes),
    }  # fmt: skip


TRAINING_COLUMNS: list[Column] = [
    Column("training FLOPs", lambda row: f"{row['training_flops']:.3g}"),
    Column("GPU hours", lambda row: show_count(row["training_gpu_hours"])),
    Column("training memory", lambda row: show_bytes(row["training_memory_bytes"])),
]
