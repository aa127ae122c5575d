"""What the calibration tests share: a log in memory, a toy target, a plan small enough for a test."""

from collections.abc import Iterable
from typing import Any

from calibration.fit.make import Problem
from calibration.fit.start import problem
from calibration.measure.cases import Case
from latmodel.laws.coefficients import Sheet
from latmodel.model.config import ModelConfig, Workload

CPU_SHEET = Sheet(1e11, 1e10, 1.0, 3.2e7)  # 100 GFLOP/s, 10 GB/s, 32 MB of cache
GPU_SHEET = Sheet(1e14, 1e12, 100.0, 4e7)
RUNTIME = "transformers-eager"


class MemoryLog:
    """A `measure.Log` that keeps its records in a list."""

    def __init__(self, records: list[dict[str, Any]] | None = None) -> None:
        self._records = list(records or [])

    @property
    def records(self) -> list[dict[str, Any]]:
        return self._records

    def append(self, record: dict[str, Any]) -> None:
        self._records.append(record)


def task(
    kind: str, runtime: str = RUNTIME, implementation: str = "transformers", layers: Iterable[str] = ()
) -> Problem:
    """The fit of one runtime on a toy device of that kind."""
    return problem(kind, CPU_SHEET if kind == "cpu" else GPU_SHEET, {runtime: implementation}, layers)


def config(layers: int = 4, hidden: int = 128, ffn: int = 384, heads: int = 2, kv_heads: int = 1) -> ModelConfig:
    """A small shape."""
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=64, vocab_size=256,
    )  # fmt: skip


def case(name: str, phase: str = "decode", part: str = "blocks", runtime: str = RUNTIME, **shape: int) -> Case:
    """A small case."""
    work = Workload(prompt_tokens=16, new_tokens=2, dtype="float32")
    return Case(name, part, phase, config(**shape), work, runtime)  # type: ignore[arg-type]
