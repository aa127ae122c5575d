"""A prediction by operator: FLOPs, bytes, device and host time, utilisation, and what binds each."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..laws.dispatch import OpTime, op_seconds
from ..model.architecture import Architecture
from ..model.config import ModelConfig, Workload
from ..model.ops import OpCost, OpKind
from ..model.step import Step
from ..model.transformer import context_ops, dense_ops, head_ops
from .inputs import work_of
from .predictor import Predictor
from .target import Target


class Run(NamedTuple):
    """An operator, how often the model runs it, and the gap between its kernels, seconds."""

    times: float
    op: OpCost
    gap_s: float

    def time(self, target: Target) -> OpTime:
        """Of one of them."""
        return op_seconds(self.op, target.sheet, target.device, self.gap_s, corrector=target.corrector)


def breakdown(predictor: Predictor, model: ModelConfig | Architecture, workload: Workload) -> list[dict[str, Any]]:
    """One row an operator, of the prefill and of the last decode step, over all blocks.

    `device_s` and `host_s` are two timelines that overlap, so their columns do not add up to the pass; `mfu` and `mbu`
    are shares of the data-sheet rates. Products of 8-bit floats include the kernels that quantise their inputs.
    """
    architecture = model.architecture() if isinstance(model, ModelConfig) else model
    work, target = work_of(workload), predictor.target(workload.dtype, workload.numbers().format)
    prefill, (_, last) = work.prefill(), work.decode()
    logit_rows = prefill.rows if target.every_logit(work) else work.batch
    rows = []
    for step, logits in ((prefill, logit_rows), (last, work.batch)):
        for run in operators(architecture, step, logits, target, workload):
            rows.append(_row(run, step.phase, target))
    return rows


def operators(model: Architecture, step: Step, logit_rows: float, target: Target, workload: Workload) -> Iterator[Run]:
    """Every operator of one step; blocks first, then what lies around them."""
    yield from block_operators(model, step, target, workload)
    for op in head_ops(model, step.rows, logit_rows, target.implementation, workload.numbers()):
        yield Run(1.0, op, target.runtime.gap_s)


def block_operators(model: Architecture, step: Step, target: Target, workload: Workload) -> Iterator[Run]:
    """Every operator of the blocks in one step."""
    implementation, numbers = target.implementation, workload.numbers()
    for group in model.groups:
        dense = dense_ops(group.block, model.hidden_size, step.rows, implementation, numbers)
        gap_s = target.block_gap_s(dense)
        for op in (*dense, *context_ops(group.block, step, implementation, numbers)):
            yield Run(group.count, op, gap_s)


def _row(run: Run, phase: str, target: Target) -> dict[str, Any]:
    count, op, _ = run
    time = run.time(target)
    seconds = count * time.seconds
    host = count * op.kernels * target.runtime.launch_s
    rate = target.sheet.float8_flops_per_s if op.kind is OpKind.GEMM8 else target.sheet.peak_flops_per_s
    device_bound = "compute" if 2.0 * time.compute_s >= time.seconds else "memory"
    return {
        "phase": phase,
        "operator": op.name,
        "count": count,
        "kernels": count * op.kernels,
        "flops": count * op.flops,
        "bytes": count * op.bytes,
        "device_s": seconds,
        "host_s": host,
        "mfu": count * op.flops / seconds / rate if seconds else 0.0,
        "mbu": count * op.bytes / seconds / target.sheet.bandwidth_bytes_per_s if seconds else 0.0,
        "bound": "host" if host >= seconds else device_bound,
    }
