"""Measured kernels as evidence: one operator alone, device time without launch; and the launches themselves."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from latmodel.arrays import Array
from latmodel.device.profile import FLOAT8
from latmodel.laws.attention import NO_WINDOW
from latmodel.laws.dispatch import op_seconds
from latmodel.model.architecture import Attention
from latmodel.model.config import DTYPE_BYTES, DType
from latmodel.model.formats import Numbers
from latmodel.model.implementation import Implementation
from latmodel.model.layers.attention import attention_op
from latmodel.model.layers.unpacking import float8_product
from latmodel.model.ops import POINTWISE, OpCost, gemm, pointwise
from latmodel.model.step import Step
from latmodel.predict.target import Target

from .evidence import Evidence
from .record import Count, Seconds, Share, Size

Kind = Literal["gemm", "attention", "norm", "rope", "activation", "pointwise", "replay", "launch"]
LAUNCHES = {"replay": "gap_s", "launch": "launch_s"}  # the runtime's coefficient that such a row times


class OperatorObservation(BaseModel):
    """One kernel (or the short chain of kernels of one operator), timed on the device alone.

    GEMM: `m` × `k` times `k` × `n`. Attention: `m` sequences of `tokens` new positions over `context`. The others are
    pointwise over `m` rows of `n` values; `pointwise` is one kernel that moves `moved_bytes`. `replay` is one
    empty kernel of a replayed graph, `launch` one that the host launches. `window` 0 is none. `hot` says that the
    benchmark repeated the same operands, which then partly live in the cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    op: Kind
    seconds: Seconds
    noise: Share = 0.03
    gpu: Annotated[str, Field(max_length=100)]
    dtype: DType | Literal["float8"] = "bfloat16"  # float8: of products of a 16-bit input, quantised on the way
    runtime: Annotated[str, Field(max_length=40)]  # whose implementation of norm, rotary and attention this is
    m: Size = 1
    n: Count = 0
    k: Count = 0
    heads: Count = 0
    kv_heads: Count = 0
    head_dim: Count = 0
    tokens: Count = 0
    context: Count = 0
    window: Count = 0
    moved_bytes: Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)] = 0.0
    hot: bool = False
    source: Annotated[str, Field(max_length=200)] = ""


def operator_evidence(rows: Sequence[OperatorObservation]) -> list[Evidence]:
    """Operator rows grouped by what one formula predicts, each with that formula."""
    groups: dict[tuple[Kind, str, str, bool, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row.op, row.runtime, phase_of(row), row.hot, row.dtype), []).append(index)
    return [_group(key[0], key[1], key[3], index, [rows[i] for i in index]) for key, index in groups.items()]


def phase_of(row: OperatorObservation) -> str:
    """Of attention: a single new position over a context is a decode step, anything else a prefill."""
    return "decode" if row.tokens == 1 else "prefill"


def _group(op: Kind, runtime: str, hot: bool, index: list[int], rows: list[OperatorObservation]) -> Evidence:
    if op in LAUNCHES:
        name = LAUNCHES[op]
        predict: Callable[[Target], Array] = lambda target: np.full(len(rows), getattr(target.runtime, name))  # noqa: E731
    else:
        predict = _Timed(op, rows, hot)
    return Evidence(
        name=f"operator/{op}",
        runtime=runtime,
        predict=predict,
        seconds=np.array([row.seconds for row in rows]),
        noise=np.array([row.noise for row in rows]),
        index=tuple(index),
    )


class _Timed:
    """The roofline's seconds of some rows; what they cost is worked out once for each implementation."""

    def __init__(self, op: Kind, rows: Sequence[OperatorObservation], hot: bool) -> None:
        self._op, self._rows, self._hot = op, rows, hot
        self._costs: dict[Implementation, OpCost] = {}

    def __call__(self, target: Target) -> Array:
        if target.implementation not in self._costs:
            self._costs[target.implementation] = cost_of(self._op, self._rows, target.implementation)
        cost = self._costs[target.implementation]
        return op_seconds(cost, target.sheet, target.device, 0.0, hot=self._hot, corrector=target.corrector).seconds


def cost_of(op: Kind, rows: Sequence[OperatorObservation], implementation: Implementation) -> OpCost:
    """The cost of each row as one record with arrays, as a runtime implements it."""
    if op == "gemm":
        return _product(rows)
    m, n = _column(rows, "m"), _column(rows, "n")
    size = DTYPE_BYTES[rows[0].dtype]
    if op == "attention":
        window = _column(rows, "window")
        window = np.where(window > 0, window, NO_WINDOW) if np.any(window > 0) else None
        attention = Attention(
            _column(rows, "heads"), _column(rows, "kv_heads"), _column(rows, "head_dim"), window=window
        )
        new, context = _column(rows, "tokens"), _column(rows, "context")
        step = Step(1.0 if phase_of(rows[0]) == "decode" else new, context - new, m)
        return attention_op(attention, step, implementation, Numbers(size, size, size))
    if op == "pointwise":
        return OpCost("pointwise", POINTWISE, activation_bytes=_column(rows, "moved_bytes"), passes=2.0)
    if op == "rope":
        return implementation.rope(n, 0.0, m, size)
    if op == "norm":
        return pointwise(
            op, m * n, moves=implementation.norm_moves, kernels=implementation.norm_kernels, bytes_each=size, summed=n
        )
    return pointwise(
        op, m * n, moves=implementation.activation_moves, kernels=implementation.activation_kernels, bytes_each=size
    )


def _product(rows: Sequence[OperatorObservation]) -> OpCost:
    m, n, k = _column(rows, "m"), _column(rows, "n"), _column(rows, "k")
    if rows[0].dtype == FLOAT8:
        return float8_product(gemm("gemm", m, n, k, weight_bytes=1.0, activation_bytes=2.0))
    size = DTYPE_BYTES[rows[0].dtype]
    return gemm("gemm", m, n, k, weight_bytes=size, activation_bytes=size)


def _column(rows: Sequence[OperatorObservation], name: str) -> Array:
    return np.array([float(getattr(row, name)) for row in rows])
