"""A law small enough for closed forms: seconds = a · size + b, or any function of named coefficients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from calibration.fit.objective import Objective
from calibration.observations.evidence import Evidence
from latmodel.laws.priors import Prior

Values = Mapping[str, Any]


class Plain:
    """In a `Setup`'s place: the coefficients are all that there is."""

    def __init__(self, values: Values) -> None:
        self.values = dict(values)

    def target(self, runtime: str) -> Values:
        return {"runtime": runtime, **self.values}

    def moved(self, values: Values) -> "Plain":
        return Plain({**self.values, **values})


def prior(value: float = 1.0, spread: float = 1.0, low: float = 1e-3, high: float = 1e3) -> Prior:
    return Prior(value, spread, low, high, "of a test")


def rows(
    law: Callable[[Values], Any], seconds: Sequence[float], noise: float | Sequence[float] = 0.1,
    shapes: Sequence[str] = (), first: int = 0, runtime: str = "toy",
) -> Evidence:  # fmt: skip
    """Evidence of a law, its rows numbered from `first` on."""
    measured = np.array(seconds, dtype=float)
    spread = np.broadcast_to(np.asarray(noise, dtype=float), measured.shape)
    index = tuple(range(first, first + len(measured)))
    return Evidence("toy", runtime, law, measured, spread, index, tuple(shapes))  # type: ignore[arg-type]


def objective(pieces: Sequence[Evidence], **priors: Prior) -> Objective:
    """Of the toy's coefficients, by name."""
    return Objective(pieces, Plain({name: one.value for name, one in priors.items()}), priors)  # type: ignore[arg-type]


def times(name: str, size: Any = 1.0) -> Callable[[Values], Any]:
    """The law `name` · size."""
    sizes = np.asarray(size, dtype=float)
    return lambda target: target[name] * sizes


def huber(residual: Any) -> Any:
    """By its definition: the square is 2 · 2² (√(1 + (r/2)²) − 1)."""
    r = np.asarray(residual, dtype=float)
    return np.sign(r) * np.sqrt(8.0 * (np.sqrt(1.0 + r * r / 4.0) - 1.0))
