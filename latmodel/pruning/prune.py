"""Pruned shapes that reach a target time: what each way keeps, what it gains, and where it gains nothing."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..configs.model_input import dimensions
from ..errors import UsageError
from ..model.alignment import misfit, oddness
from ..model.architecture import Architecture
from ..model.config import Workload
from ..predict.prediction import Prediction
from ..predict.predictor import Predictor
from ..units import parse_count, parse_duration, show_count, show_seconds
from .ways import Way, narrower_ffn, shares, ways_of

Metric = Literal["decode", "prefill", "response"]
NAMES: dict[Metric, str] = {"decode": "decode_s_per_token", "prefill": "prefill_s", "response": "response_s"}
MISALIGNED_GAIN = 0.05  # a shape rounded to hardware-friendly sizes that is quicker by more is worth a word
NOTHING = 1.1  # a speed-up below this is none
# What the checkpoints of "Shortened LLaMA" (arXiv 2402.02834) took beyond their shape: `benchmarks/shortened_llama.py`.
CHECKPOINTS = (
    "shapes are priced as ordinary modules; checkpoints of width-pruning methods took 1.2 to 1.5 times the host time "
    "of their original whatever their width (biases, hooks that place weights: docs/search.md), depth-pruned ones none"
)
LAUNCHING = ("transformers-eager", "torch-eager")  # runtimes whose host launches every module


class PruneTarget(NamedTuple):
    """A speed-up over the original, a time to reach (decode per token, prefill or response), or parameters to keep."""

    metric: Metric
    speedup: float | None = None
    seconds: float | None = None
    parameters: float | None = None

    def limit_s(self, original_s: float) -> float | None:
        """Seconds that reach the target; None where it is a number of parameters."""
        return original_s / self.speedup if self.speedup is not None else self.seconds

    def reached(self, after: Prediction, original: Prediction) -> bool:
        """Whether a prediction keeps the target."""
        if self.parameters is not None:
            return after.num_parameters <= self.parameters
        name = NAMES[self.metric]
        limit = self.limit_s(getattr(original, name))
        return limit is not None and bool(getattr(after, name) <= limit)


def parse_target(text: str, metric: Metric = "decode") -> PruneTarget:
    """`1.5x` is a speed-up, `20ms` a time, `14B` at most so many parameters.

    Raises:
        UsageError: none of them, or a speed-up that is none.
    """
    stripped = text.strip().lower()
    if stripped.endswith(("k", "m", "b", "t")):
        return PruneTarget(metric, parameters=parse_count(text))
    if not stripped.endswith("x"):
        return PruneTarget(metric, seconds=parse_duration(text))
    try:
        factor = float(stripped[:-1])
    except ValueError:
        factor = 0.0
    if not 1.0 < factor <= 1000.0:
        raise UsageError(
            f"{text[:40]!r} is no target: write a speed-up such as 1.5x, a time such as 20ms, or parameters such as 14B"
        )
    return PruneTarget(metric, factor)


@dataclass(frozen=True, slots=True)
class Pruned:
    """One pruned shape: what is kept of the parameters, and what it gains."""

    way: str
    architecture: Architecture
    prediction: Prediction
    kept: float
    speedup: float
    reached: bool

    def as_dict(self) -> dict[str, Any]:
        """The shape by Hugging Face names, and the prediction."""
        return {
            "way": self.way, **dimensions(self.architecture), "aligned": aligned(self.architecture),
            "parameters_kept": self.kept, "speedup": self.speedup, "reached": self.reached, **self.prediction.as_dict(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Curve:
    """One way to prune: every shape tried, the least pruned one that reaches the target, and what must be said."""

    way: Way
    points: tuple[Pruned, ...]
    best: Pruned | None
    note: str

    @property
    def shown(self) -> Pruned:
        """The shape that reaches the target, or the quickest one where none does."""
        return self.best or max(self.points, key=lambda point: point.speedup)


@dataclass(frozen=True, slots=True)
class Pruning:
    """The original and one curve for each way."""

    original: Pruned
    curves: tuple[Curve, ...]
    target: PruneTarget
    beyond: str = ""  # what a checkpoint can cost that its shape does not show


def prune(
    predictor: Predictor, model: Architecture, target: PruneTarget, workload: Workload | None = None, step: int = 64
) -> Pruning:
    """Shapes pruned in depth, in width and in both that reach `target`, each keeping as many parameters as it can.

    Widths are rounded to multiples of `step`. Only times are compared: what pruning costs in quality is not known.

    Raises:
        UsageError: the original meets the target already, or `step` is not from 1 to 4096.
    """
    if not 1 <= step <= 4096:
        raise UsageError(f"--align {step}: give a step from 1 to 4096")
    workload = workload or Workload()
    first = predictor.predict(model, workload)
    original = Pruned("original", model, first, 1.0, 1.0, False)
    if target.reached(first, first):
        raise UsageError(_met(target, first))
    bench = _Bench(predictor, workload, original, target)
    beyond = CHECKPOINTS if predictor.runtime in LAUNCHING else ""
    return Pruning(original, tuple(bench.curve(way, step) for way in ways_of(model)), target, beyond)


def _met(target: PruneTarget, original: Prediction) -> str:
    """That the original meets the target already."""
    if target.parameters is not None:
        return f"the original has {show_count(original.num_parameters)} parameters and meets the target; give fewer"
    before = show_seconds(getattr(original, NAMES[target.metric]))
    return f"the original's {target.metric} takes {before} and meets the target; give a shorter time"


@dataclass(frozen=True, slots=True)
class _Bench:
    """Prices pruned shapes of one original."""

    predictor: Predictor
    workload: Workload
    original: Pruned
    target: PruneTarget

    def point(self, way: str, architecture: Architecture) -> Pruned:
        prediction = self.predictor.predict(architecture, self.workload)
        name = NAMES[self.target.metric]
        before, after = getattr(self.original.prediction, name), getattr(prediction, name)
        kept = prediction.num_parameters / self.original.prediction.num_parameters
        reached = self.target.reached(prediction, self.original.prediction)
        return Pruned(way, architecture, prediction, kept, before / after, reached)

    def curve(self, way: Way, step: int) -> Curve:
        model = self.original.architecture
        points, seen = [], set()
        for share in shares(model, way):
            shape = way.shape(model, share, step)
            if shape not in seen:
                seen.add(shape)
                points.append(self.point(way.name, shape))
        reached = [point for point in points if point.reached]
        best = max(reached, key=lambda point: point.kept) if reached else None
        return Curve(way, tuple(points), best, self._note(way, points, best))

    def _note(self, way: Way, points: list[Pruned], best: Pruned | None) -> str:
        """What must be said of a way: why it does not reach the target, or what alignment is worth."""
        if best is not None:
            return self._alignment(way, best)
        if self.target.parameters is not None:
            return f"it ends with {min(point.kept for point in points):.0%} of the parameters"
        if max(points, key=lambda point: point.speedup).prediction.bound == "host":
            return "the host launches as many kernels for narrow blocks as for wide ones"
        return "fewer are kept in memory, but a token still goes to as many" if way.name == "experts" else ""

    def _alignment(self, way: Way, best: Pruned) -> str:
        """How much slower the same shape is with one column less."""
        if not way.widens:
            return ""
        ragged = self.point(way.name, _ragged(best.architecture))
        loss = best.speedup / ragged.speedup - 1.0
        name = self.target.metric
        if loss <= MISALIGNED_GAIN:
            return ""
        return f"keep the sizes multiples of 8: with odd ones {name} takes {loss:.0%} longer"


def _ragged(model: Architecture) -> Architecture:
    """The same shape with one column less in every feed-forward layer: an odd number."""
    size = max(_inner(model), 2.0)
    return narrower_ffn(model, (size - 1.0) / size, 1)


def _inner(model: Architecture) -> float:
    sizes = [group.block.dimensions().get("intermediate_size", 2.0) for group in model.groups]
    return float(max(sizes, default=2.0))


def aligned(model: Architecture) -> bool:
    """Whether every width is a multiple of 8, which tensor cores want."""
    widths = [model.hidden_size]
    for group in model.groups:
        sizes = group.block.dimensions()
        widths += [sizes[name] for name in ("head_dim", "intermediate_size") if name in sizes]
    return not any(misfit(width) or oddness(width) for width in widths)
