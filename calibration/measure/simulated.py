"""A device with known coefficients that never sleeps: noise, outliers, drift, throttling, out-of-memory and hangs.

Its true times are those of `latmodel`'s formulas, so that a calibration of it can be checked against what was planted.
"""

import math
import random
from dataclasses import dataclass, field

from latmodel.laws.coefficients import HOST_TERMS
from latmodel.predict.target import Target

from ..observations.evidence import FORMULAS, model_of, work_of
from .bench import OutOfMemory, Times
from .cases import Case, case_bytes


@dataclass
class Disturbance:
    """What spoils the measurements. Shares are of the true time; times are of the simulated clock."""

    noise: float = 0.02  # standard deviation of log(time) of a sample
    jitter: float = 0.003  # the same of a block within a sample
    reference_noise: float = 0.005  # the same of the reference, from one timing to the next
    outliers: float = 0.0  # share of samples that take `outlier_factor` as long
    outlier_factor: float = 1.6
    drift: float = 0.0  # greatest slow-down of a slow swing of everything
    host_drift: float = 0.0  # the same of the host alone
    drift_period_s: float = 40.0
    throttled: tuple[tuple[float, float], ...] = ()  # when the device runs at `throttle_factor` of its time
    throttle_factor: float = 1.4
    hangs: frozenset[str] = frozenset()  # names of cases that never come back


@dataclass
class SimulatedLab:
    """A `measure.Lab` around a target; `replay` says that it has the clocks of a CUDA device."""

    target: Target
    seed: int = 0
    disturbance: Disturbance = field(default_factory=Disturbance)
    memory_bytes: float = math.inf
    replay: bool = True  # the device can replay graphs: kernel time without the host
    opened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clock = 0.0

    def now(self) -> float:
        return self._clock

    def wait(self, seconds: float) -> None:
        """Let simulated time pass."""
        self._clock += seconds

    def throttled(self) -> tuple[str, ...]:
        return ("heat",) if self._is_throttled() else ()

    def _is_throttled(self) -> bool:
        return any(start <= self._clock < end for start, end in self.disturbance.throttled)

    def open(self, case: Case, keep: bool = False) -> "SimulatedBench":
        need = case_bytes(case)
        if need > self.memory_bytes:
            raise OutOfMemory(f"needs {need / 1e9:.2f} GB, {self.memory_bytes / 1e9:.2f} GB are free")
        self._clock += 0.05  # setting up takes a moment
        if keep:
            return SimulatedBench(self, case, f"{self.seed}/{case.name}", reference=True)
        self.opened.append(case.name)
        # Noise depends on how often a case was opened, not on what else was measured: a resumed run sees the same.
        return SimulatedBench(self, case, f"{self.seed}/{case.name}/{self.opened.count(case.name)}", reference=False)

    def slowdown(self) -> float:
        """How much longer everything takes at this moment."""
        d = self.disturbance
        return self._swing(d.drift) * (d.throttle_factor if self._is_throttled() else 1.0)

    def wall_seconds(self, case: Case) -> float:
        """Wall time of one pass of a case with the host as slow as it is at this moment."""
        swing, runtime = self._swing(self.disturbance.host_drift), self.target.runtime
        host = {name: getattr(runtime, name) * swing for name in HOST_TERMS}
        return true_seconds(case, self.target._replace(runtime=runtime._replace(**host)))[0]

    def _swing(self, most: float) -> float:
        return 1.0 + most * 0.5 * (1.0 - math.cos(2.0 * math.pi * self._clock / self.disturbance.drift_period_s))


class SimulatedBench:
    """One case on the simulated device. A reference, which stays open, draws new noise for every timing."""

    def __init__(self, lab: SimulatedLab, case: Case, seed: str, reference: bool) -> None:
        self._lab, self._case, self._reference = lab, case, reference
        self._random = random.Random(seed)
        self._wall_s, self._device_s = true_seconds(case, lab.target)
        d = lab.disturbance
        self._factor = math.exp(self._random.gauss(0.0, 0.0 if reference else d.noise))
        if not reference and self._random.random() < d.outliers:
            self._factor *= d.outlier_factor

    def time(self, runs: int) -> Times:
        lab, d = self._lab, self._lab.disturbance
        if self._case.name in d.hangs:
            lab.wait(1e4)
        jitter = math.exp(self._random.gauss(0.0, d.reference_noise if self._reference else d.jitter))
        factor = runs * self._case.units * self._factor * jitter * lab.slowdown()
        wall = factor * (lab.wall_seconds(self._case) if d.host_drift else self._wall_s)
        device = factor * self._device_s
        lab.wait(wall)
        if not lab.replay:
            return Times(wall)
        lab.wait(device)
        return Times(wall, max(wall, device), device)

    def close(self) -> None:
        """Nothing to give back."""


def true_seconds(case: Case, target: Target) -> tuple[float, float]:
    """(wall, device) seconds of one pass of a case, by the formulas that fit and prediction use."""
    row = case.observation(
        "simulated", "loop" if case.part == "model" and case.phase == "decode" else "wall", 1.0, 0.0, ()
    )
    model, work = model_of([row]), work_of([row], row.logits == "all")
    wall = float(FORMULAS[(row.part, row.phase, row.timing)](model, work, target)[0])
    device = FORMULAS.get((row.part, row.phase, "device"))
    return wall, wall if device is None else float(device(model, work, target)[0])
