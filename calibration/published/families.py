"""Families of published kernels of one card, by source: what each gives, and what its times hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from latmodel.device.datasheets import DataSheet
from latmodel.device.profile import FLOAT8

from ..fit.kernels import FAMILIES
from ..observations.operators import OperatorObservation
from ..sources import aiconfigurator, llmservingsim, vidur
from .hosts import Timed


@dataclass(frozen=True)
class Evidence:
    """One family on one card: the rows to fit, what was left out, where they come from."""

    rows: list[OperatorObservation]
    dropped: Mapping[str, int]
    source: str


def _aiconfigurator(card: DataSheet, _: Path) -> dict[str, Evidence]:
    families = (*FAMILIES, "gemm8") if FLOAT8 in card.peak_flops_per_s else FAMILIES
    return {family: Evidence(*aiconfigurator.read(card.name, family)) for family in families}


def _vidur(card: DataSheet, data: Path) -> dict[str, Evidence]:
    return {family: Evidence(*rows) for family, rows in vidur.read(data, card).items()}


def _llmservingsim(card: DataSheet, data: Path) -> dict[str, Evidence]:
    return {family: Evidence(*rows) for family, rows in llmservingsim.read(data, card).items()}


SOURCES: dict[str, Callable[[DataSheet, Path], dict[str, Evidence]]] = {
    "aiconfigurator": _aiconfigurator,
    "vidur": _vidur,
    "llmservingsim": _llmservingsim,
}
# Of a profiler's trace the times hold nothing of what lies between two kernels; LLMServingSim's pointwise kernels are
# vLLM's, which do more than one of PyTorch's.
TIMED = {
    "aiconfigurator": Timed(pointwise=False, gaps=True),
    "vidur": Timed(pointwise=True, gaps=False),
    "llmservingsim": Timed(pointwise=False, gaps=False),
}
