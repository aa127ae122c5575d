"""Measured kernels as evidence: one operator alone, device time without launch."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from latmodel.architecture import Attention
from latmodel.arrays import Array
from latmodel.config import DTYPE_BYTES, DType, Numbers
from latmodel.forward import Target
from latmodel.ops import OpCost, gemm, pointwise
from latmodel.roofline import op_seconds
from latmodel.step import Step
from latmodel.transformer import attention_op

from .evidence import Evidence
from .observations import Count, Seconds, Share, Size

Kind = Literal["gemm", "attention", "norm", "rope", "activation"]


class OperatorObservation(BaseModel):
    """One kernel (or the short chain of kernels of one operator), timed on the device alone.

    GEMM: `m` × `k` times `k` × `n`. Attention: `m` sequences of `tokens` new positions over `context`. The others are
    pointwise over `m` rows of `n` values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    op: Kind
    seconds: Seconds
    noise: Share = 0.03
    gpu: Annotated[str, Field(max_length=100)]
    dtype: DType = "bfloat16"
    runtime: Annotated[str, Field(max_length=40)]  # whose implementation of norm, rotary and attention this is
    m: Size
    n: Count = 0
    k: Count = 0
    heads: Count = 0
    kv_heads: Count = 0
    head_dim: Count = 0
    tokens: Count = 0
    context: Count = 0
    source: Annotated[str, Field(max_length=200)] = ""


def operator_evidence(rows: Sequence[OperatorObservation]) -> list[Evidence]:
    """Operator rows grouped by kind and runtime, each with the roofline formula that predicts it."""
    groups: dict[tuple[Kind, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row.op, row.runtime), []).append(index)
    return [_group(op, runtime, index, [rows[i] for i in index]) for (op, runtime), index in groups.items()]


def _group(op: Kind, runtime: str, index: list[int], rows: list[OperatorObservation]) -> Evidence:
    return Evidence(
        name=f"operator/{op}",
        runtime=runtime,
        predict=lambda target: op_seconds(cost_of(op, rows, target), target.sheet, target.device, 0.0).seconds,
        seconds=np.array([row.seconds for row in rows]),
        noise=np.array([row.noise for row in rows]),
        index=tuple(index),
    )


def cost_of(op: Kind, rows: Sequence[OperatorObservation], target: Target) -> OpCost:
    """The cost of each row as one record with arrays, as the target's runtime implements it."""
    size = DTYPE_BYTES[rows[0].dtype]
    m, n, k = _column(rows, "m"), _column(rows, "n"), _column(rows, "k")
    how = target.how
    if op == "gemm":
        return gemm("gemm", m, n, k, weight_bytes=size, activation_bytes=size)
    if op == "attention":
        attention = Attention(_column(rows, "heads"), _column(rows, "kv_heads"), _column(rows, "head_dim"))
        phase = "prefill" if rows[0].tokens > 1 else "decode"
        step = Step(m, _column(rows, "tokens"), _column(rows, "context"), phase)
        return attention_op(attention, step, how, Numbers(size, size, size))
    kernels, moves = {
        "norm": (how.norm_kernels, how.norm_moves),
        "rope": (how.rope_kernels, how.rope_moves),
        "activation": (how.activation_kernels, how.activation_moves),
    }[op]
    return pointwise(op, m * n, moves=moves, kernels=kernels, bytes_each=size)


def _column(rows: Sequence[OperatorObservation], name: str) -> Array:
    return np.array([float(getattr(row, name)) for row in rows])
